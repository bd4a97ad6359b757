//! Puts the parts together.

use csi_aws::{Config, ConnectError, CredentialsError, Ec2, Efs};
use csi_controller::args::{AwsArgs, EbsArgs, EfsArgs, EfsAwsArgs};
use csi_controller::ebs::{self, EbsController};
use csi_controller::efs::{self, EfsController, Wholes};
use csi_core::efs as efs_port;
use csi_core::{
    Chain, EBS_DRIVER_NAME, EBS_EXPANSION, EBS_SERVICES, EFS_DRIVER_NAME, EFS_SERVICES, Invalid,
};
use csi_imds::{ImdsEndpoint, ImdsError};
use csi_proto::csi::controller_server::ControllerServer;
use csi_proto::modify::modify_server::ModifyServer;
use csi_serve::{Identity, Metrics, ServeError, Server, shutdown};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tracing::{error, info};

/// Why the plugin does not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AppError {
    /// Nobody knows the region.
    #[error("no region: set AWS_REGION, or let the instance metadata service be reached")]
    Region(#[source] Option<ImdsError>),
    /// An argument breaks a rule that depends on others.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The settings for AWS are wrong.
    #[error("cannot use AWS")]
    Connect(#[from] ConnectError),
    /// The system refuses signal handlers.
    #[error("cannot wait for signals")]
    Signals(#[from] std::io::Error),
    /// It cannot serve.
    #[error("cannot serve")]
    Serve(#[from] ServeError),
}

/// Runs the EBS plugin until it is asked to end.
pub(crate) async fn run_ebs(args: EbsArgs, settings: ebs::Settings) -> Result<(), AppError> {
    let stop = shutdown::on_signal()?;
    let metrics = Metrics::new("aws_ebs_csi");
    let config = aws_config(&args.aws).await?;
    let ec2 = metrics.register(|registry| Ec2::connect(&config, registry))?;
    tokio::spawn({
        let ec2 = ec2.clone();
        async move { say_broken_link(ec2.check_credentials().await) }
    });
    let controller = EbsController::new(ec2, settings);
    let identity =
        Identity::new(EBS_DRIVER_NAME, env!("CARGO_PKG_VERSION"), &EBS_SERVICES, &EBS_EXPANSION);
    let routes = Routes::new(identity.into_service())
        .add_service(ControllerServer::new(controller.clone()))
        .add_service(ModifyServer::new(controller.clone()));
    let server = Server::new(&args.serve, metrics, routes);
    server.run(stop, async move { controller.drain().await }).await?;
    Ok(())
}

/// Runs the EFS plugin until it is asked to end.
pub(crate) async fn run_efs(args: EfsArgs, settings: efs::Settings) -> Result<(), AppError> {
    let stop = shutdown::on_signal()?;
    for flag in args.without_effect() {
        info!(flag, "this flag has no effect on the controller");
    }
    let metrics = Metrics::new("aws_efs_csi");
    let config = efs_config(&args.aws).await?;
    let efs = metrics.register(|registry| Efs::connect(&config, registry))?;
    tokio::spawn({
        let efs = efs.clone();
        async move { say_broken_link(efs.check_credentials().await) }
    });
    let controller = EfsController::new(efs, settings);
    match args.wholes(&config.region)? {
        Some(wholes) => {
            info!("directories of deleted volumes are deleted");
            serve_efs(&args, metrics, controller.deleting_directories(wholes), stop).await
        }
        None => serve_efs(&args, metrics, controller, stop).await,
    }
}

async fn serve_efs<C: efs_port::Efs, W: Wholes>(
    args: &EfsArgs,
    metrics: Metrics,
    controller: EfsController<C, W>,
    stop: CancellationToken,
) -> Result<(), AppError> {
    let identity = Identity::new(EFS_DRIVER_NAME, env!("CARGO_PKG_VERSION"), &EFS_SERVICES, &[]);
    let routes =
        Routes::new(identity.into_service()).add_service(ControllerServer::new(controller.clone()));
    let server = Server::new(&args.serve, metrics, routes);
    server.run(stop, async move { controller.drain().await }).await?;
    Ok(())
}

/// The region that is named, or the instance's own.
async fn region(
    named: Option<&String>,
    imds: &ImdsEndpoint,
    imds_disabled: bool,
) -> Result<String, AppError> {
    match named.filter(|region| !region.is_empty()) {
        Some(region) => Ok(region.clone()),
        None if imds_disabled => Err(AppError::Region(None)),
        None => {
            let facts = csi_imds::fetch(imds).await;
            Ok(facts.map_err(|error| AppError::Region(Some(error)))?.region)
        }
    }
}

async fn efs_config(args: &EfsAwsArgs) -> Result<Config, AppError> {
    let named = args.region.as_ref().or(args.default_region.as_ref());
    Ok(Config {
        region: region(named, &args.imds_endpoint, args.imds_disabled).await?,
        endpoint: args.efs_endpoint.clone().filter(|url| !url.is_empty()),
        user_agent_extra: args.user_agent_extra.clone(),
        rates: Vec::new(),
    })
}

async fn aws_config(args: &AwsArgs) -> Result<Config, AppError> {
    Ok(Config {
        region: region(args.region.as_ref(), &args.imds_endpoint, args.imds_disabled).await?,
        endpoint: args.ec2_endpoint.clone().filter(|url| !url.is_empty()),
        user_agent_extra: args.user_agent_extra.clone(),
        rates: args.ec2_rate.clone(),
    })
}

/// Says at once which link of the credential chain is broken, instead of with the first claim.
fn say_broken_link(checked: Result<(), CredentialsError>) {
    if let Err(error) = checked {
        error!(error = %Chain(&error), "no AWS credentials; every call will fail until this is mended");
    }
}
