//! Zones and instances. They are seeded, not called for.

use std::collections::{BTreeMap, BTreeSet};

use csi_core::ebs::{Attachment, AttachmentState, Tags, Volume, VolumeState};
use csi_core::{GiB, InstanceId, VolumeId, Zone};
use serde::{Deserialize, Serialize};

use super::effect::Effect;
use super::error::AwsError;
use super::volume::VolumeRecord;
use super::{Millis, World, id};

/// Where root volumes are attached.
pub const ROOT_DEVICE: &str = "/dev/xvda";

/// An Availability Zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZoneRecord {
    /// Its name, `us-east-1a`.
    pub name: String,
    /// Its id, `use1-az1`; made up if absent.
    #[serde(default)]
    pub id: String,
    /// Whether it has the hardware for the highest IOPS.
    #[serde(default)]
    pub newest_hardware: bool,
    /// Volume types it has no capacity for; `*` for any.
    #[serde(default)]
    pub exhausted: BTreeSet<String>,
}

impl ZoneRecord {
    pub(crate) fn has_capacity(&self, volume_type: &str) -> bool {
        !self.exhausted.contains("*") && !self.exhausted.contains(volume_type)
    }
}

/// An instance to start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstanceSeed {
    /// Its id; made up if absent.
    #[serde(default)]
    pub id: Option<String>,
    /// Its type, `m5.large`.
    #[serde(rename = "type")]
    pub instance_type: String,
    /// Its zone, which must be seeded.
    pub zone: String,
    /// Its state; `running` if absent.
    #[serde(default = "running")]
    pub state: String,
    /// Volumes it can have, root included; by its type if absent.
    #[serde(default)]
    pub max_attachments: Option<u32>,
    /// Network interfaces; 1 if absent.
    #[serde(default = "one")]
    pub network_interfaces: u32,
    /// Whether it has a root volume at `/dev/xvda`; true if absent.
    #[serde(default = "yes")]
    pub root: bool,
    /// ARN of the role whose sessions its metadata service hands out.
    #[serde(default)]
    pub role: Option<String>,
}

fn running() -> String {
    "running".to_owned()
}

fn one() -> u32 {
    1
}

fn yes() -> bool {
    true
}

impl InstanceSeed {
    /// A running instance of that type and zone, as EC2 would start it.
    #[must_use]
    pub fn new(instance_type: &str, zone: &str) -> Self {
        Self {
            id: None,
            instance_type: instance_type.to_owned(),
            zone: zone.to_owned(),
            state: running(),
            max_attachments: None,
            network_interfaces: one(),
            root: yes(),
            role: None,
        }
    }
}

/// An instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceRecord {
    /// Its id.
    pub id: InstanceId,
    /// Its type.
    pub instance_type: String,
    /// Its zone.
    pub zone: String,
    /// `running`, `stopped`, …
    pub state: String,
    /// Volumes it can have, root included.
    pub max_attachments: u32,
    /// Network interfaces.
    pub network_interfaces: u32,
    /// Its root volume.
    pub root: Option<VolumeId>,
    /// ARN of its role.
    pub role: Option<String>,
    /// Device names that its metadata service lists: those attached when it booted, root first.
    pub boot_devices: Vec<String>,
    /// Its tags.
    pub tags: Tags,
}

/// How an instance type counts volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InstanceType {
    /// The name.
    pub name: &'static str,
    /// The limit.
    pub limit: u32,
    /// Whether network interfaces and local disks count too.
    pub shared: bool,
    /// Local NVMe disks.
    pub local_disks: u32,
    /// Network interfaces it can have.
    pub max_interfaces: u32,
}

/// The types that tests use. Source: EC2 user guide, "Amazon EBS volume limits for Amazon EC2
/// instances", and EC2 instance type pages (2025); likely.
pub const INSTANCE_TYPES: [InstanceType; 13] = [
    // 11 volumes beside its one interface: few enough that a test can fill it.
    ty("inf1.24xlarge", 12, true, 0, 11),
    ty("t2.micro", 39, false, 0, 2),
    ty("t3.micro", 28, true, 0, 2),
    ty("t3.medium", 28, true, 0, 3),
    ty("m5.large", 28, true, 0, 3),
    ty("m5.xlarge", 28, true, 0, 4),
    ty("m5d.large", 28, true, 1, 3),
    ty("c5.large", 28, true, 0, 3),
    ty("r5.large", 28, true, 0, 3),
    ty("m6i.large", 28, true, 0, 3),
    ty("g5.xlarge", 28, true, 1, 4),
    ty("m7i.large", 32, false, 0, 3),
    ty("r7i.48xlarge", 128, false, 0, 15),
];

const fn ty(
    name: &'static str,
    limit: u32,
    shared: bool,
    local_disks: u32,
    max_interfaces: u32,
) -> InstanceType {
    InstanceType { name, limit, shared, local_disks, max_interfaces }
}

/// The facts of a type; an unknown one counts as most Nitro types do.
#[must_use]
pub fn instance_type(name: &str) -> InstanceType {
    let known = INSTANCE_TYPES.iter().find(|known| known.name == name);
    known.copied().unwrap_or(InstanceType {
        name: "",
        limit: 28,
        shared: true,
        local_disks: 0,
        max_interfaces: 4,
    })
}

impl World {
    /// Opens or replaces a zone.
    pub fn set_zone(&mut self, mut zone: ZoneRecord) {
        if zone.id.is_empty() {
            zone.id = format!("use1-az{}", self.zones.len() + 1);
        }
        self.zones.insert(zone.name.clone(), zone);
    }

    /// Opens a zone without the newest hardware.
    pub fn add_zone(&mut self, name: &str) {
        self.set_zone(ZoneRecord {
            name: name.to_owned(),
            id: String::new(),
            newest_hardware: false,
            exhausted: BTreeSet::new(),
        });
    }

    /// The zones.
    #[must_use]
    pub fn zones(&self) -> Vec<ZoneRecord> {
        self.zones.values().cloned().collect()
    }

    pub(crate) fn zone(&self, name: &str) -> Result<&ZoneRecord, AwsError> {
        self.zones.get(name).ok_or_else(|| {
            AwsError::new("InvalidZone.NotFound", format!("The zone '{name}' does not exist."))
        })
    }

    /// Starts an instance with its root volume, or changes one that exists: its type, state and
    /// limits, not its volumes.
    pub fn set_instance(
        &mut self,
        seed: &InstanceSeed,
        now: Millis,
    ) -> Result<InstanceId, AwsError> {
        self.advance(now);
        self.zone(&seed.zone)?;
        let id = match &seed.id {
            Some(text) => id::instance(text)?,
            None => self.new_instance_id(),
        };
        let facts = instance_type(&seed.instance_type);
        let counted = if facts.shared { seed.network_interfaces + facts.local_disks } else { 0 };
        let by_type = facts.limit.saturating_sub(counted);
        let known = self.instances.get(&id).cloned();
        let mut record = InstanceRecord {
            id: id.clone(),
            instance_type: seed.instance_type.clone(),
            zone: seed.zone.clone(),
            state: seed.state.clone(),
            max_attachments: seed.max_attachments.unwrap_or(by_type),
            network_interfaces: seed.network_interfaces,
            root: known.as_ref().and_then(|known| known.root.clone()),
            role: seed.role.clone(),
            boot_devices: known.as_ref().map(|k| k.boot_devices.clone()).unwrap_or_default(),
            tags: known.as_ref().map(|known| known.tags.clone()).unwrap_or_default(),
        };
        if known.is_none() && seed.root {
            record.root = Some(self.add_root(&id, &seed.zone, now));
            record.boot_devices.push(ROOT_DEVICE.to_owned());
        }
        self.instances.insert(id.clone(), record);
        Ok(id)
    }

    fn add_root(&mut self, instance: &InstanceId, zone: &str, now: Millis) -> VolumeId {
        let id = self.new_volume_id();
        let record = VolumeRecord {
            volume: Volume {
                id: id.clone(),
                state: VolumeState::InUse,
                size: GiB(20),
                zone: Zone(zone.to_owned()),
                volume_type: "gp3".to_owned(),
                iops: Some(3_000),
                throughput: Some(125),
                encrypted: false,
                kms_key: None,
                snapshot: None,
                source_volume: None,
                multi_attach: false,
                attachments: vec![Attachment {
                    volume: id.clone(),
                    instance: instance.clone(),
                    device: ROOT_DEVICE.to_owned(),
                    state: AttachmentState::Attached,
                }],
                tags: Tags::new(),
            },
            created: now,
            attached_at: BTreeMap::from([(instance.clone(), now)]),
            initialization_rate: None,
            filled_at: 0,
            delete_on_termination: true,
        };
        // It has been there since long before the world began.
        self.volumes.insert(
            id.clone(),
            super::volume::Entry {
                record: super::lagged::Lagged::new(record, 0),
                modification: None,
                modified: Vec::new(),
                last_snapshot: None,
            },
        );
        id
    }

    /// Reboots an instance: its metadata service then lists what is attached now, and what is
    /// attached appears again if the machine had lost it.
    pub fn reboot(&mut self, id: &InstanceId, now: Millis) -> Result<(), AwsError> {
        self.advance(now);
        let attached: Vec<(VolumeId, String)> = self
            .attachments_of(id, None)
            .iter()
            .map(|attachment| (attachment.volume.clone(), attachment.device.clone()))
            .collect();
        let mut names: Vec<String> = Vec::new();
        for (volume, device) in attached {
            if device != ROOT_DEVICE {
                self.emit(Effect::Attach { volume, instance: id.clone() }, None);
            }
            names.push(device);
        }
        names.sort_by_key(|name| (name != ROOT_DEVICE, name.clone()));
        let instance =
            self.instances.get_mut(id).ok_or_else(|| AwsError::no_instance(id.as_str()))?;
        instance.boot_devices = names;
        Ok(())
    }

    /// The zone with that id.
    #[must_use]
    pub fn zone_with_id(&self, id: &str) -> Option<&ZoneRecord> {
        self.zones.values().find(|zone| zone.id == id)
    }

    /// An instance, if it exists.
    #[must_use]
    pub fn instance(&self, id: &InstanceId) -> Option<&InstanceRecord> {
        self.instances.get(id)
    }

    /// All instances.
    #[must_use]
    pub fn instances(&self) -> Vec<InstanceRecord> {
        self.instances.values().cloned().collect()
    }
}
