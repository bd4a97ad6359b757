//! Puts the parts together.

use csi_aws::{Config, ConnectError, Ec2};
use csi_controller::args::{AwsArgs, EbsArgs};
use csi_controller::ebs::{EbsController, Settings};
use csi_core::{Chain, EBS_DRIVER_NAME, EBS_EXPANSION, EBS_SERVICES};
use csi_imds::ImdsError;
use csi_proto::csi::controller_server::ControllerServer;
use csi_proto::modify::modify_server::ModifyServer;
use csi_serve::{Identity, Metrics, ServeError, Server, shutdown};
use tonic::service::Routes;
use tracing::error;

/// Why the plugin does not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AppError {
    /// Nobody knows the region.
    #[error("no region: set AWS_REGION, or let the instance metadata service be reached")]
    Region(#[source] Option<ImdsError>),
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

/// Runs the plugin until it is asked to end.
pub(crate) async fn run_ebs(args: EbsArgs, settings: Settings) -> Result<(), AppError> {
    let stop = shutdown::on_signal()?;
    let metrics = Metrics::new("aws_ebs_csi");
    let config = aws_config(&args.aws).await?;
    let ec2 = metrics.register(|registry| Ec2::connect(&config, registry))?;
    tokio::spawn(say_broken_link(ec2.clone()));
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

async fn aws_config(args: &AwsArgs) -> Result<Config, AppError> {
    let region = match &args.region {
        Some(region) => region.clone(),
        None if args.imds_disabled => return Err(AppError::Region(None)),
        None => {
            let facts = csi_imds::fetch(&args.imds_endpoint).await;
            facts.map_err(|error| AppError::Region(Some(error)))?.region
        }
    };
    Ok(Config {
        region,
        endpoint: args.ec2_endpoint.clone().filter(|url| !url.is_empty()),
        user_agent_extra: args.user_agent_extra.clone(),
        rates: args.ec2_rate.clone(),
    })
}

/// Says at once which link of the credential chain is broken, instead of with the first claim.
async fn say_broken_link(ec2: Ec2) {
    if let Err(error) = ec2.check_credentials().await {
        error!(error = %Chain(&error), "no AWS credentials; every call will fail until this is mended");
    }
}
