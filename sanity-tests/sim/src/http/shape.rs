//! EC2's data types as XML. Element names: EC2 API reference, "Data types".

use csi_core::ebs::{Attachment, Initialization, InitializationState, Tags};
use jiff::Timestamp;

use super::xml::Xml;
use crate::world::instance::{InstanceType, ROOT_DEVICE};
use crate::world::{
    InstanceRecord, Millis, ModificationRecord, SnapshotRecord, VolumeRecord, World, ZoneRecord,
    name,
};

/// The account that everything belongs to.
pub(crate) const ACCOUNT: &str = "123456789012";

pub(crate) fn time(world: &World, at: Millis) -> String {
    let at = Timestamp::from_millisecond(world.wall_clock(at)).unwrap_or(Timestamp::UNIX_EPOCH);
    at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

fn tag_set(xml: Xml, tags: &Tags) -> Xml {
    if tags.is_empty() {
        return xml;
    }
    let tag =
        |(key, value): (&String, &String)| Xml::default().text("key", key).text("value", value);
    xml.items("tagSet", tags.iter().map(tag))
}

pub(crate) fn volume(world: &World, record: &VolumeRecord) -> Xml {
    let volume = &record.volume;
    let attachments = volume.attachments.iter().map(|shown| attachment(world, record, shown));
    let xml = Xml::default()
        .text("volumeId", &volume.id)
        .text("size", volume.size.0)
        .maybe("snapshotId", volume.snapshot.as_ref())
        .maybe("sourceVolumeId", volume.source_volume.as_ref())
        .text("availabilityZone", &volume.zone)
        .text("status", name::volume_state(volume.state))
        .text("createTime", time(world, record.created))
        .items("attachmentSet", attachments)
        .text("volumeType", &volume.volume_type)
        .maybe("iops", volume.iops)
        .maybe("throughput", volume.throughput)
        .text("encrypted", volume.encrypted)
        .maybe("kmsKeyId", volume.kms_key.as_ref())
        .maybe("volumeInitializationRate", record.initialization_rate)
        .text("multiAttachEnabled", volume.multi_attach);
    tag_set(xml, &volume.tags)
}

/// `VolumeStatusItem`.
pub(crate) fn volume_status(row: &Initialization) -> Xml {
    let (status, more) = match row.state {
        InitializationState::Initializing { progress, left } => {
            let kind = if left.is_some() { "provisioned-rate" } else { "default" };
            let more = Xml::default()
                .text("initializationType", kind)
                .maybe("progress", progress)
                .maybe("estimatedTimeToCompleteInSeconds", left.map(|left| left.as_secs()));
            ("initializing", Some(more))
        }
        InitializationState::Initialized | InitializationState::Unknown => ("completed", None),
    };
    let detail =
        |name: &str, status: &str| Xml::default().text("name", name).text("status", status);
    let details = [detail("io-enabled", "passed"), detail("initialization-state", status)];
    let xml = Xml::default()
        .text("volumeId", &row.volume)
        .node("volumeStatus", Xml::default().text("status", "ok").items("details", details));
    match more {
        Some(more) => xml.node("initializationStatusDetails", more),
        None => xml,
    }
}

/// `VolumeAttachment`.
pub(crate) fn attachment(world: &World, record: &VolumeRecord, shown: &Attachment) -> Xml {
    let since = record.attached_at.get(&shown.instance).copied().unwrap_or_default();
    Xml::default()
        .text("volumeId", &shown.volume)
        .text("instanceId", &shown.instance)
        .text("device", &shown.device)
        .text("status", name::attachment_state(shown.state))
        .text("attachTime", time(world, since))
        .text("deleteOnTermination", record.delete_on_termination)
        .text("ebsCardIndex", 0)
}

pub(crate) fn modification(world: &World, record: &ModificationRecord) -> Xml {
    let target = &record.modification;
    let (size, volume_type, iops, throughput) = &record.original;
    Xml::default()
        .text("volumeId", &target.volume)
        .text("modificationState", name::modification_state(target.state))
        .maybe("statusMessage", target.status_message.as_ref())
        .text("targetSize", target.size.0)
        .text("targetVolumeType", &target.volume_type)
        .maybe("targetIops", target.iops)
        .maybe("targetThroughput", target.throughput)
        .text("originalSize", size.0)
        .text("originalVolumeType", volume_type)
        .maybe("originalIops", *iops)
        .maybe("originalThroughput", *throughput)
        .text("progress", target.progress)
        .text("startTime", time(world, record.started))
        .maybe("endTime", record.ended.map(|at| time(world, at)))
}

pub(crate) fn snapshot(world: &World, record: &SnapshotRecord) -> Xml {
    let snapshot = &record.snapshot;
    let xml = Xml::default()
        .text("snapshotId", &snapshot.id)
        .maybe("volumeId", snapshot.volume.as_ref())
        .text("status", name::snapshot_state(snapshot.state))
        .text("startTime", time(world, record.started))
        .text("progress", format!("{}%", snapshot.progress))
        .text("ownerId", ACCOUNT)
        .text("volumeSize", snapshot.size.0)
        .text("description", &record.description)
        .text("encrypted", record.encrypted)
        .maybe("kmsKeyId", record.kms_key.as_ref())
        .text("storageTier", "standard");
    tag_set(xml, &snapshot.tags)
}

/// A reservation of its own for each instance.
pub(crate) fn reservation(world: &World, record: &InstanceRecord, devices: &[Attachment]) -> Xml {
    let mapping = |shown: &Attachment| {
        let volume = world.volume(&shown.volume);
        let since = volume.and_then(|volume| volume.attached_at.get(&record.id));
        let ebs = Xml::default()
            .text("volumeId", &shown.volume)
            .text("status", name::attachment_state(shown.state))
            .text("attachTime", time(world, since.copied().unwrap_or_default()))
            .text("deleteOnTermination", volume.is_some_and(|volume| volume.delete_on_termination));
        Xml::default().text("deviceName", &shown.device).node("ebs", ebs)
    };
    let state = Xml::default().text("code", state_code(&record.state)).text("name", &record.state);
    let instance = Xml::default()
        .text("instanceId", &record.id)
        .node("instanceState", state)
        .text("instanceType", &record.instance_type)
        .node("placement", Xml::default().text("availabilityZone", &record.zone))
        .text("rootDeviceType", "ebs")
        .text("rootDeviceName", ROOT_DEVICE)
        .items("blockDeviceMapping", devices.iter().map(mapping))
        .text("virtualizationType", "hvm");
    let instance = tag_set(instance, &record.tags);
    Xml::default()
        .text("reservationId", record.id.as_str().replacen("i-", "r-", 1))
        .text("ownerId", ACCOUNT)
        .items("instancesSet", [instance])
}

/// EC2 API reference, `InstanceState`.
fn state_code(state: &str) -> u8 {
    match state {
        "pending" => 0,
        "running" => 16,
        "shutting-down" => 32,
        "terminated" => 48,
        "stopping" => 64,
        _ => 80,
    }
}

pub(crate) fn zone(zone: &ZoneRecord, region: &str) -> Xml {
    Xml::default()
        .text("zoneName", &zone.name)
        .text("zoneId", &zone.id)
        .text("zoneState", "available")
        .text("regionName", region)
        .text("groupName", format!("{region}-zg-1"))
        .text("networkBorderGroup", region)
        .text("zoneType", "availability-zone")
        .text("optInStatus", "opt-in-not-required")
        .items("messageSet", [])
}

/// The EBS, network and disk facts of an instance type.
pub(crate) fn instance_type(facts: &InstanceType) -> Xml {
    let kind = if facts.shared { "shared" } else { "dedicated" };
    let ebs = Xml::default()
        .text("ebsOptimizedSupport", "default")
        .text("encryptionSupport", "supported")
        .text("nvmeSupport", if facts.name.starts_with("t2.") { "unsupported" } else { "required" })
        .text("maximumEbsAttachments", facts.limit)
        .text("attachmentLimitType", kind)
        .text("maximumEbsCards", 1);
    let network = Xml::default()
        .text("maximumNetworkInterfaces", facts.max_interfaces)
        .text("maximumNetworkCards", 1)
        .text("defaultNetworkCardIndex", 0);
    let xml = Xml::default()
        .text("instanceType", facts.name)
        .text("bareMetal", facts.name.contains("metal"))
        .text("hypervisor", if facts.name.starts_with("t2.") { "xen" } else { "nitro" })
        .text("instanceStorageSupported", facts.local_disks > 0)
        .node("ebsInfo", ebs)
        .node("networkInfo", network);
    if facts.local_disks == 0 {
        return xml;
    }
    let disk = Xml::default().text("count", facts.local_disks).text("type", "ssd");
    xml.node(
        "instanceStorageInfo",
        Xml::default().items("disks", [disk]).text("nvmeSupport", "required"),
    )
}
