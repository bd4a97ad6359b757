//! How many mounts are made at once. A node that starts mounts hundreds of volumes; one file system
//! that does not answer must not keep the others waiting. So each file system has a queue of its
//! own, first in, first out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use efs_tunnel::identity::FileSystemId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Mounts of one file system at once. Each takes a thread and milliseconds, if EFS answers.
const AT_ONCE: usize = 16;

/// The queues.
#[derive(Debug)]
pub struct Queue {
    by_file_system: Mutex<HashMap<FileSystemId, Arc<Semaphore>>>,
    limit: Option<Arc<Semaphore>>,
}

/// The operator limits the number of calls, and it is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("as many volumes are being mounted as --max-inflight-mount-calls allows; try again later")]
pub struct TooMany;

/// A place in the queue, and then at work.
#[derive(Debug)]
pub struct Turn {
    _limit: Option<OwnedSemaphorePermit>,
    _file_system: Option<OwnedSemaphorePermit>,
}

impl Queue {
    /// Queues; with a limit, calls beyond it are turned away instead of waiting.
    #[must_use]
    pub fn new(limit: Option<usize>) -> Self {
        let limit = limit.map(|limit| Arc::new(Semaphore::new(limit)));
        Self { by_file_system: Mutex::default(), limit }
    }

    /// Waits for a turn.
    ///
    /// # Errors
    /// [`TooMany`], at once.
    pub async fn turn(&self, file_system: &FileSystemId) -> Result<Turn, TooMany> {
        let limit = match &self.limit {
            None => None,
            Some(limit) => Some(Arc::clone(limit).try_acquire_owned().map_err(|_full| TooMany)?),
        };
        let queue = {
            let mut queues = self.by_file_system.lock().unwrap_or_else(PoisonError::into_inner);
            // Those that nobody stands in are forgotten.
            queues.retain(|_, queue| Arc::strong_count(queue) > 1);
            let new = || Arc::new(Semaphore::new(AT_ONCE));
            Arc::clone(queues.entry(file_system.clone()).or_insert_with(new))
        };
        // It is never closed, so this cannot fail.
        let turn = queue.acquire_owned().await.ok();
        Ok(Turn { _limit: limit, _file_system: turn })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::timeout;

    fn fs(text: &str) -> FileSystemId {
        text.parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_system_that_hangs_keeps_only_its_own_mounts_waiting() {
        let queue = Queue::new(None);
        let mut hung = Vec::new();
        for _ in 0..AT_ONCE {
            hung.push(queue.turn(&fs("fs-92107410")).await.unwrap());
        }
        let wait = async |id| timeout(Duration::from_secs(9), queue.turn(&fs(id))).await;
        assert!(wait("fs-92107410").await.is_err());
        wait("fs-92107411").await.unwrap().unwrap();
        hung.pop();
        wait("fs-92107410").await.unwrap().unwrap();
        drop(hung);
    }

    #[tokio::test]
    async fn only_with_a_limit_calls_are_turned_away() {
        let queue = Queue::new(Some(1));
        let first = queue.turn(&fs("fs-92107410")).await.unwrap();
        assert_eq!(queue.turn(&fs("fs-92107411")).await.unwrap_err(), TooMany);
        drop(first);
        queue.turn(&fs("fs-92107411")).await.unwrap();
    }
}
