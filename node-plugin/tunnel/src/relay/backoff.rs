//! How long a port waits before it dials again.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use tokio::time::Instant;

const FIRST: Duration = Duration::from_millis(100);
/// With a handshake on top, a target that comes back is reached within five seconds.
const LONGEST: Duration = Duration::from_secs(4);
/// A pause between the loss of a target that worked and the next attempt, so that a target which
/// dies at every request is not dialled in a loop.
const AFTER_LOSS: Duration = Duration::from_millis(20);

/// Failures in a row, and when the next attempt may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Backoff {
    failures: u32,
    not_before: Option<Instant>,
}

impl Backoff {
    pub(super) const fn new() -> Self {
        Self { failures: 0, not_before: None }
    }

    pub(super) const fn not_before(&self) -> Option<Instant> {
        self.not_before
    }

    /// No target could be reached, or one was lost before it said a word.
    pub(super) fn failed(&mut self, now: Instant) {
        let pause = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        self.not_before = Some(now + jitter(pause));
    }

    /// A target that had answered was lost.
    pub(super) fn lost(&mut self, now: Instant) {
        self.failures = 0;
        self.not_before = Some(now + AFTER_LOSS);
    }
}

/// Between half of the pause and the whole of it: ports that lost the same target at the same time
/// do not come back at the same time.
fn jitter(pause: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish();
    let share = u32::try_from(random % 512).unwrap_or(0);
    pause / 2 + pause.saturating_mul(share) / 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_four_seconds_and_vary_by_half() {
        let now = Instant::now();
        let mut backoff = Backoff::new();
        for full in [100, 200, 400, 800, 1_600, 3_200, 4_000, 4_000] {
            backoff.failed(now);
            let pause = backoff.not_before().unwrap() - now;
            let full = Duration::from_millis(full);
            assert!(full / 2 <= pause && pause <= full, "{pause:?} of {full:?}");
        }
    }

    #[test]
    fn a_target_that_had_answered_is_dialled_at_once() {
        let now = Instant::now();
        let mut backoff = Backoff::new();
        backoff.failed(now);
        backoff.failed(now);
        backoff.lost(now);
        assert_eq!(backoff, Backoff { failures: 0, not_before: Some(now + AFTER_LOSS) });
    }
}
