//! Asks a plugin, through its own socket, whether it serves. What kubelet's liveness probe needs to
//! know is whether the socket still leads to a plugin that answers, so nothing less is asked.

use std::time::Duration;

use csi_proto::csi::ProbeRequest;
use csi_proto::csi::identity_client::IdentityClient;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tonic::transport::{Channel, Uri};
use tonic::{Code, Status};
use tower::service_fn;

use crate::endpoint::Endpoint;

/// kubelet's probes give up after one to five seconds.
const PATIENCE: Duration = Duration::from_secs(2);

/// Why a plugin does not count as healthy.
#[derive(Debug, thiserror::Error)]
pub enum Unhealthy {
    /// Nobody accepts connections.
    #[error("no plugin answers at {endpoint}")]
    Unreachable {
        /// Where it should.
        endpoint: Endpoint,
        /// What the connection failed with.
        source: tonic::transport::Error,
    },
    /// The probe was answered with an error.
    #[error("the plugin at {endpoint} says {code:?}: {message}")]
    Failed {
        /// Where it listens.
        endpoint: Endpoint,
        /// Its code.
        code: Code,
        /// Its words.
        message: String,
    },
    /// The probe was not answered in time.
    #[error("the plugin at {endpoint} has not answered for {} s", PATIENCE.as_secs())]
    Silent {
        /// Where it listens.
        endpoint: Endpoint,
    },
}

/// Probes the plugin at `endpoint`; `Ok(false)` means that it is still starting.
///
/// # Errors
/// [`Unhealthy`], within two seconds.
pub async fn probe(endpoint: &Endpoint) -> Result<bool, Unhealthy> {
    let probe = async {
        let channel = connect(endpoint)
            .await
            .map_err(|source| Unhealthy::Unreachable { endpoint: endpoint.clone(), source })?;
        let answer = IdentityClient::new(channel).probe(ProbeRequest {}).await;
        answer.map_err(|status: Status| Unhealthy::Failed {
            endpoint: endpoint.clone(),
            code: status.code(),
            message: status.message().to_owned(),
        })
    };
    match timeout(PATIENCE, probe).await {
        // Absent counts as ready (CSI specification, `ProbeResponse.ready`).
        Ok(answer) => Ok(answer?.into_inner().ready.unwrap_or(true)),
        Err(_elapsed) => Err(Unhealthy::Silent { endpoint: endpoint.clone() }),
    }
}

/// A client's channel to a plugin.
///
/// # Errors
/// If nobody accepts the connection.
pub async fn connect(endpoint: &Endpoint) -> Result<Channel, tonic::transport::Error> {
    // The URI only fills the `:authority` of requests.
    let channel = tonic::transport::Endpoint::from_static("http://localhost");
    match endpoint.clone() {
        Endpoint::Unix(path) => {
            let dial = service_fn(move |_: Uri| {
                let path = path.clone();
                async move { UnixStream::connect(path).await.map(TokioIo::new) }
            });
            channel.connect_with_connector(dial).await
        }
        Endpoint::Tcp(address) => {
            let dial = service_fn(move |_: Uri| async move {
                TcpStream::connect(address).await.map(TokioIo::new)
            });
            channel.connect_with_connector(dial).await
        }
    }
}
