//! The Node service: each call parses, claims its volume, works in a thread of its own and is
//! waited for until its deadline. A call that is given up goes on, and keeps its claim.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use csi_core::rpc_error::RpcError;
use csi_core::{Bytes, Operations, VolumeId};
use csi_proto::csi;
use csi_proto::csi::node_server::{Node, NodeServer};
use csi_proto::csi::node_service_capability::rpc::Type as RpcType;
use csi_serve::{Deadline, subject};
use tokio::time::{Instant, sleep};
use tonic::{Request, Response, Status};

use crate::capability::capability;
use crate::ebs::expand::{ExpandError, expand};
use crate::ebs::info::InfoSource;
use crate::ebs::publish::{PublishError, publish};
use crate::ebs::request::{Expand, Publish, Stage, Stats, Unmount};
use crate::ebs::stage::{StageError, stage};
use crate::ebs::stats::stats;
use crate::ebs::unmount::{UnmountError, unmount};
use crate::identity::Wanted;
use crate::kernel::{Disk, Kernel};
use crate::observe::{self, FindError};
use crate::patience::{quick, within};

/// What the node can do. `VOLUME_MOUNT_GROUP` is not among it and must never be: kubelet would
/// stop applying fsGroup, and neither ext4 nor XFS has an option for it.
pub const CAPABILITIES: [RpcType; 4] = [
    RpcType::StageUnstageVolume,
    RpcType::ExpandVolume,
    RpcType::GetVolumeStats,
    RpcType::SingleNodeMultiWriter,
];

/// How soon a disk is looked for again that is not there or not grown yet.
const POLL: Duration = Duration::from_millis(50);
/// The longest pause between two looks. Each reads some small files of every disk, and a node may wait
/// for dozens of disks at once.
const LONGEST_POLL: Duration = Duration::from_millis(400);
/// How the service works.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// How long a disk is waited for that is not there or not grown yet.
    pub device_wait: Duration,
    /// Makes XFS without shared extents.
    pub legacy_xfs: bool,
}

/// The Node service for EBS.
#[derive(Debug)]
pub struct EbsNode<K> {
    kernel: Arc<K>,
    info: Arc<InfoSource>,
    settings: Settings,
    volumes: Operations<VolumeId>,
    /// Measuring is no mutation, but one of them may hang for ever; it must not be joined by more.
    measured: Operations<Measured>,
}

/// A path that is being measured.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Measured(PathBuf);

impl std::fmt::Display for Measured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.display().fmt(f)
    }
}

impl<K: Kernel> EbsNode<K> {
    /// A service on this kernel.
    #[must_use]
    pub fn new(kernel: K, info: InfoSource, settings: Settings) -> Self {
        Self {
            kernel: Arc::new(kernel),
            info: Arc::new(info),
            settings,
            volumes: Operations::default(),
            measured: Operations::default(),
        }
    }

    /// The service, for `Routes`.
    #[must_use]
    pub fn into_service(self) -> NodeServer<Self> {
        NodeServer::new(self)
    }

    /// The mutations under way, to wait for at the end.
    #[must_use]
    pub fn operations(&self) -> Operations<VolumeId> {
        self.volumes.clone()
    }

    async fn stage(
        &self,
        message: csi::NodeStageVolumeRequest,
        deadline: Deadline,
    ) -> Result<(), RpcError> {
        let request = Stage::parse(&message, self.settings.legacy_xfs)?;
        let volume = request.wanted.volume.clone();
        let (kernel, wait) = (Arc::clone(&self.kernel), self.settings.device_wait);
        let work = async move {
            let found = find(&kernel, &request.wanted, request.path.clone(), wait).await?;
            blocking(move || stage(&*kernel, found, &request)).await
        };
        let what = format!("staging {volume}");
        within(deadline, &what, self.volumes.run::<_, StageError>(volume, work)).await
    }

    async fn publish(
        &self,
        message: csi::NodePublishVolumeRequest,
        deadline: Deadline,
    ) -> Result<(), RpcError> {
        let request = Publish::parse(&message)?;
        let volume = request.wanted.volume.clone();
        let (kernel, wait) = (Arc::clone(&self.kernel), self.settings.device_wait);
        let work = async move {
            let found = find(&kernel, &request.wanted, request.target.clone(), wait).await?;
            blocking(move || publish(&*kernel, found, &request)).await
        };
        let what = format!("publishing {volume}");
        within(deadline, &what, self.volumes.run::<_, PublishError>(volume, work)).await
    }

    async fn unmount(&self, request: Unmount, deadline: Deadline) -> Result<(), RpcError> {
        let kernel = Arc::clone(&self.kernel);
        let what = format!("unmounting {}", request.path.display());
        let volume = request.volume.clone();
        let work = blocking(move || unmount(&*kernel, &request));
        let deadline = quick(deadline);
        match volume {
            Ok(volume) => {
                within(deadline, &what, self.volumes.run::<_, UnmountError>(volume, work)).await
            }
            // Nothing is changed for a volume that cannot exist, so there is nothing to claim.
            Err(_no_volume) => within(deadline, &what, work).await,
        }
    }

    async fn expand(
        &self,
        message: csi::NodeExpandVolumeRequest,
        deadline: Deadline,
    ) -> Result<Bytes, RpcError> {
        let request = Expand::parse(&message)?;
        let volume = request.volume.clone();
        let (kernel, wait) = (Arc::clone(&self.kernel), self.settings.device_wait);
        let work = async move {
            let until = Instant::now() + wait;
            loop {
                let (kernel, request) = (Arc::clone(&kernel), request.clone());
                match blocking(move || expand(&*kernel, &request)).await {
                    Err(error) if error.may_pass() && Instant::now() < until => sleep(POLL).await,
                    result => return result,
                }
            }
        };
        let what = format!("expanding {volume}");
        within(deadline, &what, self.volumes.run::<_, ExpandError>(volume, work)).await
    }

    async fn stats(
        &self,
        message: csi::NodeGetVolumeStatsRequest,
        deadline: Deadline,
    ) -> Result<Vec<csi::VolumeUsage>, RpcError> {
        let request = Stats::parse(&message)?;
        let (kernel, path) = (Arc::clone(&self.kernel), request.path.clone());
        let what = format!("measuring {}", path.display());
        let work = blocking(move || stats(&*kernel, &request));
        within(quick(deadline), &what, self.measured.run(Measured(path), work)).await
    }
}

/// Looks for the disk until it is there, but no longer than `wait`.
async fn find<K: Kernel>(
    kernel: &Arc<K>,
    wanted: &Wanted,
    path: PathBuf,
    wait: Duration,
) -> Result<(Disk, K::Pin), FindError> {
    let until = Instant::now() + wait;
    let mut pause = POLL;
    loop {
        let (kernel, wanted, path) = (Arc::clone(kernel), wanted.clone(), path.clone());
        match blocking(move || observe::find(&*kernel, &wanted, &path)).await {
            Err(error) if error.may_pass() && Instant::now() < until => sleep(pause).await,
            result => return result,
        }
        pause = (pause * 2).min(LONGEST_POLL);
    }
}

/// Runs system calls that may block in a thread of their own. A panic there is one here.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let span = tracing::Span::current();
    match tokio::task::spawn_blocking(move || span.in_scope(work)).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime ends, and with it everybody who could wait.
            Err(_cancelled) => std::future::pending().await,
        },
    }
}

#[tonic::async_trait]
impl<K: Kernel> Node for EbsNode<K> {
    async fn node_stage_volume(
        &self,
        request: Request<csi::NodeStageVolumeRequest>,
    ) -> Result<Response<csi::NodeStageVolumeResponse>, Status> {
        let deadline = Deadline::of(&request);
        let message = request.into_inner();
        subject::volume(&message.volume_id);
        subject::path(&message.staging_target_path);
        self.stage(message, deadline).await?;
        Ok(Response::new(csi::NodeStageVolumeResponse {}))
    }

    async fn node_unstage_volume(
        &self,
        request: Request<csi::NodeUnstageVolumeRequest>,
    ) -> Result<Response<csi::NodeUnstageVolumeResponse>, Status> {
        let deadline = Deadline::of(&request);
        let message = request.into_inner();
        subject::volume(&message.volume_id);
        subject::path(&message.staging_target_path);
        let request = Unmount::unstage(&message).map_err(RpcError::from)?;
        self.unmount(request, deadline).await?;
        Ok(Response::new(csi::NodeUnstageVolumeResponse {}))
    }

    async fn node_publish_volume(
        &self,
        request: Request<csi::NodePublishVolumeRequest>,
    ) -> Result<Response<csi::NodePublishVolumeResponse>, Status> {
        let deadline = Deadline::of(&request);
        let message = request.into_inner();
        subject::volume(&message.volume_id);
        subject::path(&message.target_path);
        self.publish(message, deadline).await?;
        Ok(Response::new(csi::NodePublishVolumeResponse {}))
    }

    async fn node_unpublish_volume(
        &self,
        request: Request<csi::NodeUnpublishVolumeRequest>,
    ) -> Result<Response<csi::NodeUnpublishVolumeResponse>, Status> {
        let deadline = Deadline::of(&request);
        let message = request.into_inner();
        subject::volume(&message.volume_id);
        subject::path(&message.target_path);
        let request = Unmount::unpublish(&message).map_err(RpcError::from)?;
        self.unmount(request, deadline).await?;
        Ok(Response::new(csi::NodeUnpublishVolumeResponse {}))
    }

    async fn node_expand_volume(
        &self,
        request: Request<csi::NodeExpandVolumeRequest>,
    ) -> Result<Response<csi::NodeExpandVolumeResponse>, Status> {
        let deadline = Deadline::of(&request);
        let message = request.into_inner();
        subject::volume(&message.volume_id);
        subject::path(&message.volume_path);
        let size = self.expand(message, deadline).await?;
        Ok(Response::new(csi::NodeExpandVolumeResponse { capacity_bytes: size.to_csi() }))
    }

    async fn node_get_volume_stats(
        &self,
        request: Request<csi::NodeGetVolumeStatsRequest>,
    ) -> Result<Response<csi::NodeGetVolumeStatsResponse>, Status> {
        let deadline = Deadline::of(&request);
        let message = request.into_inner();
        subject::volume(&message.volume_id);
        subject::path(&message.volume_path);
        let usage = self.stats(message, deadline).await?;
        Ok(Response::new(csi::NodeGetVolumeStatsResponse { usage }))
    }

    async fn node_get_capabilities(
        &self,
        _request: Request<csi::NodeGetCapabilitiesRequest>,
    ) -> Result<Response<csi::NodeGetCapabilitiesResponse>, Status> {
        let capabilities = CAPABILITIES.map(capability).to_vec();
        Ok(Response::new(csi::NodeGetCapabilitiesResponse { capabilities }))
    }

    async fn node_get_info(
        &self,
        _request: Request<csi::NodeGetInfoRequest>,
    ) -> Result<Response<csi::NodeGetInfoResponse>, Status> {
        Ok(Response::new(self.info.answer().await))
    }
}
