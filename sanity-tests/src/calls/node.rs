//! The node's side: what kubelet asks.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use csi_proto::csi;
use csi_proto::csi::node_client::NodeClient;
use tonic::transport::Channel;
use tonic::{Response, Status};

use super::{Volume, converge};

/// How long a call is repeated.
const PATIENCE: Duration = Duration::from_mins(2);

/// A volume on a node, from kubelet's side.
#[derive(Debug, Clone)]
pub struct Placement {
    /// The volume handle.
    pub volume: String,
    /// What the attachment said.
    pub publish_context: BTreeMap<String, String>,
    /// The volume's own context.
    pub context: HashMap<String, String>,
    /// How it is used.
    pub capability: csi::VolumeCapability,
    /// The global mount.
    pub staging: PathBuf,
    /// The pod's mount, or device file.
    pub target: PathBuf,
}

impl Placement {
    /// The paths that kubelet would choose for a volume and a pod.
    #[must_use]
    pub fn new(
        volume: &Volume,
        publish_context: BTreeMap<String, String>,
        capability: &csi::VolumeCapability,
        pod: &str,
    ) -> Self {
        let kubelet = Path::new("/var/lib/kubelet");
        let driver = kubelet.join("plugins/kubernetes.io/csi/ebs.csi.aws.com");
        Self {
            volume: volume.id.clone(),
            publish_context,
            context: volume.context.clone(),
            capability: capability.clone(),
            staging: driver.join(&volume.id).join("globalmount"),
            target: kubelet.join("pods").join(pod).join("volumes").join(&volume.id).join("mount"),
        }
    }

    /// The request that stages it.
    #[must_use]
    pub fn stage_request(&self) -> csi::NodeStageVolumeRequest {
        csi::NodeStageVolumeRequest {
            volume_id: self.volume.clone(),
            publish_context: self.publish_context.clone().into_iter().collect(),
            staging_target_path: self.staging.display().to_string(),
            volume_capability: Some(self.capability.clone()),
            volume_context: self.context.clone().into_iter().collect(),
            ..Default::default()
        }
    }

    /// The request that publishes it, writable.
    #[must_use]
    pub fn publish_request(&self) -> csi::NodePublishVolumeRequest {
        csi::NodePublishVolumeRequest {
            volume_id: self.volume.clone(),
            publish_context: self.publish_context.clone().into_iter().collect(),
            staging_target_path: self.staging.display().to_string(),
            target_path: self.target.display().to_string(),
            volume_capability: Some(self.capability.clone()),
            volume_context: self.context.clone().into_iter().collect(),
            ..Default::default()
        }
    }
}

/// Calls to the node plugin.
#[derive(Debug, Clone)]
pub struct Node(pub Channel);

impl Node {
    /// A client for calls that are not wrapped here.
    #[must_use]
    pub fn raw(&self) -> NodeClient<Channel> {
        NodeClient::new(self.0.clone())
    }

    /// Asks once what `NodeGetVolumeStats` says of a volume at a path.
    pub async fn measure(
        &self,
        volume: &str,
        path: &Path,
    ) -> Result<Vec<csi::VolumeUsage>, Status> {
        let request = csi::NodeGetVolumeStatsRequest {
            volume_id: volume.to_owned(),
            volume_path: path.display().to_string(),
            ..Default::default()
        };
        Ok(self.raw().node_get_volume_stats(request).await?.into_inner().usage)
    }

    /// `NodeStageVolume` until it answers for good.
    pub async fn stage(&self, place: &Placement) -> Result<()> {
        let request = place.stage_request();
        self.ask(format!("stage {}", place.volume), request, |mut client, request| async move {
            client.node_stage_volume(request).await
        })
        .await?;
        Ok(())
    }

    /// `NodePublishVolume` until it answers for good.
    pub async fn publish(&self, place: &Placement) -> Result<()> {
        let request = place.publish_request();
        self.ask(format!("publish {}", place.volume), request, |mut client, request| async move {
            client.node_publish_volume(request).await
        })
        .await?;
        Ok(())
    }

    /// `NodeUnpublishVolume` until it answers for good.
    pub async fn unpublish(&self, place: &Placement) -> Result<()> {
        self.ask(
            format!("unpublish {}", place.volume),
            csi::NodeUnpublishVolumeRequest {
                volume_id: place.volume.clone(),
                target_path: place.target.display().to_string(),
            },
            |mut client, request| async move { client.node_unpublish_volume(request).await },
        )
        .await?;
        Ok(())
    }

    /// `NodeUnstageVolume` until it answers for good.
    pub async fn unstage(&self, place: &Placement) -> Result<()> {
        self.ask(
            format!("unstage {}", place.volume),
            csi::NodeUnstageVolumeRequest {
                volume_id: place.volume.clone(),
                staging_target_path: place.staging.display().to_string(),
            },
            |mut client, request| async move { client.node_unstage_volume(request).await },
        )
        .await?;
        Ok(())
    }

    /// `NodeExpandVolume` until it answers for good.
    pub async fn expand(&self, place: &Placement, bytes: i64) -> Result<()> {
        let request = csi::NodeExpandVolumeRequest {
            volume_id: place.volume.clone(),
            volume_path: place.target.display().to_string(),
            staging_target_path: place.staging.display().to_string(),
            capacity_range: Some(csi::CapacityRange { required_bytes: bytes, limit_bytes: 0 }),
            volume_capability: Some(place.capability.clone()),
            ..Default::default()
        };
        self.ask(format!("grow {}", place.volume), request, |mut client, request| async move {
            client.node_expand_volume(request).await
        })
        .await?;
        Ok(())
    }

    async fn ask<Q: Clone, A, F>(
        &self,
        what: String,
        request: Q,
        call: impl Fn(NodeClient<Channel>, Q) -> F,
    ) -> Result<A>
    where
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let answer = converge(what, PATIENCE, || call(self.raw(), request.clone()));
        Ok(answer.await?.into_inner())
    }
}
