//! Puts the parts together.

use csi_core::{Chain, EBS_DRIVER_NAME, EBS_EXPANSION, EBS_SERVICES};
use csi_node::args::{Args, BadFlags, Command, EbsArgs, HookArgs};
use csi_node::cluster::drain::{Drain, Drained, Undrained};
use csi_node::cluster::taint::{EBS_TAINT, StartupTaint};
use csi_node::cluster::{self, NoCluster};
use csi_node::ebs::EbsNode;
use csi_node::ebs::info::InfoSource;
use csi_node::kernel::linux::Linux;
use csi_node::metadata::{MetadataError, SourceSettings, Sources};
use csi_node::registration::{self, Plugin};
use csi_serve::{Identity, Metrics, ServeError, Server, shutdown};
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
async fn watch_taint(settings: &SourceSettings, stop: CancellationToken) {
    let Some(node) = settings.node_name.clone() else { return };
    match cluster::client(settings.kubeconfig.as_deref()).await {
        Ok(client) => {
            let taint = StartupTaint { node, driver: EBS_DRIVER_NAME, key: EBS_TAINT };
            tokio::spawn(async move {
                stop.run_until_cancelled(Box::pin(taint.keep_away(client))).await
            });
        }
        Err(error) => info!(reason = %Chain(&error), "start-up taints are not watched"),
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
    let registration = args.registration.kubelet_registration_path.map(|endpoint| {
        let socket = args.registration.registration_socket;
        let plugin = Plugin { name: EBS_DRIVER_NAME, endpoint, socket };
        tokio::spawn(registration::offer(plugin, stop.clone()))
    });
    if !args.disable_taint_watcher {
        watch_taint(&settings, stop.clone()).await;
    }
    server.run(stop, async move { operations.drain().await }).await?;
    if let Some(task) = registration {
        // It ends by the same signal; a panic in it is in the log.
        let _ = task.await;
    }
    Ok(())
}
