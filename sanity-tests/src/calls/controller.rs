//! The controller's side: what external-provisioner, -attacher, -resizer and -snapshotter ask.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use csi_proto::csi;
use csi_proto::csi::controller_client::ControllerClient;
use tokio::time::Instant;
use tonic::transport::Channel;
use tonic::{Response, Status};

use super::converge;

/// How long a call is repeated.
const PATIENCE: Duration = Duration::from_secs(90);

/// A volume as a PersistentVolume records it.
#[derive(Debug, Clone)]
pub struct Volume {
    /// The volume handle.
    pub id: String,
    /// Its size in bytes.
    pub bytes: i64,
    /// Its context.
    pub context: HashMap<String, String>,
    /// The zone it is reachable from; empty if it is reachable from all.
    pub zone: String,
}

/// What is asked of a new volume.
#[derive(Debug, Clone)]
pub struct Claim {
    /// Name, `pvc-…`.
    pub name: String,
    /// Size in bytes.
    pub bytes: i64,
    /// The zone of the node that was selected for the pod.
    pub zone: String,
    /// The class's parameters.
    pub parameters: HashMap<String, String>,
    /// How it will be used.
    pub capability: csi::VolumeCapability,
    /// A snapshot to restore.
    pub snapshot: Option<String>,
}

impl Claim {
    /// The request that the external-provisioner makes of it.
    #[must_use]
    pub fn request(&self) -> csi::CreateVolumeRequest {
        let term = csi::Topology {
            segments: [("topology.kubernetes.io/zone".to_owned(), self.zone.clone())]
                .into_iter()
                .collect(),
        };
        csi::CreateVolumeRequest {
            name: self.name.clone(),
            capacity_range: Some(csi::CapacityRange { required_bytes: self.bytes, limit_bytes: 0 }),
            volume_capabilities: vec![self.capability.clone()],
            parameters: self.parameters.clone().into_iter().collect(),
            volume_content_source: self.snapshot.clone().map(|snapshot_id| {
                use csi::volume_content_source::{SnapshotSource, Type};
                csi::VolumeContentSource {
                    r#type: Some(Type::Snapshot(SnapshotSource { snapshot_id })),
                }
            }),
            accessibility_requirements: Some(csi::TopologyRequirement {
                requisite: vec![term.clone()],
                preferred: vec![term],
            }),
            ..Default::default()
        }
    }
}

/// Calls to the controller plugin.
#[derive(Debug, Clone)]
pub struct Controller(pub Channel);

impl Controller {
    /// A client for calls that are not wrapped here.
    #[must_use]
    pub fn raw(&self) -> ControllerClient<Channel> {
        ControllerClient::new(self.0.clone())
    }

    /// `CreateVolume` until it answers for good.
    pub async fn create(&self, claim: &Claim) -> Result<Volume> {
        let answer = self.ask(
            format!("CreateVolume {}", claim.name),
            claim.request(),
            |mut client, request| async move { client.create_volume(request).await },
        );
        let volume = answer.await?.volume.context("no volume in the answer")?;
        let zone = volume
            .accessible_topology
            .first()
            .and_then(|topology| topology.segments.get("topology.kubernetes.io/zone").cloned());
        Ok(Volume {
            id: volume.volume_id,
            bytes: volume.capacity_bytes,
            context: volume.volume_context.into_iter().collect(),
            zone: zone.unwrap_or_default(),
        })
    }

    /// `DeleteVolume` until it answers for good.
    pub async fn delete(&self, volume: &str) -> Result<()> {
        self.ask(
            format!("DeleteVolume {volume}"),
            csi::DeleteVolumeRequest { volume_id: volume.to_owned(), ..Default::default() },
            |mut client, request| async move { client.delete_volume(request).await },
        )
        .await?;
        Ok(())
    }

    /// `ControllerPublishVolume` until it answers for good; the publish context.
    pub async fn attach(
        &self,
        volume: &Volume,
        node: &str,
        capability: &csi::VolumeCapability,
    ) -> Result<BTreeMap<String, String>> {
        let request = csi::ControllerPublishVolumeRequest {
            volume_id: volume.id.clone(),
            node_id: node.to_owned(),
            volume_capability: Some(capability.clone()),
            volume_context: volume.context.clone().into_iter().collect(),
            ..Default::default()
        };
        let answer =
            self.ask(format!("attach {}", volume.id), request, |mut client, request| async move {
                client.controller_publish_volume(request).await
            });
        Ok(answer.await?.publish_context.into_iter().collect())
    }

    /// `ControllerUnpublishVolume` until it answers for good.
    pub async fn detach(&self, volume: &str, node: &str) -> Result<()> {
        self.ask(
            format!("detach {volume}"),
            csi::ControllerUnpublishVolumeRequest {
                volume_id: volume.to_owned(),
                node_id: node.to_owned(),
                ..Default::default()
            },
            |mut client, request| async move { client.controller_unpublish_volume(request).await },
        )
        .await?;
        Ok(())
    }

    /// `ControllerExpandVolume` until it answers for good; the new size in bytes.
    pub async fn expand(
        &self,
        volume: &str,
        bytes: i64,
        capability: &csi::VolumeCapability,
    ) -> Result<i64> {
        let answer = self.ask(
            format!("expand {volume}"),
            csi::ControllerExpandVolumeRequest {
                volume_id: volume.to_owned(),
                capacity_range: Some(csi::CapacityRange { required_bytes: bytes, limit_bytes: 0 }),
                volume_capability: Some(capability.clone()),
                ..Default::default()
            },
            |mut client, request| async move { client.controller_expand_volume(request).await },
        );
        Ok(answer.await?.capacity_bytes)
    }

    /// `ControllerModifyVolume` until it answers for good.
    pub async fn modify(&self, volume: &str, parameters: &[(&str, &str)]) -> Result<()> {
        let mutable: HashMap<_, _> = parameters
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        self.ask(
            format!("modify {volume}"),
            csi::ControllerModifyVolumeRequest {
                volume_id: volume.to_owned(),
                mutable_parameters: mutable.clone().into_iter().collect(),
                ..Default::default()
            },
            |mut client, request| async move { client.controller_modify_volume(request).await },
        )
        .await?;
        Ok(())
    }

    /// `CreateSnapshot` until the snapshot is ready to use; its handle.
    pub async fn snapshot(&self, volume: &str, name: &str) -> Result<String> {
        let started = Instant::now();
        loop {
            let answer = self.ask(
                format!("snapshot {volume}"),
                csi::CreateSnapshotRequest {
                    source_volume_id: volume.to_owned(),
                    name: name.to_owned(),
                    ..Default::default()
                },
                |mut client, request| async move { client.create_snapshot(request).await },
            );
            let snapshot = answer.await?.snapshot.context("no snapshot")?;
            if snapshot.ready_to_use {
                return Ok(snapshot.snapshot_id);
            }
            if started.elapsed() > PATIENCE {
                bail!("snapshot {} is not ready", snapshot.snapshot_id);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// `DeleteSnapshot` until it answers for good.
    pub async fn delete_snapshot(&self, snapshot: &str) -> Result<()> {
        self.ask(
            format!("DeleteSnapshot {snapshot}"),
            csi::DeleteSnapshotRequest { snapshot_id: snapshot.to_owned(), ..Default::default() },
            |mut client, request| async move { client.delete_snapshot(request).await },
        )
        .await?;
        Ok(())
    }

    async fn ask<Q: Clone, A, F>(
        &self,
        what: String,
        request: Q,
        call: impl Fn(ControllerClient<Channel>, Q) -> F,
    ) -> Result<A>
    where
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let answer = converge(what, PATIENCE, || call(self.raw(), request.clone()));
        Ok(answer.await?.into_inner())
    }
}
