//! The Node service: each call parses, joins or starts the work on its target, and waits for it
//! until its deadline. Work that is given up goes on, and the next call finds it.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use csi_core::efs::VolumeHandle;
use csi_core::rpc_error::{Chain, GrpcCode, RpcError};
use csi_proto::csi;
use csi_proto::csi::node_server::{Node, NodeServer};
use csi_proto::csi::node_service_capability::rpc::Type as RpcType;
use csi_serve::{Deadline, Readiness, subject};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status};
use tracing::warn;

use super::info::Info;
use super::joint::Joint;
use super::ports::{PortError, Ports, Reconciled, Tunnel};
use super::publish::{Means, MountSettings, PublishError, publish};
use super::queue::Queue;
use super::request::{Publish, Stats, Unpublish};
use super::route::Route;
use super::stats::{StatsError, answer, stats};
use super::unpublish::{UnpublishError, unpublish};
use crate::capability::capability;
use crate::kernel::Usage;
use crate::kernel::nfs::Nfs;
use crate::patience::{TooLate, quick, within};

/// What the node can do. `VOLUME_MOUNT_GROUP` is not among it and must never be: kubelet would stop
/// applying fsGroup, and NFS has no option for it.
pub const CAPABILITIES: [RpcType; 1] = [RpcType::GetVolumeStats];

/// Pauses between two rounds of reconciliation: while something is left to do, and else.
const SOON: Duration = Duration::from_secs(1);
const LATER: Duration = Duration::from_secs(15);
/// While the tunnel is away, whose asking takes its own time: pods wait for what it is asked then.
const AWAY: Duration = Duration::from_millis(100);
/// What an unpublication leaves of its caller's time to detach what does not unmount.
const DETACH_MARGIN: Duration = Duration::from_secs(2);
/// How long the tunnel is asked what is wrong, at the end of a caller's time.
const EXPLAIN: Duration = Duration::from_millis(200);

/// How the service works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How mounts are made.
    pub mount: MountSettings,
    /// How long an unmount may take before it is detached.
    pub unmount_timeout: Duration,
    /// Mounts at once beyond which calls are turned away; none lets them wait.
    pub mount_limit: Option<usize>,
}

/// The Node service for EFS. Clones are the same service.
#[derive(Debug)]
pub struct EfsNode<K, T>(Arc<Shared<K, T>>);

impl<K, T> Clone for EfsNode<K, T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

#[derive(Debug)]
struct Shared<K, T> {
    kernel: K,
    ports: Ports<T>,
    info: Info,
    settings: Settings,
    queue: Queue,
    targets: Joint<Target, Work, (), WorkError>,
    measured: Joint<Target, VolumeHandle, Usage, StatsError>,
    served: AtomicBool,
    look: Notify,
}

/// A path that work is done on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Target(PathBuf);

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

/// What is done to a target. Equal work is joined.
#[derive(Debug, PartialEq, Eq)]
enum Work {
    Publish(Box<Publish>),
    Unpublish,
}

/// Why work on a target failed.
#[derive(Debug, thiserror::Error)]
enum WorkError {
    #[error(transparent)]
    Publish(#[from] PublishError),
    #[error(transparent)]
    Unpublish(#[from] UnpublishError),
}

impl GrpcCode for WorkError {
    fn code(&self) -> Code {
        match self {
            Self::Publish(error) => error.code(),
            Self::Unpublish(error) => error.code(),
        }
    }
}

impl<K: Nfs, T: Tunnel> EfsNode<K, T> {
    /// A service on this kernel, with these ports.
    #[must_use]
    pub fn new(kernel: K, ports: Ports<T>, info: Info, settings: Settings) -> Self {
        Self(Arc::new(Shared {
            kernel,
            ports,
            info,
            settings,
            queue: Queue::new(settings.mount_limit),
            targets: Joint::default(),
            measured: Joint::default(),
            served: AtomicBool::new(false),
            look: Notify::new(),
        }))
    }

    /// The service, for `Routes`.
    #[must_use]
    pub fn into_service(self) -> NodeServer<Self> {
        NodeServer::new(self)
    }

    /// Waits until no work on a target is left.
    pub async fn drain(&self) {
        self.0.targets.drain().await;
    }

    /// Ready while the tunnel serves every mount of this node, so that an upgrade stops at the first
    /// node where it does not.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        if self.0.served.load(Ordering::Relaxed) { Readiness::Ready } else { Readiness::Starting }
    }

    /// Compares mounts and ports again and again, until `stop`.
    pub async fn keep_reconciled(&self, stop: CancellationToken) {
        let mut told = false;
        loop {
            let pause = match self.reconcile().await {
                Ok(done) => {
                    told = false;
                    if done.missing.is_empty() && done.lingering.is_empty() { LATER } else { SOON }
                }
                Err(error) => {
                    if !told {
                        warn!(error = %Chain(&error), "mounts and ports are not compared");
                    }
                    told = true;
                    AWAY
                }
            };
            tokio::select! {
                () = sleep(pause) => {}
                () = self.0.look.notified() => {}
                () = self.0.ports.tunnel_gone() => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// One round.
    ///
    /// # Errors
    /// [`PortError`].
    pub async fn reconcile(&self) -> Result<Reconciled, PortError> {
        let result = self.0.ports.reconcile(&self.0.kernel).await;
        let served = result.as_ref().is_ok_and(|done| done.missing.is_empty());
        self.0.served.store(served, Ordering::Relaxed);
        result
    }

    async fn publish(&self, request: Publish, deadline: Deadline) -> Result<(), RpcError> {
        let started = Instant::now();
        let here = self.0.info.here(request.context.cross_account).await;
        let route = Route::new(&request.handle, &request.context, &request.helper, &here)?;
        let (key, what) = (Target(request.target.clone()), Box::new(request.clone()));
        let (shared, identity) = (Arc::clone(&self.0), route.identity.clone());
        let work = |stop| async move {
            let means = Means {
                kernel: &shared.kernel,
                ports: &shared.ports,
                queue: &shared.queue,
                settings: shared.settings.mount,
            };
            publish(&means, &request, &route, stop).await?;
            shared.look.notify_one();
            Ok(())
        };
        let run = self.0.targets.run(key, Work::Publish(what), work);
        match timeout_at(deadline.instant(), run).await {
            Ok(result) => Ok(result?),
            Err(_elapsed) => {
                let trouble = timeout(EXPLAIN, self.0.ports.trouble(&identity)).await;
                let trouble = trouble.ok().flatten().map(|text| format!(" (the tunnel: {text})"));
                let what =
                    format!("mounting {}{}", identity.file_system, trouble.unwrap_or_default());
                Err(TooLate::new(what, started).into())
            }
        }
    }

    async fn unpublish(&self, request: Unpublish, deadline: Deadline) -> Result<(), RpcError> {
        let deadline = quick_unless_longer(deadline, self.0.settings.unmount_timeout);
        let left = deadline.remaining().saturating_sub(DETACH_MARGIN);
        let patience = self.0.settings.unmount_timeout.min(left).max(Duration::from_millis(100));
        let target = request.target;
        let what = format!("unmounting {}", target.display());
        let (key, shared) = (Target(target.clone()), Arc::clone(&self.0));
        let work = |_stop| async move {
            unpublish(&shared.kernel, &shared.ports, &target, patience).await?;
            shared.look.notify_one();
            Ok(())
        };
        within(deadline, &what, self.0.targets.run(key, Work::Unpublish, work)).await
    }

    async fn stats(
        &self,
        request: Stats,
        deadline: Deadline,
    ) -> Result<Vec<csi::VolumeUsage>, RpcError> {
        let Stats { handle, path } = request;
        let what = format!("measuring {}", path.display());
        let (key, shared, volume) = (Target(path.clone()), Arc::clone(&self.0), handle.clone());
        let work =
            |_stop| async move { stats(&shared.kernel, &shared.ports, &volume, &path).await };
        let run = self.0.measured.run(key, handle, work);
        Ok(answer(within(quick(deadline), &what, run).await?))
    }
}

/// The caller's deadline, but no longer than an unmount and its detaching take.
fn quick_unless_longer(deadline: Deadline, unmount_timeout: Duration) -> Deadline {
    let longest = unmount_timeout + 4 * DETACH_MARGIN;
    if deadline.remaining() > longest { Deadline::after(longest) } else { deadline }
}

#[tonic::async_trait]
impl<K: Nfs, T: Tunnel> Node for EfsNode<K, T> {
    async fn node_publish_volume(
        &self,
        request: Request<csi::NodePublishVolumeRequest>,
    ) -> Result<Response<csi::NodePublishVolumeResponse>, Status> {
        let deadline = Deadline::of(&request);
        let message = request.into_inner();
        subject::volume(&message.volume_id);
        subject::path(&message.target_path);
        let request = Publish::parse(&message).map_err(RpcError::from)?;
        self.publish(request, deadline).await?;
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
        let request = Unpublish::parse(&message).map_err(RpcError::from)?;
        self.unpublish(request, deadline).await?;
        Ok(Response::new(csi::NodeUnpublishVolumeResponse {}))
    }

    async fn node_get_volume_stats(
        &self,
        request: Request<csi::NodeGetVolumeStatsRequest>,
    ) -> Result<Response<csi::NodeGetVolumeStatsResponse>, Status> {
        let deadline = Deadline::of(&request);
        let message = request.into_inner();
        subject::volume(&message.volume_id);
        subject::path(&message.volume_path);
        let request = Stats::parse(&message).map_err(RpcError::from)?;
        let usage = self.stats(request, deadline).await?;
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
        Ok(Response::new(self.0.info.answer()))
    }
}
