//! Serving an identity.

use std::collections::BTreeSet;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::net::TcpListener;

use super::service::{Ports, Service};
use crate::control::{Ensure, Ensured, RefusalKind};
use crate::identity::{FileSystemId, Identity, InvalidIdentity};
use crate::passport::PassportError;
use crate::relay::{Port, bind};
use crate::state::StateError;
use crate::upstream;

/// Why an identity is not served.
#[derive(Debug, thiserror::Error)]
pub enum EnsureError {
    /// Its parts contradict each other.
    #[error("the identity is wrong")]
    Identity(#[source] InvalidIdentity),
    /// It cannot be shown to a mount target.
    #[error("the identity is wrong")]
    Passport(#[source] PassportError),
    /// As many identities are served as there may be connections.
    #[error(
        "{ports} identities are served already, and --max-connections allows no more; unmount some \
         volumes of this node or raise it together with the memory limit"
    )]
    Connections {
        /// How many are served.
        ports: usize,
    },
    /// All ports of the range are taken.
    #[error("no port from {first} to {last} is free; raise --port-range-upper-bound")]
    Range {
        /// The first port.
        first: u16,
        /// The last port.
        last: u16,
    },
    /// The wanted port belongs to another identity.
    #[error("port {port} serves {file_system} for another mount")]
    Taken {
        /// The port.
        port: u16,
        /// Whom it serves.
        file_system: FileSystemId,
    },
    /// The identity has a port, but not the wanted one.
    #[error("the identity has port {has} already, so it cannot have {wanted}")]
    Elsewhere {
        /// The port that it has.
        has: u16,
        /// The port that was wanted.
        wanted: u16,
    },
    /// The port cannot be had from the system.
    #[error("port {port} of 127.0.0.1 cannot be taken")]
    Bind {
        /// The port.
        port: u16,
        /// What the system said.
        source: io::Error,
    },
    /// The listener that came with the request is none of the wanted port.
    #[error("the listener that came with the request is not one of the wanted port")]
    Listener(#[source] io::Error),
    /// The supervisor does not take the listener.
    #[error("the supervisor does not take port {port}")]
    Hold {
        /// The port.
        port: u16,
        /// What the system said.
        source: io::Error,
    },
    /// It is not known which ports are free.
    #[error("the kernel's list of NFS servers cannot be read")]
    Kernel(#[source] io::Error),
    /// The port cannot be written down.
    #[error("the port cannot be recorded")]
    State(#[source] StateError),
}

impl EnsureError {
    pub(super) fn kind(&self) -> RefusalKind {
        match self {
            Self::Identity(_) | Self::Passport(_) | Self::Listener(_) | Self::Elsewhere { .. } => {
                RefusalKind::Invalid
            }
            Self::Connections { .. } | Self::Range { .. } => RefusalKind::Exhausted,
            Self::Taken { .. } => RefusalKind::Taken,
            Self::Bind { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
                RefusalKind::Taken
            }
            Self::Bind { .. } | Self::Hold { .. } | Self::Kernel(_) | Self::State(_) => {
                RefusalKind::Failed
            }
        }
    }
}

impl Service {
    /// Serves the identity; the port it has already stays.
    pub(super) async fn ensure(
        &self,
        wanted: Ensure,
        listener: Option<OwnedFd>,
    ) -> Result<Ensured, EnsureError> {
        let listener = listener.map(|listener| lent(listener, wanted.port)).transpose()?;
        wanted.identity.check().map_err(EnsureError::Identity)?;
        let mut ports = self.ports().await;
        let found = ports.values().find(|port| port.identity == wanted.identity).cloned();
        if let Some(port) = found {
            return self.again(&ports, &port, wanted, listener).await;
        }
        if ports.len() >= self.config.max_connections {
            return Err(EnsureError::Connections { ports: ports.len() });
        }
        let (number, listener) = self.take(&ports, &wanted, listener)?;
        let plant = Arc::clone(&self.plant);
        let port = Port::new(plant, number, wanted.identity, wanted.failover);
        let port = Arc::new(port.map_err(EnsureError::Passport)?);
        self.hold(number, &listener)
            .map_err(|source| EnsureError::Hold { port: number, source })?;
        ports.insert(number, Arc::clone(&port));
        if let Err(error) = self.save(&ports).await {
            ports.remove(&number);
            self.let_go(number);
            return Err(EnsureError::State(error));
        }
        port.open(listener);
        drop(ports);
        tracing::info!(port = number, file_system = %port.identity.file_system, "serving");
        Ok(Ensured { port: number, opened: true })
    }

    async fn again(
        &self,
        ports: &Ports,
        port: &Arc<Port>,
        wanted: Ensure,
        listener: Option<TcpListener>,
    ) -> Result<Ensured, EnsureError> {
        if let Some(number) = wanted.port.filter(|number| *number != port.number) {
            return Err(EnsureError::Elsewhere { has: port.number, wanted: number });
        }
        if let Some(listener) = listener.filter(|_| !port.is_bound()) {
            self.hold(port.number, &listener)
                .map_err(|source| EnsureError::Hold { port: port.number, source })?;
            port.open(listener);
        }
        if port.stand_by(wanted.failover) {
            self.save(ports).await.map_err(EnsureError::State)?;
        }
        Ok(Ensured { port: port.number, opened: false })
    }

    fn take(
        &self,
        ports: &Ports,
        wanted: &Ensure,
        listener: Option<TcpListener>,
    ) -> Result<(u16, TcpListener), EnsureError> {
        let bound = |port| {
            bind(port, self.plant.sockets).map_err(|source| EnsureError::Bind { port, source })
        };
        if let Some(port) = wanted.port {
            return match ports.get(&port) {
                Some(other) => Err(EnsureError::Taken {
                    port,
                    file_system: other.identity.file_system.clone(),
                }),
                None => Ok((port, listener.map_or_else(|| bound(port), Ok)?)),
            };
        }
        let (first, end) = (self.config.first_port, self.config.end_port);
        let mut barred = self.used_by_kernel().map_err(EnsureError::Kernel)?;
        barred.extend(self.recorded_by_others());
        for port in candidates(first, end, &wanted.identity) {
            if ports.contains_key(&port) || barred.contains(&port) {
                continue;
            }
            match bound(port) {
                Ok(listener) => return Ok((port, listener)),
                Err(EnsureError::Bind { source, .. })
                    if source.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(error),
            }
        }
        Err(EnsureError::Range { first, last: end.saturating_sub(1) })
    }

    /// Ports for which efs-utils keeps a state file, whose name ends with the port.
    fn recorded_by_others(&self) -> BTreeSet<u16> {
        let Ok(files) = fs::read_dir(&self.config.state_folder) else {
            return BTreeSet::new();
        };
        files.flatten().filter_map(|file| upstream::port(file.file_name().to_str()?)).collect()
    }
}

/// A listener that came with the request. A mount would hang on one that is not what it is said to
/// be.
fn lent(listener: OwnedFd, wanted: Option<u16>) -> Result<TcpListener, EnsureError> {
    let listener = std::net::TcpListener::from(listener);
    let address = listener.local_addr().map_err(EnsureError::Listener)?;
    if !address.ip().is_loopback() || Some(address.port()) != wanted {
        return Err(EnsureError::Listener(io::Error::from(io::ErrorKind::AddrNotAvailable)));
    }
    listener.set_nonblocking(true).map_err(EnsureError::Listener)?;
    TcpListener::from_std(listener).map_err(EnsureError::Listener)
}

/// Every port of the range, beginning at a place that the identity determines: a mount that comes
/// back tends to its old port, and one that has just been closed rests.
fn candidates(first: u16, end: u16, identity: &Identity) -> impl Iterator<Item = u16> {
    let count = u64::from(end.saturating_sub(first)).max(1);
    let mut hasher = DefaultHasher::new();
    identity.hash(&mut hasher);
    let begin = hasher.finish() % count;
    (0..count)
        .filter_map(move |step| {
            u16::try_from((begin + step) % count).ok().and_then(|offset| first.checked_add(offset))
        })
        .filter(move |port| *port < end)
}
