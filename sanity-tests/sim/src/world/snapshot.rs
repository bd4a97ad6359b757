//! Snapshots. Their content is fixed when they are created, whatever the volume does afterwards.

use std::collections::BTreeSet;

use csi_core::ebs::{Snapshot, SnapshotLock, SnapshotState, VolumeState};
use csi_core::{GiB, SnapshotId};

use super::call::CreateSnapshot;
use super::effect::Effect;
use super::error::AwsError;
use super::lagged::Lagged;
use super::{Due, Millis, World, id, tag};

/// A snapshot, with what the port does not show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotRecord {
    /// As the port shows it.
    pub snapshot: Snapshot,
    /// Its description.
    pub description: String,
    /// Whether it is encrypted.
    pub encrypted: bool,
    /// ARN of its KMS key.
    pub kms_key: Option<String>,
    /// When it began.
    pub started: Millis,
    /// How long it takes.
    pub takes: Millis,
    /// Zones in which fast restore is enabled.
    pub fast_restore: BTreeSet<String>,
    /// Its lock.
    pub lock: Option<SnapshotLock>,
}

#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) record: Lagged<SnapshotRecord>,
    /// Deleted, but perhaps still seen.
    pub(crate) deleted: bool,
}

impl World {
    /// `CreateSnapshot`. EC2 knows no client token for it: every call makes a snapshot.
    pub fn create_snapshot(
        &mut self,
        call: &CreateSnapshot,
        now: Millis,
    ) -> Result<SnapshotRecord, AwsError> {
        self.advance(now);
        tag::check(&call.tags)?;
        let (volume_id, entry) = self.live_volume(&call.volume)?;
        let volume = entry.record.truth().volume.clone();
        if !matches!(volume.state, VolumeState::Available | VolumeState::InUse) {
            return Err(AwsError::incorrect_state(format!(
                "Volume '{volume_id}' is in the '{}' state.",
                super::name::volume_state(volume.state)
            )));
        }
        self.check_spacing(entry.last_snapshot, now)?;
        self.check_snapshot_quota()?;
        let id = self.new_snapshot_id();
        let record = SnapshotRecord {
            snapshot: Snapshot {
                id: id.clone(),
                volume: Some(volume_id.clone()),
                state: SnapshotState::Pending,
                size: volume.size,
                started_ms: self.wall_clock(now),
                progress: 0,
                tags: call.tags.clone(),
            },
            description: call.description.clone(),
            encrypted: volume.encrypted,
            kms_key: volume.kms_key,
            started: now,
            takes: self.settings.snapshot.sample(&mut self.rng),
            fast_restore: BTreeSet::new(),
            lock: None,
        };
        let visible_at = now.saturating_add(self.lag());
        let entry = Entry { record: Lagged::new(record.clone(), visible_at), deleted: false };
        self.snapshots.insert(id.clone(), entry);
        if let Some(entry) = self.volumes.get_mut(&volume_id) {
            entry.last_snapshot = Some(now);
        }
        let due = Due::SnapshotDone(id.clone());
        self.emit(Effect::Capture { snapshot: id, volume: volume_id }, Some(due.clone()));
        self.plan(now.saturating_add(record.takes), due);
        Ok(record)
    }

    fn check_spacing(&self, last: Option<Millis>, now: Millis) -> Result<(), AwsError> {
        let spacing = self.settings.snapshot_spacing_ms;
        if last.is_some_and(|last| now.saturating_sub(last) < spacing) {
            return Err(AwsError::new(
                "SnapshotCreationPerVolumeRateExceeded",
                "The maximum per volume CreateSnapshot request rate has been exceeded. Use an \
                 increasing or variable sleep interval between requests.",
            ));
        }
        Ok(())
    }

    fn check_snapshot_quota(&self) -> Result<(), AwsError> {
        let quota = self.settings.snapshot_quota;
        if self.snapshots.len() < usize::try_from(quota).unwrap_or(usize::MAX) {
            return Ok(());
        }
        Err(AwsError::new(
            "SnapshotLimitExceeded",
            format!("You have exceeded your maximum snapshot limit of {quota}."),
        ))
    }

    /// `DeleteSnapshot`.
    pub fn delete_snapshot(&mut self, snapshot: &str, now: Millis) -> Result<(), AwsError> {
        self.advance(now);
        let (id, entry) = self.live_snapshot(snapshot)?;
        if self.is_locked(entry.record.truth(), now) {
            return Err(AwsError::new(
                "SnapshotLocked",
                format!("The snapshot '{id}' is locked and cannot be deleted."),
            ));
        }
        if let Some(entry) = self.snapshots.get_mut(&id) {
            entry.deleted = true;
        }
        self.emit(Effect::RemoveSnapshot(id.clone()), None);
        // A snapshot has no state for this; it is listed until reads have caught up.
        let gone_at = now.saturating_add(self.lag());
        self.plan(gone_at, Due::SnapshotVanishes(id));
        self.advance(now);
        Ok(())
    }

    pub(crate) fn snapshot_done(&mut self, id: &SnapshotId, at: Millis) {
        self.end_snapshot(id, SnapshotState::Completed, at);
    }

    pub(crate) fn fail_snapshot(&mut self, id: &SnapshotId, at: Millis) {
        self.end_snapshot(id, SnapshotState::Error, at);
    }

    fn end_snapshot(&mut self, id: &SnapshotId, state: SnapshotState, at: Millis) {
        if let Some(entry) = self.snapshots.get_mut(id) {
            entry.record.write(at, 0, |record| {
                record.snapshot.state = state;
                record.snapshot.progress = 100;
            });
        }
    }

    pub(crate) fn live_snapshot(&self, text: &str) -> Result<(SnapshotId, &Entry), AwsError> {
        let id = id::snapshot(text)?;
        match self.snapshots.get(&id) {
            Some(entry) if !entry.deleted => Ok((id, entry)),
            _ => Err(AwsError::no_snapshot(text)),
        }
    }

    /// A snapshot that a volume can be made from: id, size, whether encrypted.
    pub(crate) fn usable_snapshot(&self, text: &str) -> Result<(SnapshotId, GiB, bool), AwsError> {
        let (id, entry) = self.live_snapshot(text)?;
        let record = entry.record.truth();
        let state = record.snapshot.state;
        if state != SnapshotState::Completed {
            return Err(AwsError::incorrect_state(format!(
                "Snapshot is in invalid state - {}",
                super::name::snapshot_state(state)
            )));
        }
        Ok((id, record.snapshot.size, record.encrypted))
    }
}

impl SnapshotRecord {
    /// The snapshot with the progress that a reader sees at `now`.
    pub(crate) fn at(&self, now: Millis) -> Self {
        let mut shown = self.clone();
        if shown.snapshot.state == SnapshotState::Pending {
            let percent = now.saturating_sub(self.started).saturating_mul(100) / self.takes.max(1);
            shown.snapshot.progress = u8::try_from(percent.min(99)).unwrap_or(99);
        }
        shown
    }
}
