//! Puts the parts together.

use csi_core::{EBS_DRIVER_NAME, EBS_EXPANSION, EBS_SERVICES};
use csi_node::args::{Args, BadFlags, Driver, EbsArgs};
use csi_node::ebs::EbsNode;
use csi_node::ebs::info::InfoSource;
use csi_node::kernel::linux::Linux;
use csi_node::metadata::{MetadataError, Sources};
use csi_node::registration::{self, Plugin};
use csi_serve::{Identity, Metrics, ServeError, Server, shutdown};
use tonic::service::Routes;

/// Why the plugin does not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AppError {
    /// The command line contradicts itself.
    #[error("bad flags")]
    Flags(#[from] BadFlags),
    /// The node does not know which instance it is.
    #[error("cannot start")]
    Metadata(#[from] MetadataError),
    /// The system refuses signal handlers.
    #[error("cannot wait for signals")]
    Signals(#[from] std::io::Error),
    /// It cannot serve.
    #[error("cannot serve")]
    Serve(#[from] ServeError),
}

/// Runs the plugin until it is asked to end.
pub(crate) async fn run(args: Args) -> Result<(), AppError> {
    match args.driver {
        Driver::Ebs(args) => run_ebs(*args).await,
    }
}

async fn run_ebs(args: EbsArgs) -> Result<(), AppError> {
    let stop = shutdown::on_signal()?;
    let limits = args.limit_flags()?;
    let info = InfoSource::start(Sources::new(args.sources()), limits).await?;
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
    server.run(stop, async move { operations.drain().await }).await?;
    if let Some(task) = registration {
        // It ends by the same signal; a panic in it is in the log.
        let _ = task.await;
    }
    Ok(())
}
