//! Answers as messages.

use std::collections::BTreeMap;

use csi_core::VolumeId;
use csi_core::ebs::{AttachmentState, Snapshot, SnapshotState, Volume};
use csi_core::request::{PublishContext, PublishLocal};
use csi_core::topology::volume_topology;
use csi_proto::csi;

use super::super::publish::Published;
use super::super::{Settings, snapshot};
use super::{DEVICE_PATH, OLDEST_KERNEL, VOLUME_ID, VOLUME_SIZE};

pub(super) fn volume(volume: &Volume) -> csi::Volume {
    csi::Volume {
        capacity_bytes: volume.size.bytes().to_csi(),
        volume_id: volume.id.to_string(),
        accessible_topology: vec![volume_topology(&volume.zone)],
        ..csi::Volume::default()
    }
}

pub(super) fn published(
    published: Published,
    context: &PublishContext,
    settings: &Settings,
) -> csi::ControllerPublishVolumeResponse {
    let size = published.volume.size.bytes().0.to_string();
    let mut publish_context = BTreeMap::from([
        (DEVICE_PATH.to_owned(), published.device),
        (VOLUME_SIZE.to_owned(), size),
    ]);
    publish_context.extend(kernel(context, settings));
    csi::ControllerPublishVolumeResponse { publish_context }
}

/// What the node must know to make a file system that the other nodes can mount.
fn kernel(context: &PublishContext, settings: &Settings) -> Option<(String, String)> {
    let oldest = context.oldest_kernel.as_ref().or(settings.oldest_kernel.as_ref())?;
    Some((OLDEST_KERNEL.to_owned(), oldest.clone()))
}

pub(super) fn published_locally(
    request: &PublishLocal,
    volume: &VolumeId,
    settings: &Settings,
) -> csi::ControllerPublishVolumeResponse {
    let mut publish_context = BTreeMap::from([
        (DEVICE_PATH.to_owned(), request.device.name().to_owned()),
        (VOLUME_ID.to_owned(), volume.to_string()),
    ]);
    publish_context.extend(kernel(&request.context, settings));
    csi::ControllerPublishVolumeResponse { publish_context }
}

/// Where a volume is published: the attacher publishes again what should be there and is not.
fn nodes(volume: &Volume) -> Vec<String> {
    let there = volume.attachments.iter().filter(|attachment| match attachment.state {
        AttachmentState::Attaching | AttachmentState::Attached | AttachmentState::Busy => true,
        AttachmentState::Detaching | AttachmentState::Detached => false,
    });
    there.map(|attachment| attachment.instance.to_string()).collect()
}

pub(super) fn volume_entry(found: &Volume) -> csi::list_volumes_response::Entry {
    let status = csi::list_volumes_response::VolumeStatus { published_node_ids: nodes(found) };
    csi::list_volumes_response::Entry { volume: Some(volume(found)), status: Some(status) }
}

pub(super) fn got_volume(found: &Volume) -> csi::ControllerGetVolumeResponse {
    let status =
        csi::controller_get_volume_response::VolumeStatus { published_node_ids: nodes(found) };
    csi::ControllerGetVolumeResponse { volume: Some(volume(found)), status: Some(status) }
}

pub(super) fn snapshot(found: &Snapshot) -> csi::Snapshot {
    csi::Snapshot {
        size_bytes: found.size.bytes().to_csi(),
        snapshot_id: found.id.to_string(),
        source_volume_id: snapshot::source(found),
        creation_time: Some(time(found.started_ms)),
        ready_to_use: found.state == SnapshotState::Completed,
        ..csi::Snapshot::default()
    }
}

pub(super) fn snapshot_entry(found: &Snapshot) -> csi::list_snapshots_response::Entry {
    csi::list_snapshots_response::Entry { snapshot: Some(snapshot(found)) }
}

fn time(milliseconds: i64) -> prost_types::Timestamp {
    let nanos = milliseconds.rem_euclid(1_000) * 1_000_000;
    prost_types::Timestamp {
        seconds: milliseconds.div_euclid(1_000),
        nanos: i32::try_from(nanos).unwrap_or(0),
    }
}
