//! Work that later calls join.
//!
//! A CO whose patience ends asks again, while the system call of its first call may still hang. The
//! second call must neither start beside the first nor be told "later" for ever: it waits for the
//! same work. A call that wants something else of the same object is told so, and asks what is under
//! way to stop as soon as it can.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use csi_core::rpc_error::GrpcCode;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::Code;
use tracing::Instrument;

/// Work under way, at most one for each key. `W` says what work it is.
pub struct Joint<K, W, T, E> {
    running: Running<K, W, T, E>,
    tasks: TaskTracker,
}

type Outcome<T, E> = Result<T, Arc<E>>;
type Running<K, W, T, E> = Arc<Mutex<HashMap<K, Current<W, T, E>>>>;

struct Current<W, T, E> {
    what: W,
    stop: CancellationToken,
    result: watch::Receiver<Option<Outcome<T, E>>>,
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum JointError<E: std::error::Error + 'static> {
    /// Other work on the same object is under way.
    #[error("other work on {key} is under way and was asked to stop; try again")]
    InProgress {
        /// The object.
        key: String,
    },
    /// The work panicked. The log has the details.
    #[error("the work on {key} broke off by a defect of the driver; see its log")]
    Panicked {
        /// The object.
        key: String,
    },
    /// The work itself failed.
    #[error(transparent)]
    Work(Arc<E>),
}

impl<E: GrpcCode + 'static> GrpcCode for JointError<E> {
    fn code(&self) -> Code {
        match self {
            Self::InProgress { .. } => Code::Aborted,
            Self::Panicked { .. } => Code::Internal,
            Self::Work(error) => error.code(),
        }
    }
}

impl<K, W, T, E> Default for Joint<K, W, T, E> {
    fn default() -> Self {
        Self { running: Arc::default(), tasks: TaskTracker::new() }
    }
}

impl<K, W, T, E> Clone for Joint<K, W, T, E> {
    fn clone(&self) -> Self {
        Self { running: Arc::clone(&self.running), tasks: self.tasks.clone() }
    }
}

impl<K, W, T, E> fmt::Debug for Joint<K, W, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Joint").field("tasks", &self.tasks.len()).finish_non_exhaustive()
    }
}

/// Gives the key free when the work ends, however it does.
struct Claim<K: Eq + Hash, W, T, E> {
    key: K,
    running: Running<K, W, T, E>,
}

impl<K: Eq + Hash, W, T, E> Drop for Claim<K, W, T, E> {
    fn drop(&mut self) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

impl<K, W, T, E> Joint<K, W, T, E>
where
    K: Clone + Eq + Hash + fmt::Display + Send + 'static,
    W: PartialEq + Send + 'static,
    T: Clone + Send + Sync + 'static,
    E: std::error::Error + Send + Sync + 'static,
{
    /// Joins the work of this kind on `key`, or starts it. It goes on if this future is dropped.
    ///
    /// # Errors
    /// [`JointError`].
    pub async fn run<F>(
        &self,
        key: K,
        what: W,
        work: impl FnOnce(CancellationToken) -> F,
    ) -> Result<T, JointError<E>>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        let name = key.to_string();
        let Some(mut result) = self.join_or_start(key, what, work) else {
            return Err(JointError::InProgress { key: name });
        };
        let outcome = match result.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone(),
            Err(_sender_is_gone) => None,
        };
        match outcome {
            Some(outcome) => outcome.map_err(JointError::Work),
            None => Err(JointError::Panicked { key: name }),
        }
    }

    fn join_or_start<F>(
        &self,
        key: K,
        what: W,
        work: impl FnOnce(CancellationToken) -> F,
    ) -> Option<watch::Receiver<Option<Outcome<T, E>>>>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(current) = running.get(&key) {
            if current.what == what {
                return Some(current.result.clone());
            }
            current.stop.cancel();
            return None;
        }
        let (done, result) = watch::channel(None);
        let stop = CancellationToken::new();
        let current = Current { what, stop: stop.clone(), result: result.clone() };
        running.insert(key.clone(), current);
        drop(running);
        let claim = Claim { key, running: Arc::clone(&self.running) };
        let work = work(stop);
        let task = async move {
            let outcome = work.await.map_err(Arc::new);
            drop(claim);
            done.send_replace(Some(outcome));
        };
        self.tasks.spawn(task.in_current_span());
        Some(result)
    }

    /// Waits until no work is left. Call it after the server has stopped taking calls.
    pub async fn drain(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use csi_core::Invalid;
    use std::time::Duration;
    use tokio::time::{sleep, timeout};

    type Numbers = Joint<String, &'static str, u32, Invalid>;

    async fn slow(result: u32) -> Result<u32, Invalid> {
        sleep(Duration::from_secs(10)).await;
        Ok(result)
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_call_waits_for_the_work_of_one_that_was_given_up() {
        let joint = Numbers::default();
        let first = joint.run("a".to_owned(), "mount", |_stop| slow(1));
        assert!(timeout(Duration::from_secs(1), first).await.is_err());
        let second = joint.run("a".to_owned(), "mount", |_stop| slow(2));
        assert_eq!(second.await.unwrap(), 1);
        let third = joint.run("a".to_owned(), "mount", |_stop| slow(3));
        assert_eq!(third.await.unwrap(), 3, "what is over is not joined");
    }

    #[tokio::test(start_paused = true)]
    async fn other_work_is_refused_and_what_runs_is_asked_to_stop() {
        let joint = Numbers::default();
        let first = joint.run("a".to_owned(), "mount", |stop| async move {
            stop.cancelled().await;
            Ok(1)
        });
        let mut first = Box::pin(first);
        assert!(timeout(Duration::from_secs(1), &mut first).await.is_err());
        let other = joint.run("a".to_owned(), "unmount", |_stop| slow(2)).await.unwrap_err();
        assert_eq!(other.code(), Code::Aborted);
        assert_eq!(first.await.unwrap(), 1);
        assert_eq!(joint.run("a".to_owned(), "unmount", |_stop| slow(2)).await.unwrap(), 2);
    }

    #[tokio::test]
    async fn a_panic_is_an_answer_and_gives_the_object_free() {
        let joint = Numbers::default();
        let broken = joint.run("a".to_owned(), "mount", |_stop| async { panic!("a defect") });
        assert_eq!(broken.await.unwrap_err().code(), Code::Internal);
        let next = joint.run("a".to_owned(), "mount", |_stop| async { Ok(1) });
        assert_eq!(next.await.unwrap(), 1);
        joint.drain().await;
    }
}
