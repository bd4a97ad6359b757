//! What is done to snapshots after they are made: fast restore and locks.

use csi_core::ebs::{LockEnd, LockMode, SnapshotLock};

use super::error::AwsError;
use super::snapshot::SnapshotRecord;
use super::{Millis, World};

impl World {
    /// `EnableFastSnapshotRestores` of one snapshot. Enabling it again changes nothing.
    pub fn enable_fast_restore(
        &mut self,
        snapshot: &str,
        zones: &[String],
        now: Millis,
    ) -> Result<(), AwsError> {
        self.advance(now);
        if zones.is_empty() {
            return Err(AwsError::missing("AvailabilityZones"));
        }
        for zone in zones {
            self.zone(zone)?;
        }
        self.change_snapshot(snapshot, now, |record| {
            record.fast_restore.extend(zones.iter().cloned());
        })
    }

    /// `LockSnapshot`.
    pub fn lock_snapshot(
        &mut self,
        snapshot: &str,
        lock: SnapshotLock,
        now: Millis,
    ) -> Result<(), AwsError> {
        self.advance(now);
        if lock.cool_off_hours.is_some() && lock.mode == LockMode::Governance {
            return Err(AwsError::combination(
                "The cool-off period is only for locks in compliance mode.",
            ));
        }
        let wall_clock = self.wall_clock(now);
        if matches!(lock.end, LockEnd::At { seconds } if seconds * 1_000 <= wall_clock) {
            return Err(AwsError::value("The expiration date must be in the future."));
        }
        self.change_snapshot(snapshot, now, |record| record.lock = Some(lock))
    }

    fn change_snapshot(
        &mut self,
        snapshot: &str,
        now: Millis,
        change: impl Fn(&mut SnapshotRecord),
    ) -> Result<(), AwsError> {
        let (id, _) = self.live_snapshot(snapshot)?;
        if let Some(entry) = self.snapshots.get_mut(&id) {
            entry.record.write(now, 0, change);
        }
        Ok(())
    }

    /// Whether a lock forbids to delete a snapshot.
    pub(super) fn is_locked(&self, record: &SnapshotRecord, now: Millis) -> bool {
        record.lock.is_some_and(|lock| match lock.end {
            LockEnd::AfterDays(days) => {
                now < record.started.saturating_add(u64::from(days) * 86_400_000)
            }
            LockEnd::At { seconds } => self.wall_clock(now) < seconds * 1_000,
        })
    }
}
