//! What a connection does right now, for whoever must decide whether it is of use still.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{Interest, Ready};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

/// How often a connection that cannot move looks whether its client is there still.
const LOOK: Duration = Duration::from_millis(500);

/// Since when a connection has been waiting for its target, with bytes of the client in hand.
#[derive(Debug)]
pub(super) struct Flow {
    waiting_since: Mutex<Option<Instant>>,
    connected: AtomicBool,
    answered: AtomicBool,
}

impl Flow {
    pub(super) fn waiting() -> Self {
        Self {
            waiting_since: Mutex::new(Some(Instant::now())),
            connected: AtomicBool::new(false),
            answered: AtomicBool::new(false),
        }
    }

    pub(super) fn connected(&self) {
        self.connected.store(true, Ordering::Relaxed);
        self.moved();
    }

    pub(super) fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    /// True for the first answer.
    pub(super) fn answered(&self) -> bool {
        !self.answered.load(Ordering::Relaxed) && !self.answered.swap(true, Ordering::Relaxed)
    }

    pub(super) fn was_answered(&self) -> bool {
        self.answered.load(Ordering::Relaxed)
    }

    pub(super) fn waits(&self) {
        *self.waiting_since.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    pub(super) fn moved(&self) {
        *self.waiting_since.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub(super) fn waited(&self) -> Duration {
        let since = *self.waiting_since.lock().unwrap_or_else(PoisonError::into_inner);
        since.map_or(Duration::ZERO, |since| since.elapsed())
    }
}

/// Returns when the client has closed its side, although bytes of it are unread.
pub(super) async fn gone(client: &TcpStream) {
    loop {
        sleep(LOOK).await;
        let closed = tokio::select! {
            biased;
            ready = client.ready(Interest::READABLE) => ready.is_ok_and(Ready::is_read_closed),
            () = std::future::ready(()) => false,
        };
        if closed {
            return;
        }
    }
}
