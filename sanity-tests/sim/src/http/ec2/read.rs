//! Parameters of EC2's actions.

use csi_core::ebs::{LockEnd, LockMode, SnapshotLock};
use jiff::Timestamp;

use super::super::form::Form;
use super::super::shape::ACCOUNT;
use crate::world::call::{CopyVolumes, CreateSnapshot, CreateVolume, ModifyVolume};
use crate::world::{Action, AwsError, World};

/// The parameters that an action has here; any other is refused, so that nothing a driver asks
/// for is silently ignored.
pub(super) fn parameters(action: Action) -> &'static [&'static str] {
    match action {
        Action::CreateVolume => &[
            "AvailabilityZone",
            "AvailabilityZoneId",
            "ClientToken",
            "Encrypted",
            "Iops",
            "KmsKeyId",
            "MultiAttachEnabled",
            "Size",
            "SnapshotId",
            "TagSpecification",
            "Throughput",
            "VolumeInitializationRate",
            "VolumeType",
        ],
        Action::CopyVolumes => &[
            "ClientToken",
            "Encrypted",
            "Iops",
            "KmsKeyId",
            "MultiAttachEnabled",
            "Size",
            "SourceVolumeId",
            "TagSpecification",
            "Throughput",
            "VolumeType",
        ],
        Action::DeleteVolume => &["VolumeId"],
        Action::AttachVolume => &["Device", "EbsCardIndex", "InstanceId", "VolumeId"],
        Action::DetachVolume => &["Device", "InstanceId", "VolumeId"],
        Action::ModifyVolume => {
            &["Iops", "MultiAttachEnabled", "Size", "Throughput", "VolumeId", "VolumeType"]
        }
        Action::CreateSnapshot => &["Description", "TagSpecification", "VolumeId"],
        Action::DeleteSnapshot => &["SnapshotId"],
        Action::EnableFastSnapshotRestores => &["AvailabilityZone", "SourceSnapshotId"],
        Action::LockSnapshot => {
            &["CoolOffPeriod", "ExpirationDate", "LockDuration", "LockMode", "SnapshotId"]
        }
        Action::CreateTags | Action::DeleteTags => &["ResourceId", "Tag"],
        Action::DescribeVolumes | Action::DescribeVolumesModifications => {
            &["Filter", "MaxResults", "NextToken", "VolumeId"]
        }
        Action::DescribeVolumeStatus => &["Filter", "MaxResults", "NextToken", "VolumeId"],
        Action::DescribeSnapshots => &["Filter", "MaxResults", "NextToken", "Owner", "SnapshotId"],
        Action::DescribeInstances => &["Filter", "InstanceId", "MaxResults", "NextToken"],
        Action::DescribeAvailabilityZones => &["ZoneName"],
        Action::DescribeInstanceTypes => &["InstanceType"],
        // Of another service.
        Action::CreateAccessPoint
        | Action::DeleteAccessPoint
        | Action::DescribeAccessPoints
        | Action::DescribeFileSystems
        | Action::DescribeMountTargets
        | Action::GetCallerIdentity
        | Action::AssumeRole
        | Action::AssumeRoleWithWebIdentity => &[],
    }
}

pub(super) fn create_volume(form: &Form, world: &World) -> Result<CreateVolume, AwsError> {
    let zone = match (form.text("AvailabilityZone"), form.text("AvailabilityZoneId")) {
        (Some(_), Some(_)) => {
            return Err(AwsError::combination(
                "AvailabilityZone and AvailabilityZoneId cannot be used together.",
            ));
        }
        (None, Some(id)) => {
            let zone = world.zone_with_id(&id).ok_or_else(|| {
                AwsError::new("InvalidZone.NotFound", format!("The zone '{id}' does not exist."))
            })?;
            Some(zone.name.clone())
        }
        (zone, None) => zone,
    };
    Ok(CreateVolume {
        client_token: form.text("ClientToken"),
        zone,
        size: form.number("Size")?,
        volume_type: form.text("VolumeType"),
        iops: form.number("Iops")?,
        throughput: form.number("Throughput")?,
        encrypted: form.flag("Encrypted")?,
        kms_key: form.text("KmsKeyId"),
        snapshot: form.text("SnapshotId"),
        initialization_rate: form.number("VolumeInitializationRate")?,
        multi_attach: form.flag("MultiAttachEnabled")?,
        tags: form.tags_for("volume")?,
        dry_run: form.flag("DryRun")?.unwrap_or_default(),
    })
}

pub(super) fn copy_volumes(form: &Form) -> Result<CopyVolumes, AwsError> {
    Ok(CopyVolumes {
        source: form.required("SourceVolumeId")?,
        client_token: form.text("ClientToken"),
        size: form.number("Size")?,
        volume_type: form.text("VolumeType"),
        iops: form.number("Iops")?,
        throughput: form.number("Throughput")?,
        encrypted: form.flag("Encrypted")?,
        kms_key: form.text("KmsKeyId"),
        multi_attach: form.flag("MultiAttachEnabled")?,
        tags: form.tags_for("volume")?,
        dry_run: form.flag("DryRun")?.unwrap_or_default(),
    })
}

pub(super) fn modify_volume(form: &Form) -> Result<ModifyVolume, AwsError> {
    Ok(ModifyVolume {
        volume: form.required("VolumeId")?,
        size: form.number("Size")?,
        volume_type: form.text("VolumeType"),
        iops: form.number("Iops")?,
        throughput: form.number("Throughput")?,
        multi_attach: form.flag("MultiAttachEnabled")?,
    })
}

pub(super) fn create_snapshot(form: &Form) -> Result<CreateSnapshot, AwsError> {
    Ok(CreateSnapshot {
        volume: form.required("VolumeId")?,
        description: form.text("Description").unwrap_or_default(),
        tags: form.tags_for("snapshot")?,
    })
}

pub(super) fn lock(form: &Form) -> Result<SnapshotLock, AwsError> {
    let mode = match form.required("LockMode")?.as_str() {
        "governance" => LockMode::Governance,
        "compliance" => LockMode::Compliance,
        other => return Err(AwsError::value(format!("Invalid lock mode: {other}"))),
    };
    let end = match (form.number("LockDuration")?, form.text("ExpirationDate")) {
        (Some(days), None) => LockEnd::AfterDays(days),
        (None, Some(date)) => {
            let time: Timestamp =
                date.parse().map_err(|_error| AwsError::value(format!("Invalid date: {date}")))?;
            LockEnd::At { seconds: time.as_second() }
        }
        _ => {
            return Err(AwsError::combination(
                "Exactly one of LockDuration and ExpirationDate must be given.",
            ));
        }
    };
    Ok(SnapshotLock { mode, end, cool_off_hours: form.number("CoolOffPeriod")? })
}

/// Without an owner EC2 lists the public snapshots too: thousands. There is no way to list those
/// here, and a driver that forgets the owner must notice.
pub(super) fn only_own(form: &Form) -> Result<(), AwsError> {
    let owners = form.list("Owner");
    let named = !form.list("SnapshotId").is_empty();
    if !named && owners.is_empty() {
        return Err(AwsError::missing("Owner"));
    }
    match owners.iter().find(|owner| !matches!(owner.as_str(), "self" | ACCOUNT)) {
        None => Ok(()),
        Some(owner) => Err(AwsError::value(format!("Invalid owner: {owner}"))),
    }
}
