//! The world as it truly is, compared with the plain data.

use std::collections::BTreeMap;

use csi_core::ebs::{
    Attachment, AttachmentState, SNAPSHOT_NAME_TAG, Snapshot, SnapshotState, VOLUME_NAME_TAG,
    Volume, VolumeState,
};
use csi_sim::Sim;
use tokio::time::Instant;

use crate::ask::TAG;
use crate::data::{Model, Thing};

/// The length of an operation.
const AT_ONCE_MS: i64 = 120_000;

/// What exists, whatever reads show.
#[derive(Debug, Clone)]
pub(crate) struct Truth {
    /// Volumes that can be used, now or soon.
    pub(crate) volumes: BTreeMap<String, Volume>,
    pub(crate) snapshots: BTreeMap<String, Snapshot>,
}

impl Truth {
    pub(crate) fn of(sim: &Sim) -> Self {
        sim.with(|world, _| Self {
            volumes: world
                .volumes()
                .map(|record| record.volume.clone())
                .filter(|volume| is_live(volume.state))
                .map(|volume| (volume.id.to_string(), volume))
                .collect(),
            snapshots: world
                .snapshots()
                .map(|record| record.snapshot.clone())
                .map(|snapshot| (snapshot.id.to_string(), snapshot))
                .collect(),
        })
    }

    fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Volume> {
        let is = move |volume: &&Volume| {
            volume.tags.get(VOLUME_NAME_TAG).is_some_and(|found| found == name)
        };
        self.volumes.values().filter(is)
    }

    fn snapshots_named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Snapshot> {
        let is = move |snapshot: &&Snapshot| {
            snapshot.tags.get(SNAPSHOT_NAME_TAG).is_some_and(|found| found == name)
        };
        self.snapshots.values().filter(is)
    }

    pub(crate) fn attachment(&self, place: &(String, String)) -> Option<&Attachment> {
        let all = &self.volumes.get(&place.0)?.attachments;
        all.iter().find(|attachment| attachment.instance.as_str() == place.1)
    }
}

fn is_live(state: VolumeState) -> bool {
    matches!(state, VolumeState::Creating | VolumeState::Available | VolumeState::InUse)
}

impl Model {
    /// Compares everything. Called after every step.
    pub(crate) fn check(&mut self, truth: &Truth) -> Result<(), String> {
        self.note_what_is_over();
        self.check_names(truth)?;
        self.check_snapshot_names(truth)?;
        for (id, known) in &self.volumes {
            check_volume(id, known, truth)?;
        }
        for (id, known) in &self.snapshots {
            check_snapshot(id, known, truth)?;
        }
        self.check_places(truth)
    }

    fn note_what_is_over(&mut self) {
        let over: Vec<String> =
            self.volume_names.keys().filter(|name| self.is_over(name)).cloned().collect();
        for name in over {
            for since in self.volume_names.entry(name).or_default().asked.values_mut() {
                since.get_or_insert_with(Instant::now);
            }
        }
        let over: Vec<String> = self
            .snapshot_names
            .keys()
            .filter(|name| self.is_snapshot_over(name))
            .cloned()
            .collect();
        for name in over {
            for since in self.snapshot_names.entry(name).or_default().asked.values_mut() {
                since.get_or_insert_with(Instant::now);
            }
        }
    }

    fn check_names(&self, truth: &Truth) -> Result<(), String> {
        for name in self.volume_names.keys() {
            let ids: Vec<_> = truth.named(name).map(|volume| volume.id.to_string()).collect();
            if ids.len() > 1 {
                return Err(format!("{name} has {} volumes: {ids:?}", ids.len()));
            }
            if self.is_over(name) && !ids.is_empty() {
                return Err(format!("{ids:?} of {name} exists, and nobody knows of it"));
            }
        }
        Ok(())
    }

    fn check_snapshot_names(&self, truth: &Truth) -> Result<(), String> {
        for name in self.snapshot_names.keys() {
            let all: Vec<_> = truth.snapshots_named(name).collect();
            let ids: Vec<_> = all.iter().map(|snapshot| snapshot.id.to_string()).collect();
            // Two that were made at once, one of whose makers was killed or lost its reply just
            // then, are two until the CO deletes the one it knows.
            let first = all.iter().map(|snapshot| snapshot.started_ms).min();
            let last = all.iter().map(|snapshot| snapshot.started_ms).max();
            let apart = last.zip(first).map_or(0, |(last, first)| last - first);
            if apart > AT_ONCE_MS {
                return Err(format!("{name} has {} snapshots: {ids:?}", ids.len()));
            }
            if self.is_snapshot_over(name) && !ids.is_empty() {
                return Err(format!("{ids:?} of {name} exists, and nobody knows of it"));
            }
        }
        Ok(())
    }

    fn check_places(&self, truth: &Truth) -> Result<(), String> {
        for (id, volume) in &truth.volumes {
            for attachment in &volume.attachments {
                let place = (id.clone(), attachment.instance.to_string());
                if !self.places.get(&place).is_some_and(|known| known.may) {
                    return Err(format!("{attachment:?} exists, and nobody asked for it"));
                }
            }
        }
        for (place, known) in &self.places {
            let Some(device) = &known.promised else { continue };
            match truth.attachment(place) {
                None => return Err(format!("the promised attachment {place:?} is gone")),
                Some(found) if found.state != AttachmentState::Attached => {
                    return Err(format!("the promised attachment is {found:?}"));
                }
                Some(found) if found.device != *device => {
                    return Err(format!("{device} was promised for {found:?}"));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }
}

fn check_volume(id: &str, known: &Thing, truth: &Truth) -> Result<(), String> {
    let found = truth.volumes.get(id);
    if known.promised && found.is_none() {
        return Err(format!("the promised volume {id} is gone"));
    }
    let Some(found) = found else { return Ok(()) };
    if known.dead.is_some() {
        return Err(format!("{id} exists, though its deletion was confirmed"));
    }
    if found.size.bytes().to_csi() < known.bytes {
        return Err(format!("{id} has {}, promised were {} bytes", found.size, known.bytes));
    }
    let has_tag = found.tags.contains_key(TAG.0);
    if known.tagged.is_some_and(|promised| promised != has_tag) {
        return Err(format!("{id} has {:?}, promised was the tag: {:?}", found.tags, known.tagged));
    }
    match known.wish {
        Some(wish) if found.iops != Some(wish.iops) => {
            Err(format!("{id} has {:?} IOPS, promised were {}", found.iops, wish.iops))
        }
        _ => Ok(()),
    }
}

fn check_snapshot(id: &str, known: &Thing, truth: &Truth) -> Result<(), String> {
    let found = truth.snapshots.get(id);
    if known.dead.is_some() && found.is_some() {
        return Err(format!("{id} exists, though its deletion was confirmed"));
    }
    if known.promised && found.is_none_or(|found| found.state == SnapshotState::Error) {
        return Err(format!("the promised snapshot {id} is gone: {found:?}"));
    }
    Ok(())
}
