//! Volumes and their attachments.

use aws_sdk_ec2::operation::attach_volume::AttachVolumeOutput;
use aws_sdk_ec2::operation::create_volume::CreateVolumeOutput;
use aws_sdk_ec2::types;
use csi_core::Zone;
use csi_core::ebs::{Attachment, AttachmentState, Volume, VolumeState};

use super::{Odd, maybe_count, need, need_id, parse_id, size, tags, text, value};

/// A row of `DescribeVolumes`.
pub(crate) fn volume(found: &types::Volume) -> Result<Volume, Odd> {
    let attachments = found.attachments().iter().filter(|row| is_to_instance(row)).map(attachment);
    Ok(Volume {
        id: need_id("volumeId", found.volume_id())?,
        state: volume_state(need("status", found.state())?)?,
        size: size("size", found.size())?,
        zone: Zone(need("availabilityZone", text(found.availability_zone())).map(str::to_owned)?),
        volume_type: need("volumeType", found.volume_type())?.as_str().to_owned(),
        iops: maybe_count("iops", found.iops())?,
        throughput: maybe_count("throughput", found.throughput())?,
        encrypted: need("encrypted", found.encrypted())?,
        kms_key: text(found.kms_key_id()).map(str::to_owned),
        snapshot: text(found.snapshot_id()).map(|id| parse_id("snapshotId", id)).transpose()?,
        source_volume: text(found.source_volume_id())
            .map(|id| parse_id("sourceVolumeId", id))
            .transpose()?,
        // Absent in answers about types that cannot.
        multi_attach: found.multi_attach_enabled().unwrap_or(false),
        attachments: attachments.collect::<Result<_, _>>()?,
        tags: tags(found.tags())?,
    })
}

/// The answer of `CreateVolume`, which the SDK gives a type of its own with the same fields.
pub(crate) fn volume_from(made: CreateVolumeOutput) -> Result<Volume, Odd> {
    let row = types::Volume::builder()
        .set_volume_id(made.volume_id)
        .set_state(made.state)
        .set_size(made.size)
        .set_availability_zone(made.availability_zone)
        .set_volume_type(made.volume_type)
        .set_iops(made.iops)
        .set_throughput(made.throughput)
        .set_encrypted(made.encrypted)
        .set_kms_key_id(made.kms_key_id)
        .set_snapshot_id(made.snapshot_id)
        .set_source_volume_id(made.source_volume_id)
        .set_multi_attach_enabled(made.multi_attach_enabled)
        .set_attachments(made.attachments)
        .set_tags(made.tags)
        .build();
    volume(&row)
}

/// Volumes of Fargate tasks are attached to what is no instance of the account (EC2 API reference,
/// `VolumeAttachment.associatedResource`); such rows name no instance.
fn is_to_instance(row: &types::VolumeAttachment) -> bool {
    row.instance_id().is_some() || row.associated_resource().is_none()
}

/// An attachment in a row of `DescribeVolumes`.
fn attachment(found: &types::VolumeAttachment) -> Result<Attachment, Odd> {
    Ok(Attachment {
        volume: need_id("attachment.volumeId", found.volume_id())?,
        instance: need_id("attachment.instanceId", found.instance_id())?,
        device: need("attachment.device", text(found.device())).map(str::to_owned)?,
        state: attachment_state(need("attachment.status", found.state())?)?,
    })
}

/// The answer of `AttachVolume`, which the SDK gives a type of its own with the same fields.
pub(crate) fn attachment_from(made: AttachVolumeOutput) -> Result<Attachment, Odd> {
    let row = types::VolumeAttachment::builder()
        .set_volume_id(made.volume_id)
        .set_instance_id(made.instance_id)
        .set_device(made.device)
        .set_state(made.state)
        .build();
    attachment(&row)
}

fn volume_state(found: &types::VolumeState) -> Result<VolumeState, Odd> {
    Ok(match found {
        types::VolumeState::Creating => VolumeState::Creating,
        types::VolumeState::Available => VolumeState::Available,
        types::VolumeState::InUse => VolumeState::InUse,
        types::VolumeState::Deleting => VolumeState::Deleting,
        types::VolumeState::Deleted => VolumeState::Deleted,
        types::VolumeState::Error => VolumeState::Error,
        other => return Err(value("status", other.as_str())),
    })
}

fn attachment_state(found: &types::VolumeAttachmentState) -> Result<AttachmentState, Odd> {
    Ok(match found {
        types::VolumeAttachmentState::Attaching => AttachmentState::Attaching,
        types::VolumeAttachmentState::Attached => AttachmentState::Attached,
        types::VolumeAttachmentState::Detaching => AttachmentState::Detaching,
        types::VolumeAttachmentState::Detached => AttachmentState::Detached,
        types::VolumeAttachmentState::Busy => AttachmentState::Busy,
        other => return Err(value("attachment.status", other.as_str())),
    })
}
