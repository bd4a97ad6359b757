//! Load as Kubernetes' sidecars make it: so many workers on one connection, a deadline for each
//! call, and another try after 1, 2, 4 … 30 s.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tonic::Status;

/// Calls at the same time (`--worker-threads` of the sidecars as the charts set it).
pub(super) const WORKERS: usize = 100;
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// After so many tries an item is given up, and the bench with it.
const TRIES: u32 = 20;

/// What a burst came to.
#[derive(Debug, Clone, Default)]
pub(super) struct Outcome {
    /// From the first call to the last answer.
    pub(super) wall: Duration,
    /// From an item's first call to its success, sorted.
    pub(super) latencies: Vec<Duration>,
    /// Calls that failed, by code.
    pub(super) failed: BTreeMap<String, u64>,
}

impl Outcome {
    /// The latency that so many per cent of the items do not exceed.
    #[must_use]
    pub(super) fn percentile(&self, percent: usize) -> Duration {
        percentile(&self.latencies, percent)
    }

    /// Calls that failed.
    #[must_use]
    pub(super) fn failures(&self) -> u64 {
        self.failed.values().sum()
    }
}

/// The value that so many per cent of `sorted` do not exceed (nearest rank).
#[must_use]
pub(super) fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

/// An item with its tries so far.
struct Job<I> {
    item: I,
    tries: u32,
    /// Its first call.
    began: Option<Instant>,
    failed: Vec<Status>,
}

/// Calls for every item, until each has succeeded. Items begin in their order; one that failed
/// goes to the queue's end, after its pause.
pub(super) async fn burst<I, T, F, Fut>(
    items: Vec<I>,
    deadline: Duration,
    call: F,
) -> Result<(Outcome, Vec<T>)>
where
    I: Clone + Send + Sync + 'static,
    T: Send + 'static,
    F: Fn(I) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<T, Status>> + Send,
{
    ensure!(!items.is_empty(), "there is nothing to do");
    let count = items.len();
    let (queue, jobs) = mpsc::unbounded_channel();
    for item in items {
        queue.send(Job { item, tries: 0, began: None, failed: Vec::new() })?;
    }
    let jobs = Arc::new(Mutex::new(jobs));
    let (ended, mut ends) = mpsc::unbounded_channel();
    let began = Instant::now();
    // Dropped when every item has ended, and the workers with it.
    let mut workers = JoinSet::new();
    for _ in 0..WORKERS {
        let (queue, jobs) = (queue.clone(), Arc::clone(&jobs));
        let (call, ended) = (call.clone(), ended.clone());
        workers.spawn(async move {
            loop {
                let next = jobs.lock().await.recv().await;
                let Some(mut job) = next else { return };
                let started = *job.began.get_or_insert_with(Instant::now);
                let status = match timeout(deadline, call(job.item.clone())).await {
                    Ok(Ok(answer)) => {
                        // The receiver goes when there is nothing left to receive.
                        let _ = ended.send(Ok((started.elapsed(), job.failed, answer)));
                        continue;
                    }
                    Ok(Err(status)) => status,
                    Err(_elapsed) => Status::deadline_exceeded("the caller's deadline"),
                };
                job.tries += 1;
                if job.tries == TRIES {
                    let _ = ended.send(Err(status));
                    continue;
                }
                job.failed.push(status);
                later(queue.clone(), job);
            }
        });
    }
    let mut outcome = Outcome::default();
    let mut answers = Vec::with_capacity(count);
    while answers.len() < count {
        let end = ends.recv().await.context("the workers are gone")?;
        let (latency, failed, answer) = end.context("given up after many tries")?;
        outcome.wall = began.elapsed();
        outcome.latencies.push(latency);
        answers.push(answer);
        for status in failed {
            *outcome.failed.entry(format!("{:?}", status.code())).or_default() += 1;
        }
    }
    outcome.latencies.sort_unstable();
    Ok((outcome, answers))
}

/// Puts a job back into the queue after its pause.
fn later<I: Send + 'static>(queue: mpsc::UnboundedSender<Job<I>>, job: Job<I>) {
    let pause = Duration::from_secs(1 << (job.tries - 1).min(5)).min(LONGEST_PAUSE);
    tokio::spawn(async move {
        sleep(pause).await;
        // Nobody listens any more if the burst was given up.
        let _ = queue.send(job);
    });
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn workers_bound_what_runs_and_items_wait_for_one() {
        let running = Arc::new(AtomicUsize::new(0));
        let (outcome, answers) =
            burst((0..250).collect(), Duration::from_mins(1), move |n: u32| {
                let running = Arc::clone(&running);
                async move {
                    assert!(running.fetch_add(1, Ordering::SeqCst) < WORKERS);
                    sleep(Duration::from_secs(2)).await;
                    running.fetch_sub(1, Ordering::SeqCst);
                    Ok(n)
                }
            })
            .await
            .unwrap();
        assert_eq!(answers.len(), 250);
        assert_eq!(outcome.wall.as_secs(), 6);
        assert_eq!((outcome.percentile(50), outcome.failures()), (Duration::from_secs(2), 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_call_is_counted_and_made_again_after_longer_and_longer_pauses() {
        let calls = Arc::new(AtomicUsize::new(0));
        let (outcome, _) = burst(vec![()], Duration::from_secs(10), move |()| {
            let n = calls.fetch_add(1, Ordering::SeqCst);
            async move {
                match n {
                    0 => Err(Status::aborted("busy")),
                    1 => std::future::pending().await,
                    _ => Ok(()),
                }
            }
        })
        .await
        .unwrap();
        assert_eq!(outcome.failed, [("Aborted".into(), 1), ("DeadlineExceeded".into(), 1)].into());
        assert_eq!(outcome.percentile(99).as_secs(), 1 + 10 + 2);
    }

    #[test]
    fn a_percentile_is_a_value_that_was_seen() {
        let sorted: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!(percentile(&sorted, 50), Duration::from_millis(100));
        assert_eq!(percentile(&sorted, 99), Duration::from_millis(198));
        assert_eq!(percentile(&[], 50), Duration::ZERO);
    }
}
