//! Asks a controller: from plain data to messages and back.

use std::collections::{BTreeMap, BTreeSet};

use csi_controller::ebs::{DEVICE_PATH, EbsController, VOLUME_SIZE};
use csi_proto::csi;
use csi_proto::csi::controller_server::Controller;
use csi_proto::csi::volume_capability::{AccessType, BlockVolume, MountVolume, access_mode::Mode};
use tonic::{Request as Wrapped, Status};

use crate::ask::{Answer, GIB, Kind, Request, SnapshotClass, Source, Spec, TAG, ZONES};
use crate::port::Severed;

type Driver = EbsController<Severed>;

/// Asks.
pub(crate) async fn perform(driver: &Driver, request: Request) -> Result<Answer, Status> {
    match request {
        Request::Create { name, spec } => create(driver, name, &spec).await,
        Request::Delete { volume } => {
            let message = csi::DeleteVolumeRequest { volume_id: volume, ..Default::default() };
            driver.delete_volume(Wrapped::new(message)).await.map(|_| Answer::Done)
        }
        Request::Publish { volume, node, shared } => publish(driver, volume, node, shared).await,
        Request::Unpublish { volume, node } => {
            let message = csi::ControllerUnpublishVolumeRequest {
                volume_id: volume,
                node_id: node.unwrap_or_default(),
                ..Default::default()
            };
            driver.controller_unpublish_volume(Wrapped::new(message)).await.map(|_| Answer::Done)
        }
        Request::Expand { volume, gib } => {
            let message = csi::ControllerExpandVolumeRequest {
                volume_id: volume,
                capacity_range: Some(range(gib)),
                ..Default::default()
            };
            let reply = driver.controller_expand_volume(Wrapped::new(message)).await?;
            Ok(Answer::Size(reply.into_inner().capacity_bytes))
        }
        Request::Modify { volume, wish } => {
            modify(driver, volume, ("iops".to_owned(), wish.iops.to_string())).await
        }
        Request::Tag { volume, add: true } => {
            let (key, value) = TAG;
            let parameter = ("tagSpecification_1".to_owned(), format!("{key}={value}"));
            modify(driver, volume, parameter).await
        }
        Request::Tag { volume, add: false } => {
            modify(driver, volume, ("tagDeletion_1".to_owned(), TAG.0.to_owned())).await
        }
        Request::Snapshot { name, volume, class } => snapshot(driver, name, volume, class).await,
        Request::DeleteSnapshot { snapshot } => {
            let message =
                csi::DeleteSnapshotRequest { snapshot_id: snapshot, ..Default::default() };
            driver.delete_snapshot(Wrapped::new(message)).await.map(|_| Answer::Done)
        }
        Request::Get { .. }
        | Request::Validate { .. }
        | Request::List { .. }
        | Request::GetSnapshot { .. }
        | Request::ListSnapshots { .. } => look(driver, request).await,
    }
}

async fn create(driver: &Driver, name: String, spec: &Spec) -> Result<Answer, Status> {
    use csi::volume_content_source::{SnapshotSource, Type, VolumeSource};
    let source = spec.source.clone().map(|source| match source {
        Source::Volume(volume_id) => Type::Volume(VolumeSource { volume_id }),
        Source::Snapshot(snapshot_id) => Type::Snapshot(SnapshotSource { snapshot_id }),
    });
    let term = |zone: &&str| csi::Topology {
        segments: [("topology.kubernetes.io/zone".to_owned(), (*zone).to_owned())].into(),
    };
    let zones: Vec<_> = spec.kind.zones().iter().map(term).collect();
    let message = csi::CreateVolumeRequest {
        name,
        capacity_range: Some(range(spec.gib())),
        volume_capabilities: vec![capability(spec.kind == Kind::Shared)],
        parameters: spec.kind.parameters(),
        volume_content_source: source
            .map(|source| csi::VolumeContentSource { r#type: Some(source) }),
        accessibility_requirements: (!zones.is_empty())
            .then(|| csi::TopologyRequirement { requisite: zones.clone(), preferred: zones }),
        ..Default::default()
    };
    let reply = driver.create_volume(Wrapped::new(message)).await?;
    let made = reply.into_inner().volume.unwrap_or_default();
    let zone = made.accessible_topology.into_iter().flat_map(|topology| topology.segments);
    let zone = zone.map(|(_key, zone)| zone).next().unwrap_or_default();
    Ok(Answer::Volume { id: made.volume_id, bytes: made.capacity_bytes, zone })
}

async fn publish(
    driver: &Driver,
    volume: String,
    node: String,
    shared: bool,
) -> Result<Answer, Status> {
    let message = csi::ControllerPublishVolumeRequest {
        volume_id: volume,
        node_id: node,
        volume_capability: Some(capability(shared)),
        ..Default::default()
    };
    let reply = driver.controller_publish_volume(Wrapped::new(message)).await?;
    let context = reply.into_inner().publish_context;
    let value = |key| context.get(key).cloned().unwrap_or_default();
    Ok(Answer::Published {
        device: value(DEVICE_PATH),
        bytes: value(VOLUME_SIZE).parse().unwrap_or_default(),
    })
}

async fn modify(
    driver: &Driver,
    volume: String,
    parameter: (String, String),
) -> Result<Answer, Status> {
    let message = csi::ControllerModifyVolumeRequest {
        volume_id: volume,
        mutable_parameters: [parameter].into(),
        ..Default::default()
    };
    driver.controller_modify_volume(Wrapped::new(message)).await.map(|_| Answer::Done)
}

async fn snapshot(
    driver: &Driver,
    name: String,
    volume: String,
    class: SnapshotClass,
) -> Result<Answer, Status> {
    let pairs: &[(&str, &str)] = match class {
        SnapshotClass::Plain => &[],
        SnapshotClass::Fast => &[("fastSnapshotRestoreAvailabilityZones", ZONES[1])],
        SnapshotClass::Locked => &[("lockMode", "governance"), ("lockDuration", "1")],
    };
    let pairs = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let message = csi::CreateSnapshotRequest {
        name,
        source_volume_id: volume,
        parameters: pairs.collect(),
        ..Default::default()
    };
    let reply = driver.create_snapshot(Wrapped::new(message)).await?;
    let made = reply.into_inner().snapshot.unwrap_or_default();
    Ok(Answer::Snapshot { id: made.snapshot_id, volume: made.source_volume_id })
}

async fn look(driver: &Driver, read: Request) -> Result<Answer, Status> {
    match read {
        Request::Get { volume } => {
            let message = csi::ControllerGetVolumeRequest { volume_id: volume };
            let got = driver.controller_get_volume(Wrapped::new(message)).await?.into_inner();
            let nodes = got.status.unwrap_or_default().published_node_ids.into_iter().collect();
            let id = got.volume.unwrap_or_default().volume_id;
            Ok(Answer::Volumes([(id, nodes)].into()))
        }
        Request::Validate { volume } => {
            let message = csi::ValidateVolumeCapabilitiesRequest {
                volume_id: volume,
                volume_capabilities: vec![capability(false)],
                ..Default::default()
            };
            driver.validate_volume_capabilities(Wrapped::new(message)).await.map(|_| Answer::Done)
        }
        Request::GetSnapshot { snapshot } => {
            let message = csi::GetSnapshotRequest { snapshot_id: snapshot, ..Default::default() };
            let got = driver.get_snapshot(Wrapped::new(message)).await?.into_inner();
            Ok(Answer::Snapshots([got.snapshot.unwrap_or_default().snapshot_id].into()))
        }
        Request::ListSnapshots { page } => list_snapshots(driver, page).await,
        Request::List { page } => list(driver, page).await,
        other => Err(Status::internal(format!("{other:?} is no read"))),
    }
}

async fn list(driver: &Driver, page: i32) -> Result<Answer, Status> {
    let mut all = BTreeMap::new();
    let mut token = String::new();
    loop {
        let message = csi::ListVolumesRequest { max_entries: page, starting_token: token };
        let got = driver.list_volumes(Wrapped::new(message)).await?.into_inner();
        for entry in got.entries {
            let nodes = entry.status.unwrap_or_default().published_node_ids.into_iter().collect();
            let id = entry.volume.unwrap_or_default().volume_id;
            if all.insert(id.clone(), nodes).is_some() {
                return Err(Status::internal(format!("{id} is listed twice")));
            }
        }
        token = got.next_token;
        if token.is_empty() {
            return Ok(Answer::Volumes(all));
        }
    }
}

async fn list_snapshots(driver: &Driver, page: i32) -> Result<Answer, Status> {
    let mut all = BTreeSet::new();
    let mut token = String::new();
    loop {
        let message = csi::ListSnapshotsRequest {
            max_entries: page,
            starting_token: token,
            ..Default::default()
        };
        let got = driver.list_snapshots(Wrapped::new(message)).await?.into_inner();
        for entry in got.entries {
            let id = entry.snapshot.unwrap_or_default().snapshot_id;
            if !all.insert(id.clone()) {
                return Err(Status::internal(format!("{id} is listed twice")));
            }
        }
        token = got.next_token;
        if token.is_empty() {
            return Ok(Answer::Snapshots(all));
        }
    }
}

fn range(gib: i64) -> csi::CapacityRange {
    csi::CapacityRange { required_bytes: gib * GIB, limit_bytes: 0 }
}

fn capability(shared: bool) -> csi::VolumeCapability {
    let (mode, access) = if shared {
        (Mode::MultiNodeMultiWriter, AccessType::Block(BlockVolume {}))
    } else {
        (Mode::SingleNodeWriter, AccessType::Mount(MountVolume::default()))
    };
    let mode = csi::volume_capability::AccessMode { mode: mode.into() };
    csi::VolumeCapability { access_mode: Some(mode), access_type: Some(access) }
}
