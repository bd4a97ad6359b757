//! Mutations that outlive their callers.
//!
//! tonic drops a handler's future when the client's deadline passes or the client goes away. A
//! guard held in the handler would be released in the middle of an attach or a mkfs, and a second
//! call would start beside the first. So each mutation runs as a task of its own, which owns its
//! claim; the handler only waits for it.

use std::collections::HashSet;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::task::TaskTracker;
use tonic::Code;
use tracing::Instrument;

use crate::rpc_error::GrpcCode;

/// The mutations under way, at most one for each key.
#[derive(Debug, Clone)]
pub struct Operations<K: Eq + Hash> {
    claimed: Arc<Mutex<HashSet<K>>>,
    tasks: TaskTracker,
}

/// Why [`Operations::run`] gives no result.
#[derive(Debug, thiserror::Error)]
pub enum RunError<E: std::error::Error + 'static> {
    /// Another call holds the claim. The CO shall try again later (CSI specification, "Error
    /// Scheme": ABORTED, operation pending).
    #[error("an operation on {key} is in progress; the next try will find its result")]
    InProgress {
        /// What is claimed.
        key: String,
    },
    /// The work panicked. The log has the details.
    #[error("the operation on {key} broke off by a defect of the driver; see its log")]
    Panicked {
        /// What was claimed.
        key: String,
    },
    /// The work itself failed.
    #[error(transparent)]
    Work(#[from] E),
}

impl<E: GrpcCode + 'static> GrpcCode for RunError<E> {
    fn code(&self) -> Code {
        match self {
            Self::InProgress { .. } => Code::Aborted,
            Self::Panicked { .. } => E::code_after_panic(),
            Self::Work(error) => error.code(),
        }
    }
}

/// A key that is in use until this is dropped, however the work ends.
struct Claim<K: Eq + Hash> {
    key: K,
    claimed: Arc<Mutex<HashSet<K>>>,
}

impl<K: Eq + Hash> Drop for Claim<K> {
    fn drop(&mut self) {
        self.claimed.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

impl<K: Eq + Hash> Default for Operations<K> {
    fn default() -> Self {
        Self { claimed: Arc::default(), tasks: TaskTracker::new() }
    }
}

impl<K> Operations<K>
where
    K: Clone + Eq + Hash + fmt::Display + Send + 'static,
{
    /// Runs `work` under a claim on `key`, to its end even if this future is dropped.
    ///
    /// # Errors
    /// [`RunError::InProgress`] at once if the key is claimed; else what the work returns.
    pub async fn run<T, E>(
        &self,
        key: K,
        work: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Result<T, RunError<E>>
    where
        T: Send + 'static,
        E: std::error::Error + Send + 'static,
    {
        let Some(claim) = self.claim(key.clone()) else {
            return Err(RunError::InProgress { key: key.to_string() });
        };
        let task = async move {
            let _claim = claim;
            work.await
        };
        match self.tasks.spawn(task.in_current_span()).await {
            Ok(result) => result.map_err(RunError::Work),
            Err(_panicked_or_runtime_ends) => Err(RunError::Panicked { key: key.to_string() }),
        }
    }

    /// Waits until no operation is left. Call it after the server has stopped taking calls.
    pub async fn drain(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// How many operations are under way.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Whether no operation is under way.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    fn claim(&self, key: K) -> Option<Claim<K>> {
        let free = self.claimed.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone());
        free.then(|| Claim { key, claimed: Arc::clone(&self.claimed) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc_error::Invalid;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn an_abandoned_call_keeps_its_claim_until_the_work_is_done() {
        let operations = Operations::<String>::default();
        let work = async {
            tokio::time::sleep(Duration::from_secs(10)).await;
            Ok::<_, Invalid>(())
        };
        let call = operations.run("vol-1".to_owned(), work);
        assert!(tokio::time::timeout(Duration::from_secs(1), call).await.is_err());

        let second = operations.run("vol-1".to_owned(), async { Ok::<_, Invalid>(()) }).await;
        assert_eq!(second.unwrap_err().code(), Code::Aborted);
        operations.run("vol-2".to_owned(), async { Ok::<_, Invalid>(()) }).await.unwrap();

        tokio::time::sleep(Duration::from_secs(10)).await;
        operations.run("vol-1".to_owned(), async { Ok::<_, Invalid>(()) }).await.unwrap();
    }

    #[tokio::test]
    async fn a_panic_is_an_answer_and_releases_the_claim() {
        let operations = Operations::<String>::default();
        let broken = async { panic!("a defect") };
        let error = operations.run::<(), Invalid>("vol-1".to_owned(), broken).await.unwrap_err();
        assert_eq!(error.code(), Code::Internal);
        operations.run("vol-1".to_owned(), async { Ok::<_, Invalid>(()) }).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn drain_waits_for_abandoned_work() {
        let operations = Operations::<String>::default();
        let work = async {
            tokio::time::sleep(Duration::from_secs(10)).await;
            Ok::<_, Invalid>(())
        };
        let call = operations.run("vol-1".to_owned(), work);
        let _ = tokio::time::timeout(Duration::from_secs(1), call).await;
        let started = tokio::time::Instant::now();
        operations.drain().await;
        assert_eq!(started.elapsed(), Duration::from_secs(9));
    }
}
