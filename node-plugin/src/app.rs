//! Puts the parts together.

use csi_core::{
    Chain, EBS_DRIVER_NAME, EBS_EXPANSION, EBS_SERVICES, EFS_DRIVER_NAME, EFS_SERVICES,
};
use csi_node::args::{
    Args, BadFlags, Command, EbsArgs, EfsArgs, HookArgs, RegistrationArgs, TunnelArgs,
};
use csi_node::cluster::drain::{Drain, Drained, Undrained};
use csi_node::cluster::taint::{EBS_TAINT, EFS_TAINT, StartupTaint};
use csi_node::cluster::{self, NoCluster};
use csi_node::ebs::EbsNode;
use csi_node::ebs::info::InfoSource;
use csi_node::efs::EfsNode;
use csi_node::efs::info::Info;
use csi_node::efs::ports::Ports;
use csi_node::efs::records::{RecordError, Records};
use csi_node::efs::rollback::Rollback;
use csi_node::kernel::linux::Linux;
use csi_node::metadata::{MetadataError, SourceSettings, Sources};
use csi_node::registration::{self, Plugin};
use csi_serve::{Identity, Metrics, ServeError, Server, shutdown};
use efs_tunnel::control::Client;
use std::path::PathBuf;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tracing::info;

/// Why the plugin does not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AppError {
    /// The command line contradicts itself.
    #[error("bad flags")]
    Flags(#[from] BadFlags),
    /// The node does not know which instance it is.
    #[error("cannot start")]
    Metadata(#[from] MetadataError),
    /// What was asked of the tunnel earlier cannot be read.
    #[error("cannot start")]
    Records(#[from] RecordError),
    /// There is no Kubernetes to ask.
    #[error("cannot look at the node")]
    NoCluster(#[from] NoCluster),
    /// The node's volumes are not detached.
    #[error("gave up waiting")]
    Undrained(#[from] Undrained),
    /// The system refuses signal handlers.
    #[error("cannot wait for signals")]
    Signals(#[from] std::io::Error),
    /// It cannot serve.
    #[error("cannot serve")]
    Serve(#[from] ServeError),
}

/// Runs the plugin until it is asked to end.
pub(crate) async fn run(args: Args) -> Result<(), AppError> {
    match args.command {
        Command::Ebs(args) => run_ebs(*args).await,
        Command::Efs(args) => run_efs(*args).await,
        Command::PreStopHook(args) => wait_until_drained(args).await,
    }
}

async fn wait_until_drained(args: HookArgs) -> Result<(), AppError> {
    let client = cluster::client(args.kubeconfig.as_deref()).await?;
    let drain = Drain { node: args.node_name, driver: args.driver_name };
    match drain.wait(client, args.budget).await? {
        Drained::NodeStays => info!(node = drain.node, "the node stays; nothing to wait for"),
        Drained::Clear => info!(node = drain.node, "no volume is attached"),
    }
    Ok(())
}

/// Begins to take the start-up taint away, if the plugin knows its node and may be in a cluster.
/// `taint` is without the node's name.
async fn watch_taint(settings: &SourceSettings, taint: StartupTaint, stop: CancellationToken) {
    let Some(node) = settings.node_name.clone() else { return };
    match cluster::client(settings.kubeconfig.as_deref()).await {
        Ok(client) => {
            let taint = StartupTaint { node, ..taint };
            tokio::spawn(async move {
                stop.run_until_cancelled(Box::pin(taint.keep_away(client))).await
            });
        }
        Err(error) => info!(reason = %Chain(&error), "start-up taints are not watched"),
    }
}

/// Begins to offer the plugin to kubelet, if it is to be registered.
fn register(
    name: &'static str,
    endpoint: Option<String>,
    socket: PathBuf,
    stop: &CancellationToken,
) -> Option<JoinHandle<()>> {
    let plugin = Plugin { name, endpoint: endpoint?, socket };
    Some(tokio::spawn(registration::offer(plugin, stop.clone())))
}

/// Waits for tasks that end by the same signal; a panic in one is in the log.
async fn finish(tasks: impl IntoIterator<Item = JoinHandle<()>>) {
    for task in tasks {
        let _ = task.await;
    }
}

async fn run_ebs(args: EbsArgs) -> Result<(), AppError> {
    let stop = shutdown::on_signal()?;
    let limits = args.limit_flags()?;
    let settings = args.sources();
    let info = InfoSource::start(Sources::new(settings.clone()), limits).await?;
    let (sysfs, dev) = args.roots();
    let node = EbsNode::new(Linux::new(sysfs, dev), info, args.settings());
    let operations = node.operations();
    let identity =
        Identity::new(EBS_DRIVER_NAME, env!("CARGO_PKG_VERSION"), &EBS_SERVICES, &EBS_EXPANSION);
    let routes = Routes::new(identity.into_service()).add_service(node.into_service());
    let server = Server::new(&args.serve, Metrics::new("aws_ebs_csi"), routes);
    let RegistrationArgs { kubelet_registration_path, registration_socket } = args.registration;
    let registration =
        register(EBS_DRIVER_NAME, kubelet_registration_path, registration_socket, &stop);
    if !args.disable_taint_watcher {
        let taint = StartupTaint {
            node: String::new(),
            driver: EBS_DRIVER_NAME,
            key: EBS_TAINT,
            limited: true,
        };
        watch_taint(&settings, taint, stop.clone()).await;
    }
    server.run(stop, async move { operations.drain().await }).await?;
    finish(registration).await;
    Ok(())
}

async fn run_efs(args: EfsArgs) -> Result<(), AppError> {
    let stop = shutdown::on_signal()?;
    let (sources, settings) = (args.sources(), args.settings()?);
    let limit = args.volume_limit()?;
    for given in args.without_effect() {
        info!(given, "accepted, without effect");
    }
    let info = Info::start(Sources::new(sources.clone()), args.names(), limit).await?;
    let records = Records::open(args.tunnel.state_dir.clone())?;
    let TunnelArgs { tunnel_socket, rollback_dir, kubelet_dir, .. } = args.tunnel.clone();
    let ports =
        Ports::new(Client::new(tunnel_socket), records, Rollback::new(rollback_dir, kubelet_dir));
    // Device nodes are not looked for.
    let kernel = Linux::new(args.sysfs(), PathBuf::new());
    let node = EfsNode::new(kernel, ports, info, settings);
    let ready = node.clone();
    let identity = Identity::new(EFS_DRIVER_NAME, env!("CARGO_PKG_VERSION"), &EFS_SERVICES, &[])
        .with_readiness(move || ready.readiness());
    let routes = Routes::new(identity.into_service()).add_service(node.clone().into_service());
    let server = Server::new(&args.serve, Metrics::new("aws_efs_csi"), routes);
    let (own, ended) = (node.clone(), stop.clone());
    let reconciler = tokio::spawn(async move { own.keep_reconciled(ended).await });
    let registration =
        register(EFS_DRIVER_NAME, args.kubelet_registration_path, args.registration_socket, &stop);
    if !args.disable_taint_watcher {
        let taint = StartupTaint {
            node: String::new(),
            driver: EFS_DRIVER_NAME,
            key: EFS_TAINT,
            limited: limit > 0,
        };
        watch_taint(&sources, taint, stop.clone()).await;
    }
    server.run(stop, async move { node.drain().await }).await?;
    finish(registration.into_iter().chain([reconciler])).await;
    Ok(())
}
