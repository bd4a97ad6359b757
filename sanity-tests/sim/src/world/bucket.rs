//! Token buckets per action. Source: EC2 API reference, "Request throttling".

use std::collections::BTreeMap;

use super::{Action, Millis};

#[derive(Debug, Clone)]
struct Bucket {
    /// In thousandths of a call.
    level: u64,
    at: Millis,
}

/// The account's buckets, full at first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Buckets {
    sizes: BTreeMap<Action, (u32, u32)>,
    levels: BTreeMap<Action, Bucket>,
}

impl Buckets {
    /// Sets burst and refill per second of an action, and fills its bucket.
    pub(crate) fn set(&mut self, action: Action, burst: u32, refill: u32) {
        self.sizes.insert(action, (burst, refill));
        self.levels.remove(&action);
    }

    /// Takes one call; false if the bucket is empty.
    pub(crate) fn take(&mut self, action: Action, now: Millis) -> bool {
        let (burst, refill) =
            self.sizes.get(&action).copied().unwrap_or_else(|| action.default_bucket());
        let full = u64::from(burst) * 1_000;
        let bucket = self.levels.entry(action).or_insert(Bucket { level: full, at: now });
        // So many per second are so many thousandths per millisecond.
        let refilled = now.saturating_sub(bucket.at).saturating_mul(u64::from(refill));
        bucket.level = bucket.level.saturating_add(refilled).min(full);
        bucket.at = now;
        let granted = bucket.level >= 1_000;
        if granted {
            bucket.level -= 1_000;
        }
        granted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_grants_its_burst_at_once_and_then_its_refill() {
        let mut buckets = Buckets::default();
        let grants = |buckets: &mut Buckets, now| {
            (0..300).filter(|_| buckets.take(Action::CreateVolume, now)).count()
        };
        assert_eq!(grants(&mut buckets, 0), 100);
        assert_eq!(grants(&mut buckets, 2_000), 10);
        assert!(buckets.take(Action::AttachVolume, 2_000));
    }

    #[test]
    fn a_quota_can_be_raised() {
        let mut buckets = Buckets::default();
        buckets.set(Action::CreateVolume, 3, 1);
        assert_eq!((0..9).filter(|_| buckets.take(Action::CreateVolume, 0)).count(), 3);
    }
}
