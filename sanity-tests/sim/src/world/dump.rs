//! The whole state as data, for tests and people to inspect.

mod efs;

use std::collections::BTreeMap;

use csi_core::VolumeId;
use csi_core::ebs::Tags;
use serde::{Deserialize, Serialize};

use super::{
    FaultReport, InstanceRecord, Millis, ModificationRecord, SnapshotRecord, TroubleReport,
    VolumeRecord, World, ZoneRecord, name,
};

pub use efs::{AccessPointDump, FileSystemDump, MountTargetDump};

/// The world in truth, whatever readers see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dump {
    /// The world's time.
    pub now_ms: Millis,
    /// Volumes, root volumes included, by id.
    pub volumes: BTreeMap<String, VolumeDump>,
    /// Snapshots by id.
    pub snapshots: BTreeMap<String, SnapshotDump>,
    /// Instances by id.
    pub instances: BTreeMap<String, InstanceDump>,
    /// Zones.
    pub zones: Vec<ZoneRecord>,
    /// File systems by id.
    pub file_systems: BTreeMap<String, FileSystemDump>,
    /// Access points by id.
    pub access_points: BTreeMap<String, AccessPointDump>,
    /// The fault script.
    pub faults: Vec<FaultReport>,
    /// What misbehaves.
    pub troubles: Vec<TroubleReport>,
    /// Devices that could not be made to follow: a defect of the bench, not of the driver.
    pub device_failures: Vec<String>,
}

/// A volume. States are named as in the API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeDump {
    /// Its state.
    pub state: String,
    /// Its size.
    pub size_gib: u32,
    /// Its zone.
    pub zone: String,
    /// Its type.
    #[serde(rename = "type")]
    pub volume_type: String,
    /// Its IOPS.
    pub iops: Option<u32>,
    /// Its throughput in MiB/s.
    pub throughput: Option<u32>,
    /// Whether it is encrypted.
    pub encrypted: bool,
    /// Its key.
    pub kms_key: Option<String>,
    /// The snapshot it was made from.
    pub snapshot: Option<String>,
    /// The volume it was copied from.
    pub source_volume: Option<String>,
    /// Whether several instances may attach it.
    pub multi_attach: bool,
    /// Whether it is an instance's root volume.
    pub root: bool,
    /// Its attachments.
    pub attachments: Vec<AttachmentDump>,
    /// Its latest modification.
    pub modification: Option<ModificationDump>,
    /// Its tags.
    pub tags: Tags,
}

/// An attachment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachmentDump {
    /// The instance.
    pub instance: String,
    /// The device name.
    pub device: String,
    /// Its state.
    pub state: String,
}

/// A modification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModificationDump {
    /// Its state.
    pub state: String,
    /// The size it leads to.
    pub size_gib: u32,
    /// The type it leads to.
    #[serde(rename = "type")]
    pub volume_type: String,
    /// The IOPS it leads to.
    pub iops: Option<u32>,
    /// The throughput in MiB/s it leads to.
    pub throughput: Option<u32>,
}

/// A snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotDump {
    /// Its state.
    pub state: String,
    /// Its size.
    pub size_gib: u32,
    /// The volume it was made from.
    pub volume: Option<String>,
    /// Its tags.
    pub tags: Tags,
}

/// An instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceDump {
    /// Its state.
    pub state: String,
    /// Its type.
    #[serde(rename = "type")]
    pub instance_type: String,
    /// Its zone.
    pub zone: String,
    /// Volumes it can have, root included.
    pub max_attachments: u32,
    /// Volumes by device name.
    pub devices: BTreeMap<String, String>,
}

impl World {
    /// The whole state.
    pub fn dump(&mut self, now: Millis) -> Dump {
        self.advance(now);
        let volume =
            |record: &VolumeRecord| (record.volume.id.to_string(), self.dump_volume(record));
        let snapshot =
            |record: &SnapshotRecord| (record.snapshot.id.to_string(), dump_snapshot(record));
        let instance =
            |record: &InstanceRecord| (record.id.to_string(), self.dump_instance(record));
        Dump {
            now_ms: now,
            volumes: self.volumes().map(volume).collect(),
            snapshots: self.snapshots().map(snapshot).collect(),
            instances: self.instances().iter().map(instance).collect(),
            zones: self.zones(),
            file_systems: self.dump_file_systems(),
            access_points: self.dump_access_points(),
            faults: self.faults().to_vec(),
            troubles: self.troubles().to_vec(),
            device_failures: self
                .device_failures()
                .iter()
                .map(|failure| format!("{:?}: {}", failure.effect, failure.reason))
                .collect(),
        }
    }

    fn dump_volume(&self, record: &VolumeRecord) -> VolumeDump {
        let volume = &record.volume;
        VolumeDump {
            state: name::volume_state(volume.state).to_owned(),
            size_gib: volume.size.0,
            zone: volume.zone.to_string(),
            volume_type: volume.volume_type.clone(),
            iops: volume.iops,
            throughput: volume.throughput,
            encrypted: volume.encrypted,
            kms_key: volume.kms_key.clone(),
            snapshot: volume.snapshot.as_ref().map(ToString::to_string),
            source_volume: volume.source_volume.as_ref().map(ToString::to_string),
            multi_attach: volume.multi_attach,
            root: record.delete_on_termination,
            attachments: volume
                .attachments
                .iter()
                .map(|attachment| AttachmentDump {
                    instance: attachment.instance.to_string(),
                    device: attachment.device.clone(),
                    state: name::attachment_state(attachment.state).to_owned(),
                })
                .collect(),
            modification: self.dump_modification(&volume.id),
            tags: volume.tags.clone(),
        }
    }

    fn dump_modification(&self, id: &VolumeId) -> Option<ModificationDump> {
        let ModificationRecord { modification, .. } = self.modification(id)?;
        Some(ModificationDump {
            state: name::modification_state(modification.state).to_owned(),
            size_gib: modification.size.0,
            volume_type: modification.volume_type.clone(),
            iops: modification.iops,
            throughput: modification.throughput,
        })
    }

    fn dump_instance(&self, record: &InstanceRecord) -> InstanceDump {
        let attachments = self.attachments_of(&record.id, None).into_iter();
        InstanceDump {
            state: record.state.clone(),
            instance_type: record.instance_type.clone(),
            zone: record.zone.clone(),
            max_attachments: record.max_attachments,
            devices: attachments.map(|a| (a.device.clone(), a.volume.to_string())).collect(),
        }
    }
}

fn dump_snapshot(record: &SnapshotRecord) -> SnapshotDump {
    let snapshot = &record.snapshot;
    SnapshotDump {
        state: name::snapshot_state(snapshot.state).to_owned(),
        size_gib: snapshot.size.0,
        volume: snapshot.volume.as_ref().map(ToString::to_string),
        tags: snapshot.tags.clone(),
    }
}
