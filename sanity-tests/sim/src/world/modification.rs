//! Modifications of volumes.

use csi_core::ebs::{Modification, ModificationState, VolumeState};
use csi_core::{GiB, VolumeId, facts};

use super::call::ModifyVolume;
use super::effect::Effect;
use super::error::AwsError;
use super::lagged::Lagged;
use super::rules::Config;
use super::volume::Entry;
use super::{Due, Millis, World};

/// A modification, with what the port does not show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModificationRecord {
    /// As the port shows it.
    pub modification: Modification,
    /// Size, type, IOPS, throughput before.
    pub original: (GiB, String, Option<u32>, Option<u32>),
    /// When it began.
    pub started: Millis,
    /// When it ended, if it has.
    pub ended: Option<Millis>,
}

impl World {
    /// `ModifyVolume`.
    pub fn modify_volume(
        &mut self,
        call: &ModifyVolume,
        now: Millis,
    ) -> Result<ModificationRecord, AwsError> {
        self.advance(now);
        let (id, entry) = self.live_volume(&call.volume)?;
        check_modifiable(entry, now)?;
        let target = self.target(call, entry)?;
        let record = start(&id, entry, target, now);
        let visible_at = now.saturating_add(self.lag());
        if let Some(entry) = self.volumes.get_mut(&id) {
            entry.modification = Some(Lagged::new(record.clone(), visible_at));
            entry.modified.push(now);
        }
        if self.modification_fails(&id) {
            self.fail_modification(&id, "The modification could not be completed.", now);
        } else {
            self.plan_after(now, self.settings.modify, Due::ModificationInForce(id));
        }
        Ok(record)
    }

    /// What is not named stays; but a new type starts from its own defaults, except that the size
    /// stays (EC2 API reference, `ModifyVolume`).
    fn target(&self, call: &ModifyVolume, entry: &Entry) -> Result<Config, AwsError> {
        let volume = &entry.record.truth().volume;
        let size = call.size.unwrap_or(volume.size.0);
        if size < volume.size.0 {
            return Err(AwsError::value(format!(
                "New size cannot be smaller than existing size {}GiB",
                volume.size.0
            )));
        }
        let volume_type = call.volume_type.clone().unwrap_or_else(|| volume.volume_type.clone());
        let same_type = volume_type == volume.volume_type;
        // gp2's IOPS follow from its size and are not a parameter.
        let keeps_iops = same_type && volume_type != "gp2";
        let config = Config {
            size,
            iops: call.iops.or_else(|| volume.iops.filter(|_| keeps_iops)),
            throughput: call.throughput.or_else(|| volume.throughput.filter(|_| same_type)),
            multi_attach: call.multi_attach.unwrap_or(volume.multi_attach),
            volume_type,
        };
        config.check(self.zone(&volume.zone.0)?.newest_hardware)
    }

    pub(crate) fn modification_in_force(&mut self, id: &VolumeId, at: Millis) {
        let Some(size) = self.volumes.get(id).and_then(|entry| {
            let size = entry.modification.as_ref()?.truth().modification.size;
            (size > entry.record.truth().volume.size).then_some(size)
        }) else {
            return self.modification_grown(id, at);
        };
        // The size may be used from `optimizing` on, so the disk grows before.
        let due = Due::ModificationGrown(id.clone());
        self.emit(Effect::Grow { volume: id.clone(), size }, Some(due.clone()));
        self.plan(at, due);
    }

    pub(crate) fn modification_grown(&mut self, id: &VolumeId, at: Millis) {
        let Some(entry) = self.volumes.get_mut(id) else { return };
        let Some(modification) = &mut entry.modification else { return };
        let target = modification.truth().modification.clone();
        modification.write(at, 0, |record| {
            record.modification.state = ModificationState::Optimizing;
        });
        entry.record.write(at, 0, |record| {
            let volume = &mut record.volume;
            volume.size = target.size;
            volume.volume_type = target.volume_type;
            volume.iops = target.iops;
            volume.throughput = target.throughput;
        });
        self.plan_after(at, self.settings.optimize, Due::ModificationDone(id.clone()));
    }

    pub(crate) fn modification_done(&mut self, id: &VolumeId, at: Millis) {
        self.end_modification(id, ModificationState::Completed, None, at);
    }

    pub(crate) fn fail_modification(&mut self, id: &VolumeId, reason: &str, at: Millis) {
        self.end_modification(id, ModificationState::Failed, Some(reason.to_owned()), at);
    }

    fn end_modification(
        &mut self,
        id: &VolumeId,
        state: ModificationState,
        message: Option<String>,
        at: Millis,
    ) {
        let entry = self.volumes.get_mut(id);
        if let Some(modification) = entry.and_then(|entry| entry.modification.as_mut()) {
            modification.write(at, 0, |record| {
                record.modification.state = state;
                record.modification.progress = 100;
                record.modification.status_message = message;
                record.ended = Some(at);
            });
        }
    }
}

fn check_modifiable(entry: &Entry, now: Millis) -> Result<(), AwsError> {
    let volume = &entry.record.truth().volume;
    if !matches!(volume.state, VolumeState::Available | VolumeState::InUse) {
        return Err(AwsError::incorrect_state(format!(
            "Volume '{}' is in the '{}' state.",
            volume.id,
            super::name::volume_state(volume.state)
        )));
    }
    if let Some(last) = &entry.modification {
        let state = last.truth().modification.state;
        if matches!(state, ModificationState::Modifying | ModificationState::Optimizing) {
            return Err(AwsError::new(
                "IncorrectModificationState",
                format!(
                    "The volume {} is currently in the '{}' state of a modification.",
                    volume.id,
                    super::name::modification_state(state)
                ),
            ));
        }
    }
    let window = u64::try_from(facts::MODIFICATION_WINDOW.as_millis()).unwrap_or(u64::MAX);
    let recent = entry.modified.iter().filter(|at| now.saturating_sub(**at) < window).count();
    if recent >= facts::MODIFICATIONS_PER_WINDOW {
        return Err(AwsError::new(
            "VolumeModificationRateExceeded",
            format!(
                "You've reached the maximum modification rate per volume limit. Volume {} was \
                 modified {recent} times in the last 24 hours.",
                volume.id
            ),
        ));
    }
    Ok(())
}

fn start(id: &VolumeId, entry: &Entry, target: Config, now: Millis) -> ModificationRecord {
    let volume = &entry.record.truth().volume;
    ModificationRecord {
        modification: Modification {
            volume: id.clone(),
            state: ModificationState::Modifying,
            size: GiB(target.size),
            volume_type: target.volume_type,
            iops: target.iops,
            throughput: target.throughput,
            progress: 0,
            status_message: None,
            started_ms: None,
        },
        original: (volume.size, volume.volume_type.clone(), volume.iops, volume.throughput),
        started: now,
        ended: None,
    }
}
