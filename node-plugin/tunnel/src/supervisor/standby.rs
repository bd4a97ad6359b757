//! The worker that stands by. A program that has been started, has read the node's key and waits
//! takes over in the time that a message takes; to start one takes ten times as long, and a node whose
//! worker died of want of memory or time has neither to spare just then.

use std::ffi::OsString;
use std::time::Duration;

use tokio::time::Instant;

use super::worker::Worker;

/// The next one is started when the worker has served so long: its clients come first.
const AFTER: Duration = Duration::from_secs(3);
/// After one that died while it waited, or could not be started.
const AGAIN: Duration = Duration::from_secs(30);

/// At most one worker that waits.
#[derive(Debug)]
pub(super) struct Standby {
    worker: Option<Worker>,
    /// None until the worker in front of it serves: a node's first worker makes the key.
    due: Option<Instant>,
}

impl Standby {
    /// None yet.
    pub(super) const fn none() -> Self {
        Self { worker: None, due: None }
    }

    /// The worker in front serves.
    pub(super) fn may_start(&mut self) {
        self.due = Some(Instant::now() + AFTER);
    }

    /// The one that waits, if there is one.
    pub(super) fn take(&mut self) -> Option<Worker> {
        self.due = None;
        self.worker.take()
    }

    pub(super) const fn worker(&self) -> Option<&Worker> {
        self.worker.as_ref()
    }

    /// How long until one is to be started; none while one waits, or none may be.
    pub(super) fn due_in(&self) -> Option<Duration> {
        let due = self.due.filter(|_| self.worker.is_none())?;
        Some(due.saturating_duration_since(Instant::now()))
    }

    /// Starts one if it is time.
    pub(super) fn start_if_due(&mut self, arguments: &[OsString]) {
        if self.due_in() != Some(Duration::ZERO) {
            return;
        }
        match Worker::start(arguments) {
            Ok(worker) => self.worker = Some(worker),
            Err(error) => {
                tracing::warn!(%error, "no worker stands by");
                self.due = Some(Instant::now() + AGAIN);
            }
        }
    }

    /// It said something before it was given anything to do, so it is at its end.
    pub(super) fn lost(&mut self) {
        self.end();
        tracing::warn!("the worker that stood by has ended; its own log says why");
        self.due = Some(Instant::now() + AGAIN);
    }

    /// Ends the one that waits.
    pub(super) fn end(&mut self) {
        if let Some(worker) = self.worker.take() {
            worker.bury();
        }
    }
}
