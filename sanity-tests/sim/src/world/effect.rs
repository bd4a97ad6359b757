//! What the world asks of the device backend. The world itself touches nothing: it hands out
//! effects, lets a state wait for its effect, and is told how each ended.

use csi_core::ebs::AttachmentState;
use csi_core::{GiB, InstanceId, SnapshotId, VolumeId};

use super::{Due, Millis, World};

/// Something to do to devices or their backing files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Make a volume's disk.
    Create {
        /// The volume.
        volume: VolumeId,
        /// Its size.
        size: GiB,
        /// What it holds at first.
        content: Content,
    },
    /// Let the volume appear at the instance.
    Attach {
        /// The volume.
        volume: VolumeId,
        /// The instance.
        instance: InstanceId,
    },
    /// Let the volume disappear from the instance.
    Detach {
        /// The volume.
        volume: VolumeId,
        /// The instance.
        instance: InstanceId,
    },
    /// Grow the volume's disk, wherever it is attached.
    Grow {
        /// The volume.
        volume: VolumeId,
        /// Its new size.
        size: GiB,
    },
    /// Keep what the volume holds now.
    Capture {
        /// The new snapshot.
        snapshot: SnapshotId,
        /// The volume.
        volume: VolumeId,
    },
    /// Forget a volume's disk.
    RemoveVolume(VolumeId),
    /// Forget a snapshot's data.
    RemoveSnapshot(SnapshotId),
}

/// What a new volume holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Zeros.
    Blank,
    /// A snapshot's data.
    Snapshot(SnapshotId),
    /// Another volume's data, as of now.
    Volume(VolumeId),
}

/// An effect's number, to report its end with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EffectId(u64);

/// An effect that has not been reported as ended.
#[derive(Debug, Clone)]
struct Running {
    id: EffectId,
    effect: Effect,
    gates: Option<Due>,
}

/// A failed effect, kept for whoever inspects the world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceFailure {
    /// When it was reported.
    pub at: Millis,
    /// What was tried.
    pub effect: Effect,
    /// Why it failed.
    pub reason: String,
}

/// Bookkeeping of effects.
#[derive(Debug, Clone, Default)]
pub(crate) struct Effects {
    on: bool,
    next: u64,
    fresh: Vec<(EffectId, Effect)>,
    running: Vec<Running>,
    parked: Vec<Due>,
    failures: Vec<DeviceFailure>,
}

impl World {
    /// From now on produces effects and lets states wait for them.
    pub fn with_devices(&mut self) {
        self.effects.on = true;
    }

    /// The effects since the last call, in order.
    pub fn take_effects(&mut self) -> Vec<(EffectId, Effect)> {
        std::mem::take(&mut self.effects.fresh)
    }

    /// Whether effects are produced.
    #[must_use]
    pub fn has_devices(&self) -> bool {
        self.effects.on
    }

    /// Whether effects wait to be taken.
    #[must_use]
    pub fn has_effects(&self) -> bool {
        !self.effects.fresh.is_empty()
    }

    /// Whether somebody still reads the volume's disk as of an earlier moment. A snapshot or copy
    /// holds what was there when it was asked for, so its answer waits for this.
    #[must_use]
    pub fn is_being_read(&self, source: &str) -> bool {
        self.effects.running.iter().any(|running| match &running.effect {
            Effect::Capture { volume, .. }
            | Effect::Create { content: Content::Volume(volume), .. } => volume.as_str() == source,
            _ => false,
        })
    }

    /// Effects that failed.
    #[must_use]
    pub fn device_failures(&self) -> &[DeviceFailure] {
        &self.effects.failures
    }

    pub(crate) fn emit(&mut self, effect: Effect, gates: Option<Due>) {
        if !self.effects.on {
            return;
        }
        let id = EffectId(self.effects.next);
        self.effects.next += 1;
        self.effects.running.push(Running { id, effect: effect.clone(), gates });
        self.effects.fresh.push((id, effect));
    }

    /// Whether `due` has to wait for an effect; if so it is kept until that has ended.
    pub(crate) fn park(&mut self, due: &Due) -> bool {
        let waits = self.effects.running.iter().any(|running| running.gates.as_ref() == Some(due));
        if waits {
            self.effects.parked.push(due.clone());
        }
        waits
    }

    /// Takes note of an effect's end.
    pub fn effect_ended(&mut self, id: EffectId, result: Result<(), String>, now: Millis) {
        self.advance(now);
        let Some(at) = self.effects.running.iter().position(|running| running.id == id) else {
            return;
        };
        let Running { effect, gates, .. } = self.effects.running.remove(at);
        if let Err(reason) = result {
            self.effects.parked.retain(|due| Some(due) != gates.as_ref());
            self.schedule.retain(|_, due| Some(&*due) != gates.as_ref());
            self.device_failed(&effect, &reason, now);
            self.effects.failures.push(DeviceFailure { at: now, effect, reason });
        } else if let Some(due) = gates
            && let Some(at) = self.effects.parked.iter().position(|parked| *parked == due)
        {
            self.effects.parked.remove(at);
            self.plan(now, due);
        }
        self.advance(now);
    }

    /// A device that fails shows in AWS's own states, as a broken host would.
    fn device_failed(&mut self, effect: &Effect, reason: &str, now: Millis) {
        match effect {
            Effect::Create { volume, .. } => self.plan(now, Due::VolumeFailed(volume.clone())),
            Effect::Detach { volume, instance } => {
                self.set_attachment(volume, instance, AttachmentState::Busy, now);
            }
            Effect::Grow { volume, .. } => self.fail_modification(volume, reason, now),
            Effect::Capture { snapshot, .. } => self.fail_snapshot(snapshot, now),
            // An attachment then stays `attaching`; nothing is left of a removed object.
            Effect::Attach { .. } | Effect::RemoveVolume(_) | Effect::RemoveSnapshot(_) => {}
        }
    }
}
