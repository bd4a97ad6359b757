//! A world that runs: shared between façades, on tokio's clock.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::world::fault::{After, Before};
use crate::world::{Action, AwsError, CallRecord, Millis, World};

/// A running world. Clones share it.
#[derive(Debug, Clone)]
pub struct Sim {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    world: Mutex<World>,
    began: Instant,
    /// Marked when there are effects to take, the schedule changed, or an effect ended.
    changed: watch::Sender<()>,
}

/// How a call failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallFailure {
    /// AWS answered an error.
    Refused {
        /// The error.
        error: AwsError,
        /// The request's id.
        request_id: String,
    },
    /// The connection dropped; whether the call took effect is not to be known.
    Lost,
}

impl Sim {
    /// Lets a world run from now on. Must be called within a tokio runtime; with paused time the
    /// world's time is paused too.
    #[must_use]
    pub fn new(world: World) -> Self {
        let changed = watch::Sender::new(());
        let shared = Shared { world: Mutex::new(world), began: Instant::now(), changed };
        Self { shared: Arc::new(shared) }
    }

    /// The world's time.
    #[must_use]
    pub fn now(&self) -> Millis {
        u64::try_from(self.shared.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Looks at or changes the world as it is now, past all façades.
    pub fn with<T>(&self, act: impl FnOnce(&mut World, Millis) -> T) -> T {
        let now = self.now();
        let act = |world: &mut World| {
            let before = world.next_due();
            world.advance(now);
            let result = act(world, now);
            (result, world.has_effects() || world.next_due() != before)
        };
        let (result, changed) = act(&mut self.lock());
        if changed {
            self.shared.changed.send_replace(());
        }
        result
    }

    /// Tells waiting tasks to look again.
    pub(crate) fn wake(&self) {
        self.shared.changed.send_replace(());
    }

    /// Told of every change that tasks may wait for.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.shared.changed.subscribe()
    }

    /// Waits until no device backend reads the volume's disk for a snapshot or copy.
    pub(crate) async fn until_read(&self, volume: &str) {
        let mut changes = self.changes();
        while self.lock().is_being_read(volume) {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        // A panic in a test's closure must not hide behind a second one here.
        self.shared.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a call as a façade: through faults and quotas, into the history. `subject` says for
    /// the history what the call is about.
    pub async fn call<T>(
        &self,
        action: Action,
        subject: String,
        act: impl FnOnce(&mut World, Millis) -> Result<T, AwsError>,
    ) -> Result<(T, String), CallFailure> {
        let admission = self.with(|world, now| world.admit(action, now));
        if admission.delay_ms > 0 {
            tokio::time::sleep(Duration::from_millis(admission.delay_ms)).await;
        }
        let request_id = admission.request_id;
        let note = |world: &mut World, at_ms, outcome: &str| {
            world.record(CallRecord {
                at_ms,
                action,
                subject,
                outcome: outcome.to_owned(),
                request_id: request_id.clone(),
            });
        };
        let ended = self.with(|world, now| {
            let result = match admission.before {
                Before::Proceed => act(world, now),
                Before::Refuse(error) => Err(error),
                Before::Lose => {
                    note(world, now, "lost");
                    return Ended::Lost;
                }
                Before::Hang => {
                    note(world, now, "hung");
                    return Ended::Hung;
                }
            };
            end(admission.after, result, |outcome| note(world, now, outcome))
        });
        match ended {
            Ended::Answered(Ok(answer)) => Ok((answer, request_id)),
            Ended::Answered(Err(error)) => Err(CallFailure::Refused { error, request_id }),
            Ended::Lost => Err(CallFailure::Lost),
            Ended::Hung => std::future::pending().await,
        }
    }
}

enum Ended<T> {
    Answered(Result<T, AwsError>),
    Lost,
    Hung,
}

/// Applies a fault to a call that took effect.
fn end<T>(after: After, result: Result<T, AwsError>, note: impl FnOnce(&str)) -> Ended<T> {
    match after {
        After::Lose => {
            note("lost");
            Ended::Lost
        }
        After::Hang => {
            note("hung");
            Ended::Hung
        }
        After::Fail(error) if result.is_ok() => {
            note(&error.code);
            Ended::Answered(Err(error))
        }
        After::Answer | After::Fail(_) => {
            note(result.as_ref().err().map_or("ok", |error| error.code.as_str()));
            Ended::Answered(result)
        }
    }
}
