//! How a mount target treats its clients, by script.

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::{Duration, sleep};

/// How a mount target behaves until it is told otherwise, towards open and new connections alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Behaviour {
    /// As it should.
    #[default]
    Normal,
    /// It accepts, but reads nothing; replies that are there still go out.
    Stall,
    /// It reads and writes so many bytes a second on each connection and direction.
    Slow(u64),
    /// It neither accepts, reads nor writes, as if packets were dropped. The kernel still
    /// acknowledges what fits into its buffers.
    Silent,
    /// It resets every connection, and each new one.
    Reset,
    /// It resets every connection and does not listen.
    Refuse,
}

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// From the client.
    In,
    /// To the client.
    Out,
}

/// Holds a connection to a behaviour.
#[derive(Debug, Clone)]
pub(super) struct Script(watch::Receiver<Behaviour>);

impl Script {
    pub(super) fn new(behaviour: watch::Receiver<Behaviour>) -> Self {
        Self(behaviour)
    }

    pub(super) fn now(&self) -> Behaviour {
        *self.0.borrow()
    }

    /// Waits until bytes may go that way.
    pub(super) async fn until_open(&mut self, direction: Direction) {
        let is_open = |behaviour: &Behaviour| match behaviour {
            Behaviour::Normal | Behaviour::Slow(_) => true,
            Behaviour::Stall => direction == Direction::Out,
            Behaviour::Silent | Behaviour::Reset | Behaviour::Refuse => false,
        };
        self.until(is_open).await;
    }

    /// Waits until connections are to be reset.
    pub(super) async fn until_reset(&mut self) {
        self.until(|behaviour| matches!(behaviour, Behaviour::Reset | Behaviour::Refuse)).await;
    }

    pub(super) async fn until(&mut self, holds: impl FnMut(&Behaviour) -> bool) {
        if self.0.wait_for(holds).await.is_err() {
            // The mount target is gone and its connections go with it.
            std::future::pending::<()>().await;
        }
    }

    /// Waits for the next change.
    pub(super) async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// How many bytes may be moved at once.
    pub(super) fn most(&self, usual: usize) -> usize {
        match self.now() {
            Behaviour::Slow(rate) => {
                usize::try_from(rate / 20).unwrap_or(usize::MAX).clamp(1, usual)
            }
            _ => usual,
        }
    }

    /// Waits for as long as moving so many bytes takes.
    pub(super) async fn pay(&self, bytes: usize) {
        if let Behaviour::Slow(rate) = self.now() {
            let micros = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(1_000_000);
            sleep(Duration::from_micros(micros / rate.max(1))).await;
        }
    }
}
