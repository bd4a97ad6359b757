//! The account's state, and how it changes: pure, without input or output. Time is an argument,
//! in milliseconds since the world began; every call first lets happen what is due by then.

pub mod action;
mod attachment;
mod bucket;
pub mod call;
mod describe;
pub mod dump;
pub mod effect;
pub mod efs;
pub mod error;
pub mod fault;
mod filter;
pub mod history;
mod id;
pub mod instance;
mod lagged;
mod modification;
pub mod name;
mod page;
mod protect;
mod rng;
pub mod role;
mod rules;
pub mod settings;
mod snapshot;
mod tag;
#[cfg(test)]
mod tests;
mod token;
pub mod trouble;
mod volume;

use std::collections::{BTreeMap, BTreeSet};

use csi_core::{InstanceId, SnapshotId, VolumeId};

pub use action::{Action, Service};
pub use dump::Dump;
pub use effect::{Content, DeviceFailure, Effect, EffectId};
pub use error::AwsError;
pub use fault::{Admission, Fault, FaultKind, FaultReport, When};
pub use history::{CallRecord, Change, Count};
pub use instance::{InstanceRecord, InstanceSeed, ZoneRecord};
pub use modification::ModificationRecord;
pub use settings::{Delay, Settings, SpentToken};
pub use snapshot::SnapshotRecord;
pub use trouble::{Trouble, TroubleReport};
pub use volume::VolumeRecord;

use bucket::Buckets;
use effect::Effects;
use efs::Efs;
use fault::Faults;
use history::History;
use rng::Rng;
use role::Roles;
use token::Tokens;

/// Milliseconds, since the world began or as a length.
pub type Millis = u64;

/// The world began at this many milliseconds since 1970, unless told otherwise: 2026-01-01.
const DEFAULT_EPOCH_MS: i64 = 1_767_225_600_000;

/// Something that happens by itself at a planned time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Due {
    VolumeReady(VolumeId),
    VolumeFailed(VolumeId),
    VolumeVanishes(VolumeId),
    Attached(VolumeId, InstanceId),
    Detached(VolumeId, InstanceId),
    ModificationInForce(VolumeId),
    ModificationGrown(VolumeId),
    ModificationDone(VolumeId),
    SnapshotDone(SnapshotId),
    SnapshotVanishes(SnapshotId),
    AccessPointReady(String),
    AccessPointVanishes(String),
}

impl Due {
    /// The action that this completes, and for which volume, if callers wait for it.
    fn change(&self) -> Option<(Action, &VolumeId)> {
        match self {
            Self::VolumeReady(id) => Some((Action::CreateVolume, id)),
            Self::Attached(id, _) => Some((Action::AttachVolume, id)),
            Self::Detached(id, _) => Some((Action::DetachVolume, id)),
            _ => None,
        }
    }
}

/// An AWS account in one region.
#[derive(Debug, Clone)]
pub struct World {
    settings: Settings,
    epoch_ms: i64,
    rng: Rng,
    zones: BTreeMap<String, ZoneRecord>,
    instances: BTreeMap<InstanceId, InstanceRecord>,
    volumes: BTreeMap<VolumeId, volume::Entry>,
    /// The last record of volumes that are gone, for token replays and inspection.
    gone: BTreeMap<VolumeId, VolumeRecord>,
    snapshots: BTreeMap<SnapshotId, snapshot::Entry>,
    efs: Efs,
    roles: Roles,
    create_tokens: Tokens<call::CreateVolume>,
    copy_tokens: Tokens<call::CopyVolumes>,
    schedule: BTreeMap<(Millis, u64), Due>,
    planned: u64,
    effects: Effects,
    faults: Faults,
    troubles: Vec<TroubleReport>,
    unusable_keys: BTreeSet<String>,
    buckets: Buckets,
    history: History,
}

impl World {
    /// An empty account. The same seed and the same calls at the same times give the same world.
    #[must_use]
    pub fn new(settings: Settings, seed: u64) -> Self {
        Self {
            settings,
            epoch_ms: DEFAULT_EPOCH_MS,
            rng: Rng::new(seed),
            zones: BTreeMap::new(),
            instances: BTreeMap::new(),
            volumes: BTreeMap::new(),
            gone: BTreeMap::new(),
            snapshots: BTreeMap::new(),
            efs: Efs::default(),
            roles: Roles::default(),
            create_tokens: Tokens::new(),
            copy_tokens: Tokens::new(),
            schedule: BTreeMap::new(),
            planned: 0,
            effects: Effects::default(),
            faults: Faults::default(),
            troubles: Vec::new(),
            unusable_keys: BTreeSet::new(),
            buckets: Buckets::default(),
            history: History::default(),
        }
    }

    /// Says when the world began, in milliseconds since 1970. Only shown times depend on it.
    pub fn set_epoch(&mut self, epoch_ms: i64) {
        self.epoch_ms = epoch_ms;
    }

    /// A time of the world in milliseconds since 1970.
    #[must_use]
    pub fn wall_clock(&self, at: Millis) -> i64 {
        self.epoch_ms.saturating_add(i64::try_from(at).unwrap_or(i64::MAX))
    }

    /// How the world is set.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The settings, to change. What is under way already keeps its time.
    pub fn settings_mut(&mut self) -> &mut Settings {
        &mut self.settings
    }

    /// Makes a KMS key unusable: a volume that names it is created and vanishes soon after, as
    /// on EC2, where the key is used only after the id was returned.
    pub fn set_key_unusable(&mut self, key: &str, unusable: bool) {
        if unusable {
            self.unusable_keys.insert(key.to_owned());
        } else {
            self.unusable_keys.remove(key);
        }
    }

    /// Scripts a fault.
    pub fn add_fault(&mut self, fault: Fault) {
        self.faults.add(fault);
    }

    /// The script, and what became of each fault.
    #[must_use]
    pub fn faults(&self) -> &[FaultReport] {
        &self.faults.0
    }

    /// Forgets the script and everything that sticks.
    pub fn clear_faults(&mut self) {
        self.faults.0.clear();
        self.troubles.clear();
        self.unusable_keys.clear();
    }

    /// Sets an action's token bucket, for when throttling is on.
    pub fn set_bucket(&mut self, action: Action, burst: u32, refill: u32) {
        self.buckets.set(action, burst, refill);
    }

    /// The calls so far, by action.
    #[must_use]
    pub fn counts(&self) -> &BTreeMap<Action, Count> {
        &self.history.counts
    }

    /// Calls of one action so far.
    #[must_use]
    pub fn calls(&self, action: Action) -> u64 {
        self.history.counts.get(&action).map_or(0, |count| count.calls)
    }

    /// The calls so far, oldest first; the oldest of very many are dropped.
    pub fn history(&self) -> impl Iterator<Item = &CallRecord> {
        self.history.records.iter()
    }

    /// Creations, attachments and detachments that are done, in their order; the oldest of very
    /// many are dropped. They are how long AWS itself took.
    pub fn changes(&self) -> impl Iterator<Item = &Change> {
        self.history.changes.iter()
    }

    /// Forgets the calls so far.
    pub fn reset_history(&mut self) {
        self.history = History::default();
    }

    /// Begins a call: decides on faults and quotas before anything else is looked at. A façade
    /// asks this first, and reports the end with [`World::record`].
    pub fn admit(&mut self, action: Action, now: Millis) -> Admission {
        self.advance(now);
        let mut admission =
            Admission::new(action, self.rng.request_id(), self.faults.strike(action));
        let throttled = self.settings.throttle && !self.buckets.take(action, now);
        if throttled && admission.before == fault::Before::Proceed {
            admission.before = fault::Before::Refuse(AwsError::throttled(action.service()));
        }
        admission
    }

    /// A new request id.
    pub fn request_id(&mut self) -> String {
        self.rng.request_id()
    }

    /// Writes a call into the history.
    pub fn record(&mut self, record: CallRecord) {
        self.history.add(record);
    }

    /// When something happens next by itself, if anything does.
    #[must_use]
    pub fn next_due(&self) -> Option<Millis> {
        self.schedule.keys().next().map(|(at, _)| *at)
    }

    /// Lets everything happen that is due by `now`, each at its own time.
    pub fn advance(&mut self, now: Millis) {
        while let Some(entry) = self.schedule.first_entry() {
            let at = entry.key().0;
            if at > now {
                break;
            }
            let due = entry.remove();
            if !self.park(&due) {
                self.happen(due, at);
            }
        }
    }

    fn happen(&mut self, due: Due, at: Millis) {
        let change = due.change().map(|(action, id)| (action, id.clone()));
        match due {
            Due::VolumeReady(id) => self.volume_ready(&id, at),
            Due::VolumeFailed(id) => self.volume_failed(&id, at),
            Due::VolumeVanishes(id) => self.volume_vanishes(&id),
            Due::Attached(id, instance) => self.attached(&id, &instance, at),
            Due::Detached(id, instance) => self.detached(&id, &instance, at),
            Due::ModificationInForce(id) => self.modification_in_force(&id, at),
            Due::ModificationGrown(id) => self.modification_grown(&id, at),
            Due::ModificationDone(id) => self.modification_done(&id, at),
            Due::SnapshotDone(id) => self.snapshot_done(&id, at),
            Due::SnapshotVanishes(id) => {
                self.snapshots.remove(&id);
            }
            Due::AccessPointReady(id) => self.access_point_ready(&id, at),
            Due::AccessPointVanishes(id) => self.efs.forget(&id),
        }
        if let Some((action, id)) = change {
            let shown = self.volumes.get(&id).map_or(at, |entry| entry.record.visible_at().max(at));
            self.history.shown(action, id, shown);
        }
    }

    pub(crate) fn plan(&mut self, at: Millis, due: Due) {
        self.planned += 1;
        self.schedule.insert((at, self.planned), due);
    }

    fn plan_after(&mut self, now: Millis, delay: Delay, due: Due) {
        let at = now.saturating_add(delay.sample(&mut self.rng));
        self.history.asked(&due, now);
        self.plan(at, due);
    }

    fn lag(&mut self) -> Millis {
        self.settings.read_lag.sample(&mut self.rng)
    }
}
