//! What a mount target relays to.

use std::net::SocketAddr;
use std::sync::Arc;

use super::TargetError;
use super::check::Client;
use super::servers::{Hold, Servers};

/// The server behind a mount target.
#[derive(Debug, Clone)]
pub enum Backend {
    /// Any TCP server, for tests without NFS.
    Address(SocketAddr),
    /// NFS servers, one for each access point.
    Nfs(Arc<Servers>),
}

/// A server that runs for as long as this is held.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) address: SocketAddr,
    _hold: Option<Hold>,
}

impl Backend {
    /// The server for a client.
    pub(super) async fn server(
        &self,
        file_system: &str,
        client: &Client,
    ) -> Result<Lease, TargetError> {
        match self {
            Self::Address(address) => Ok(Lease { address: *address, _hold: None }),
            Self::Nfs(servers) => {
                let hold = servers.hold(file_system, client).await?;
                Ok(Lease { address: hold.address, _hold: Some(hold) })
            }
        }
    }
}
