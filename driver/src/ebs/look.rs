//! Looking at EC2: one worker for each kind of Describe asks for everybody.
//!
//! Single look-ups are collected for a moment, or while a call is in flight, and become one call.
//! Waits for a state register with the same worker: while anything is pending it describes all of
//! it together, so that two hundred attachments are watched with the calls of one. A failed poll
//! fails nobody who waits; the worker backs off and goes on until their own deadlines.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use csi_core::{ApiError, ErrorKind, facts};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout_at};

mod worker;

use worker::{Answer, Look};

/// How long a look-up waits for others to join it.
const WINDOW: Duration = Duration::from_millis(10);
/// Least time between calls for look-ups: at most 20 in a second.
const LOOK_UP_GAP: Duration = Duration::from_millis(50);

/// How often a wait looks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cadence {
    /// When the first look is worth its call.
    pub(crate) first: Duration,
    /// Least time from one look to the next.
    pub(crate) step: Duration,
    /// How long the looks keep that pace.
    pub(crate) steady: Duration,
    /// After that their distance is this part of the time passed.
    pub(crate) part: u32,
}

impl Cadence {
    /// How long after `elapsed` the next look is due.
    fn pause(&self, elapsed: Duration) -> Duration {
        match self.first.checked_sub(elapsed) {
            Some(rest) if !rest.is_zero() => rest,
            _ if elapsed < self.steady => self.step,
            // An operation that takes long already will hardly end in the next instant.
            _ => self.step.max(elapsed / self.part).min(Duration::from_secs(5)),
        }
    }
}

/// Why a wait ended without its state.
#[derive(Debug)]
pub(crate) enum WaitEnd {
    /// The deadline passed.
    TimedOut,
    /// EC2 refuses to be asked.
    Refused(ApiError),
}

/// Looks at objects of one kind.
#[derive(Debug)]
pub(crate) struct Looker<K, V> {
    looks: mpsc::UnboundedSender<Look<K, V>>,
    action: &'static str,
}

impl<K, V> Looker<K, V>
where
    K: Clone + Ord + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Starts a worker that asks by `call`, at most [`facts::FILTER_VALUES`] keys at once. Keys
    /// that are absent from its answer do not exist.
    pub(crate) fn new<F, Fut>(action: &'static str, call: F) -> Self
    where
        F: Fn(Vec<K>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<BTreeMap<K, V>, ApiError>> + Send + 'static,
    {
        let (looks, inbox) = mpsc::unbounded_channel();
        tokio::spawn(worker::run(inbox, call));
        Self { looks, action }
    }

    /// Looks an object up once, together with whoever else looks now.
    ///
    /// # Errors
    /// If EC2 does not answer the question.
    pub(crate) async fn up(&self, key: K) -> Result<Option<V>, ApiError> {
        let due = Instant::now() + WINDOW;
        self.ask(key, due, LOOK_UP_GAP, false).await
    }

    /// Looks again and again until `judge` finds what it waits for.
    ///
    /// # Errors
    /// [`WaitEnd`] if the deadline passes or EC2 refuses to be asked.
    pub(crate) async fn until<T>(
        &self,
        key: &K,
        cadence: Cadence,
        deadline: Instant,
        mut judge: impl FnMut(Option<V>) -> Option<T>,
    ) -> Result<T, WaitEnd> {
        let began = Instant::now();
        loop {
            let due = Instant::now() + cadence.pause(began.elapsed());
            let look = self.ask(key.clone(), due, cadence.step, true);
            match timeout_at(deadline, look).await {
                Err(_elapsed) => return Err(WaitEnd::TimedOut),
                Ok(Err(error)) => return Err(WaitEnd::Refused(error)),
                Ok(Ok(seen)) => {
                    if let Some(found) = judge(seen) {
                        return Ok(found);
                    }
                }
            }
        }
    }

    async fn ask(&self, key: K, due: Instant, gap: Duration, patient: bool) -> Answer<V> {
        let (reply, answer) = oneshot::channel();
        let look = Look { key, due, gap, patient, reply };
        let defect = || ApiError {
            action: self.action,
            kind: ErrorKind::Unexpected,
            code: "Defect".to_owned(),
            message: "the look-up broke off by a defect of the driver; see its log".to_owned(),
            request_id: None,
        };
        // Both fail only if the worker or its call panicked.
        self.looks.send(look).map_err(|_closed| defect())?;
        answer.await.map_err(|_dropped| defect())?
    }
}

#[cfg(test)]
mod tests;
