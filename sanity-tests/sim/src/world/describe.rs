//! Describe calls. They see the world as readers do, behind the writers.

use std::time::Duration;

use csi_core::VolumeId;
use csi_core::ebs::{Attachment, Initialization, InitializationState};

use super::call::{Describe, Listing};
use super::error::AwsError;
use super::filter::{self, Filters, Row};
use super::instance::InstanceRecord;
use super::modification::ModificationRecord;
use super::snapshot::SnapshotRecord;
use super::volume::VolumeRecord;
use super::{Millis, World, id, page};

impl World {
    /// `DescribeVolumes`.
    pub fn describe_volumes(
        &mut self,
        call: &Describe,
        now: Millis,
    ) -> Result<Listing<VolumeRecord>, AwsError> {
        self.advance(now);
        let wanted = all(&call.ids, id::volume)?;
        filter::check(&call.filters, &filter::VOLUME_FILTERS)?;
        let seen = |id: &VolumeId| self.volumes.get(id).and_then(|entry| entry.record.seen(now));
        let rows: Vec<&VolumeRecord> = if wanted.is_empty() {
            self.volumes.values().filter_map(|entry| entry.record.seen(now)).collect()
        } else {
            found(&wanted, seen, "InvalidVolume.NotFound", "volume")?
        };
        page::cut(passing(rows, call), |row| row.volume.id.to_string(), call, "volume")
    }

    /// `DescribeSnapshots`, of the account's own.
    pub fn describe_snapshots(
        &mut self,
        call: &Describe,
        now: Millis,
    ) -> Result<Listing<SnapshotRecord>, AwsError> {
        self.advance(now);
        let wanted = all(&call.ids, id::snapshot)?;
        filter::check(&call.filters, &filter::SNAPSHOT_FILTERS)?;
        let rows: Vec<&SnapshotRecord> = if wanted.is_empty() {
            self.snapshots.values().filter_map(|entry| entry.record.seen(now)).collect()
        } else {
            let seen = |id| self.snapshots.get(id).and_then(|entry| entry.record.seen(now));
            found(&wanted, seen, "InvalidSnapshot.NotFound", "snapshot")?
        };
        let rows: Vec<_> = rows.into_iter().map(|record| record.at(now)).collect();
        let rows = passing(rows.iter().collect(), call);
        page::cut(rows, |row| row.snapshot.id.to_string(), call, "snapshot")
    }

    /// `DescribeVolumesModifications`.
    pub fn describe_modifications(
        &mut self,
        call: &Describe,
        now: Millis,
    ) -> Result<Listing<ModificationRecord>, AwsError> {
        self.advance(now);
        let wanted = all(&call.ids, id::volume)?;
        filter::check(&call.filters, &filter::MODIFICATION_FILTERS)?;
        let of = |id: &VolumeId| self.volumes.get(id)?.modification.as_ref()?.seen(now);
        let rows: Vec<&ModificationRecord> = if wanted.is_empty() {
            self.volumes.keys().filter_map(of).collect()
        } else {
            if let Some(unknown) = wanted.iter().find(|id| !self.volumes.contains_key(id)) {
                return Err(AwsError::no_volume(unknown.as_str()));
            }
            found(&wanted, of, "InvalidVolumeModification.NotFound", "volume modification")?
        };
        page::cut(passing(rows, call), |row| row.modification.volume.to_string(), call, "volume")
    }

    /// `DescribeVolumeStatus`, as far as it tells how volumes are filled. It has no filter for ids.
    pub fn describe_volume_status(
        &mut self,
        call: &Describe,
        now: Millis,
    ) -> Result<Listing<Initialization>, AwsError> {
        self.advance(now);
        let wanted = all(&call.ids, id::volume)?;
        filter::check(&call.filters, &[])?;
        let seen = |id: &VolumeId| self.volumes.get(id).and_then(|entry| entry.record.seen(now));
        let rows: Vec<&VolumeRecord> = if wanted.is_empty() {
            self.volumes.values().filter_map(|entry| entry.record.seen(now)).collect()
        } else {
            found(&wanted, seen, "InvalidVolume.NotFound", "volume")?
        };
        let rows = rows.into_iter().map(|record| filling(record, now)).collect();
        page::cut(rows, |row| row.volume.to_string(), call, "volume")
    }

    /// `DescribeInstances`: each with its attachments as they are seen.
    pub fn describe_instances(
        &mut self,
        call: &Describe,
        now: Millis,
    ) -> Result<Listing<(InstanceRecord, Vec<Attachment>)>, AwsError> {
        self.advance(now);
        let wanted = all(&call.ids, id::instance)?;
        filter::check(&call.filters, &filter::INSTANCE_FILTERS)?;
        let rows: Vec<&InstanceRecord> = if wanted.is_empty() {
            self.instances.values().collect()
        } else {
            let seen = |id| self.instances.get(id);
            found(&wanted, seen, "InvalidInstanceID.NotFound", "instance ID")?
        };
        let rows = passing(rows, call)
            .into_iter()
            .map(|record| {
                let attachments = self.attachments_of(&record.id, Some(now));
                let attachments = attachments.into_iter().cloned().collect();
                (record, attachments)
            })
            .collect();
        page::cut(rows, |(record, _)| record.id.to_string(), call, "instance")
    }

    /// A volume as it is in truth, or was when it vanished.
    #[must_use]
    pub fn volume(&self, id: &VolumeId) -> Option<&VolumeRecord> {
        self.volumes.get(id).map(|entry| entry.record.truth()).or_else(|| self.gone.get(id))
    }

    /// All volumes as they are in truth, root volumes included.
    pub fn volumes(&self) -> impl Iterator<Item = &VolumeRecord> {
        self.volumes.values().map(|entry| entry.record.truth())
    }

    /// All snapshots as they are in truth.
    pub fn snapshots(&self) -> impl Iterator<Item = &SnapshotRecord> {
        self.snapshots.values().filter(|entry| !entry.deleted).map(|entry| entry.record.truth())
    }

    /// A volume's latest modification in truth.
    #[must_use]
    pub fn modification(&self, id: &VolumeId) -> Option<&ModificationRecord> {
        Some(self.volumes.get(id)?.modification.as_ref()?.truth())
    }
}

fn all<T>(ids: &[String], parse: fn(&str) -> Result<T, AwsError>) -> Result<Vec<T>, AwsError> {
    ids.iter().map(|text| parse(text)).collect()
}

/// One id that is not seen fails the whole call.
fn found<'a, I: ToString + Ord, R>(
    wanted: &'a [I],
    seen: impl Fn(&'a I) -> Option<&'a R>,
    code: &str,
    what: &str,
) -> Result<Vec<&'a R>, AwsError> {
    let mut sorted: Vec<&I> = wanted.iter().collect();
    sorted.sort_unstable();
    sorted.dedup();
    let missing: Vec<String> =
        sorted.iter().filter(|id| seen(id).is_none()).map(|id| id.to_string()).collect();
    match missing.as_slice() {
        [] => Ok(sorted.into_iter().filter_map(seen).collect()),
        [one] => Err(AwsError::new(code, format!("The {what} '{one}' does not exist."))),
        many => {
            Err(AwsError::new(code, format!("The {what}s '{}' do not exist.", many.join(", "))))
        }
    }
}

fn filling(record: &VolumeRecord, now: Millis) -> Initialization {
    let whole = record.filled_at.saturating_sub(record.created).max(1);
    let left = record.filled_at.saturating_sub(now);
    let state = if left == 0 {
        InitializationState::Initialized
    } else {
        let percent = 100 - left.saturating_mul(100).div_ceil(whole).min(100);
        InitializationState::Initializing {
            progress: u8::try_from(percent).ok(),
            left: record.initialization_rate.map(|_rate| Duration::from_secs(left.div_ceil(1_000))),
        }
    };
    Initialization { volume: record.volume.id.clone(), state }
}

fn passing<R: Row + Clone>(rows: Vec<&R>, call: &Describe) -> Vec<R> {
    let filters = Filters::new(&call.filters);
    rows.into_iter().filter(|row| filters.pass(*row)).cloned().collect()
}
