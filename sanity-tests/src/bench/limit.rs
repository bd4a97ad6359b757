//! The best that any driver could do: AWS's own times, its quotas and the callers' number, and
//! nothing else.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use super::load::{WORKERS, percentile};

/// A token bucket: burst and refill per second.
pub(super) type Bucket = (u32, u32);

/// What the surroundings allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Limit {
    /// From the first call to the last answer.
    pub(super) wall: Duration,
    /// Latencies, sorted.
    latencies: Vec<Duration>,
}

impl Limit {
    /// Lets `took` be served in their order by [`WORKERS`] callers, each call as soon as a caller
    /// is free and the bucket has a token for it.
    #[must_use]
    pub(super) fn of(took: &[Duration], bucket: Option<Bucket>) -> Self {
        let mut free: BinaryHeap<Reverse<Duration>> =
            (0..WORKERS).map(|_| Reverse(Duration::ZERO)).collect();
        let mut wall = Duration::ZERO;
        let mut latencies = Vec::with_capacity(took.len());
        for (n, took) in took.iter().enumerate() {
            let caller = free.pop().map_or(Duration::ZERO, |Reverse(at)| at);
            let end = caller.max(token(n, bucket)) + *took;
            latencies.push(end.saturating_sub(caller));
            wall = wall.max(end);
            free.push(Reverse(end));
        }
        latencies.sort_unstable();
        Self { wall, latencies }
    }

    /// The latency that so many per cent do not exceed.
    #[must_use]
    pub(super) fn percentile(&self, percent: usize) -> Duration {
        percentile(&self.latencies, percent)
    }
}

/// When the bucket has its `n`th token, counted from 0.
fn token(n: usize, bucket: Option<Bucket>) -> Duration {
    let Some((burst, refill)) = bucket else { return Duration::ZERO };
    let beyond = u32::try_from(n + 1).unwrap_or(u32::MAX).saturating_sub(burst);
    Duration::from_secs(1) * beyond / refill
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_quota_waves_of_callers_are_the_limit() {
        let limit = Limit::of(&[Duration::from_millis(1_500); 1_000], None);
        assert_eq!(limit.wall, Duration::from_secs(15));
        assert_eq!(limit.percentile(99), Duration::from_millis(1_500));
    }

    #[test]
    fn under_a_quota_its_refill_is_the_limit() {
        let limit = Limit::of(&[Duration::from_millis(1_500); 1_000], Some((100, 5)));
        assert_eq!(limit.wall, Duration::from_millis(181_500));
        assert!(limit.percentile(99) < Duration::from_secs(22), "{limit:?}");
        let attach = Limit::of(&[Duration::from_secs(1); 200], Some((50, 5)));
        assert_eq!(attach.wall, Duration::from_secs(31));
    }

    #[test]
    fn a_caller_takes_the_next_as_soon_as_it_is_free() {
        let mut took = vec![Duration::from_secs(1); 199];
        took.insert(0, Duration::from_secs(5));
        let limit = Limit::of(&took, None);
        assert_eq!((limit.wall, limit.percentile(50)), (Duration::from_secs(5), took[1]));
    }
}
