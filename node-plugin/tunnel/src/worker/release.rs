//! Closing a port.

use std::io;

use super::service::Service;
use crate::control::RefusalKind;
use crate::state::StateError;

/// Why a port is not closed.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// The kernel's NFS client knows the port, so closing it would hang whoever uses the mount.
    #[error("the kernel's NFS client still uses port {port}; unmount first, then try again")]
    InUse {
        /// The port.
        port: u16,
    },
    /// It is not known whether the kernel uses it.
    #[error("the kernel's list of NFS servers cannot be read")]
    Kernel(#[source] io::Error),
    /// The change cannot be written down.
    #[error("closing port {port} cannot be recorded")]
    State {
        /// The port.
        port: u16,
        /// The cause.
        source: StateError,
    },
}

impl ReleaseError {
    pub(super) const fn kind(&self) -> RefusalKind {
        match self {
            Self::InUse { .. } => RefusalKind::InUse,
            Self::Kernel(_) | Self::State { .. } => RefusalKind::Failed,
        }
    }
}

impl Service {
    /// Closes the port; false if it was closed before.
    pub(super) async fn release(&self, number: u16) -> Result<bool, ReleaseError> {
        let mut ports = self.ports().await;
        if !ports.contains_key(&number) {
            return Ok(false);
        }
        if self.used_by_kernel().map_err(ReleaseError::Kernel)?.contains(&number) {
            return Err(ReleaseError::InUse { port: number });
        }
        let Some(port) = ports.remove(&number) else {
            return Ok(false);
        };
        if let Err(source) = self.save(&ports).await {
            ports.insert(number, port);
            return Err(ReleaseError::State { port: number, source });
        }
        port.close();
        self.let_go(number);
        self.plant.issuer.kept.keep_only(|port| ports.contains_key(&port));
        drop(ports);
        tracing::info!(port = number, file_system = %port.identity.file_system, "closed");
        Ok(true)
    }
}
