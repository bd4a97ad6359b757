//! Pacing: calls of one action start first in, first out, and no faster than EC2 takes them.
//!
//! EC2 refuses calls beyond an account's token bucket with `RequestLimitExceeded`. Retrying each
//! for itself, with back-off, gives the luck of the draw instead of order: some calls wait
//! minutes while later ones pass. So the calls of an action stand in one queue. A refused call
//! did nothing; it keeps its place and is sent again here, within the caller's patience.

mod bucket;
mod rate;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use csi_core::{ApiError, ErrorKind};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::action::Action;
use bucket::{Bucket, Turn};
pub use rate::{InvalidRate, Rate};

/// A refused call is sent again until EC2 has taken no call of its action for this long. Sidecars
/// wait a minute for CreateVolume; beyond that the refusal is worth more than silence.
const PATIENCE: Duration = Duration::from_mins(1);

/// One queue for each action, since EC2 has one bucket for each.
#[derive(Debug)]
pub(crate) struct Pacers([Pacer; Action::ALL.len()]);

impl Pacers {
    /// Queues with the documented quotas, or `rates` where given.
    pub(crate) fn new(rates: &[Rate]) -> Self {
        Self(Action::ALL.map(|action| {
            let (burst, refill) = action.bucket();
            let refill = rates
                .iter()
                .rfind(|rate| rate.action == action)
                .map_or_else(|| f64::from(refill), |rate| rate.per_second);
            Pacer::new(f64::from(burst), refill)
        }))
    }

    pub(crate) fn of(&self, action: Action) -> &Pacer {
        // ALL lists the actions in the enum's order; a test holds that.
        &self.0[action as usize]
    }
}

/// The queue of one action.
#[derive(Debug)]
pub(crate) struct Pacer(Mutex<Queue>);

#[derive(Debug)]
struct Queue {
    bucket: Bucket,
    in_flight: usize,
    /// When EC2 last took a call.
    taken: Option<Instant>,
    next_ticket: u64,
    waiting: BTreeMap<u64, Arc<Notify>>,
}

impl Queue {
    fn wake_first(&self) {
        if let Some(first) = self.waiting.values().next() {
            first.notify_one();
        }
    }
}

impl Pacer {
    fn new(burst: f64, refill: f64) -> Self {
        Self(Mutex::new(Queue {
            bucket: Bucket::new(burst, refill, Instant::now()),
            in_flight: 0,
            taken: None,
            next_ticket: 0,
            waiting: BTreeMap::new(),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing below panics while it holds the lock, so a poisoned queue is still whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a call when its turn has come, again while EC2 refuses it for its rate. Dropping the
    /// future gives the place away.
    pub(crate) async fn run<T, F>(&self, mut call: impl FnMut() -> F) -> Result<T, ApiError>
    where
        F: Future<Output = Result<T, ApiError>>,
    {
        let joined = Instant::now();
        let place = Place::join(self);
        loop {
            let flight = place.turn().await;
            let result = call().await;
            let refused = result.as_ref().is_err_and(is_refusal);
            let taken = flight.land(refused).max(Some(joined));
            if !refused || taken.is_some_and(|taken| taken.elapsed() >= PATIENCE) {
                return result;
            }
        }
    }
}

/// Whether the action's bucket was empty. A volume's own snapshot rate says nothing about it.
fn is_refusal(error: &ApiError) -> bool {
    error.kind == ErrorKind::Throttled && error.code != "SnapshotCreationPerVolumeRateExceeded"
}

/// A place in the queue. The lowest ticket is first; a refused call keeps its ticket.
struct Place<'a> {
    pacer: &'a Pacer,
    ticket: u64,
    called: Arc<Notify>,
}

impl<'a> Place<'a> {
    fn join(pacer: &'a Pacer) -> Self {
        let mut queue = pacer.lock();
        let ticket = queue.next_ticket;
        queue.next_ticket += 1;
        drop(queue);
        Self { pacer, ticket, called: Arc::new(Notify::new()) }
    }

    async fn turn(&self) -> Flight<'a> {
        loop {
            let opens = match self.ask() {
                Ask::Go(flight) => return flight,
                Ask::At(time) => Some(time),
                Ask::WhenCalled => None,
            };
            match opens {
                Some(time) => tokio::select! {
                    () = sleep_until(time) => {}
                    () = self.called.notified() => {}
                },
                None => self.called.notified().await,
            }
        }
    }

    fn ask(&self) -> Ask<'a> {
        let mut queue = self.pacer.lock();
        let now = Instant::now();
        queue.waiting.entry(self.ticket).or_insert_with(|| Arc::clone(&self.called));
        if queue.waiting.keys().next() != Some(&self.ticket) {
            return Ask::WhenCalled;
        }
        let in_flight = queue.in_flight;
        match queue.bucket.turn(now, in_flight) {
            Turn::At(time) => Ask::At(time),
            Turn::AfterLanding => Ask::WhenCalled,
            Turn::Go => {
                queue.waiting.remove(&self.ticket);
                queue.in_flight += 1;
                queue.bucket.sent(now);
                queue.wake_first();
                drop(queue);
                Ask::Go(Flight { pacer: self.pacer, sent: now })
            }
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut queue = self.pacer.lock();
        if queue.waiting.remove(&self.ticket).is_some() {
            queue.wake_first();
        }
    }
}

enum Ask<'a> {
    Go(Flight<'a>),
    At(Instant),
    WhenCalled,
}

/// A call under way. Dropped without [`Flight::land`], its outcome is unknown.
struct Flight<'a> {
    pacer: &'a Pacer,
    sent: Instant,
}

impl Flight<'_> {
    /// Notes the outcome; when EC2 last took a call.
    fn land(self, refused: bool) -> Option<Instant> {
        let mut queue = self.pacer.lock();
        let now = Instant::now();
        if refused {
            queue.bucket.refused(self.sent, now);
        } else {
            queue.bucket.accepted(self.sent);
            queue.taken = Some(now);
        }
        queue.taken
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        let mut queue = self.pacer.lock();
        queue.in_flight -= 1;
        queue.wake_first();
    }
}

#[cfg(test)]
mod tests;
