//! What the node needs of Kubernetes: its own object, its start-up taint, and at the end who still
//! holds its volumes.

use std::path::Path;

use kube::Client;
use kube::config::{Config, InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError};

pub mod drain;
pub mod taint;

/// Why there is no way to the API server.
#[derive(Debug, thiserror::Error)]
pub enum NoCluster {
    /// The process is not in a pod with a service account, and no kubeconfig is given.
    #[error("no access to the API server: no service account")]
    NoAccount(#[source] InClusterError),
    /// The kubeconfig is of no use.
    #[error("no access to the API server: kubeconfig {path}")]
    BadKubeconfig {
        /// Its path.
        path: String,
        /// What is wrong.
        source: Box<KubeconfigError>,
    },
    /// The configuration allows no client: a certificate that cannot be read, for instance.
    #[error("no access to the API server")]
    NoClient(#[source] Box<kube::Error>),
}

/// A client by the pod's service account, or by the kubeconfig at `path`.
///
/// # Errors
/// [`NoCluster`]. The API server is not asked yet.
pub async fn client(path: Option<&Path>) -> Result<Client, NoCluster> {
    let config = match path {
        None => Config::incluster().map_err(NoCluster::NoAccount)?,
        Some(path) => from_kubeconfig(path).await?,
    };
    Client::try_from(config).map_err(|source| NoCluster::NoClient(Box::new(source)))
}

async fn from_kubeconfig(path: &Path) -> Result<Config, NoCluster> {
    let bad = |source| NoCluster::BadKubeconfig {
        path: path.display().to_string(),
        source: Box::new(source),
    };
    let kubeconfig = Kubeconfig::read_from(path).map_err(bad)?;
    Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.map_err(bad)
}

/// The HTTP status of an answer that is an error of the API server.
fn status(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}
