//! Ports of the tunnel: asked for before a mount, given back when nothing needs them.
//!
//! The kernel goes on with a port after its last mount is gone, if data is still to be written, and
//! mounts of other volumes can hang on it (it keeps one transport per server, whatever the port). So
//! a port is closed only when no mount shows it, no publication is about to use it, and the kernel's
//! list of NFS servers has forgotten it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use csi_core::rpc_error::GrpcCode;
use efs_tunnel::Identity;
use efs_tunnel::control::{
    Client, ClientError, Ensure, Ensured, PortState, PortStatus, RefusalKind,
};
use tonic::Code;
use tracing::{debug, info, warn};

use super::records::{RecordError, Records};
use super::rollback::Rollback;
use super::route::Route;
use super::spares::Spares;
use crate::kernel::nfs::{Nfs, Tunnelled};
use crate::kernel::{KernelError, MountEntry};

/// The port to the tunnel. Implementations: its control socket, and one in memory in the tests.
pub trait Tunnel: Send + Sync + 'static {
    /// Serves an identity; the same one at the same port, on a listener that was lent before.
    fn ensure(
        &self,
        ensure: Ensure,
        listener: Option<BorrowedFd<'_>>,
    ) -> impl Future<Output = Result<Ensured, ClientError>> + Send;
    /// A copy of a port's listener.
    fn lend(&self, port: u16) -> impl Future<Output = Result<OwnedFd, ClientError>> + Send;
    /// Closes a port; false if it was closed.
    fn release(&self, port: u16) -> impl Future<Output = Result<bool, ClientError>> + Send;
    /// Every port that is served.
    fn list(&self) -> impl Future<Output = Result<Vec<PortStatus>, ClientError>> + Send;
    /// Waits until the tunnel that is there is gone; for ever if there is none.
    fn gone(&self) -> impl Future<Output = ()> + Send;
}

impl Tunnel for Client {
    async fn ensure(
        &self,
        ensure: Ensure,
        listener: Option<BorrowedFd<'_>>,
    ) -> Result<Ensured, ClientError> {
        self.ensure_on(ensure, listener).await
    }

    async fn lend(&self, port: u16) -> Result<OwnedFd, ClientError> {
        Self::lend(self, port).await
    }

    async fn release(&self, port: u16) -> Result<bool, ClientError> {
        Self::release(self, port).await
    }

    async fn list(&self) -> Result<Vec<PortStatus>, ClientError> {
        Self::list(self).await
    }

    async fn gone(&self) {
        if self.until_gone().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Why a port is not to be had or not given back.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// The tunnel does not do it.
    #[error("no port of the tunnel")]
    Tunnel(#[from] ClientError),
    /// What is asked for cannot be written down.
    #[error("no record of the tunnel's port")]
    Record(#[from] RecordError),
    /// The kernel does not tell what it uses.
    #[error("cannot tell which ports are in use")]
    Kernel(#[from] KernelError),
}

impl GrpcCode for PortError {
    fn code(&self) -> Code {
        match self {
            Self::Tunnel(ClientError::Unreachable { .. } | ClientError::TimedOut { .. }) => {
                Code::Unavailable
            }
            Self::Tunnel(ClientError::Refused(refusal)) => match refusal.kind {
                RefusalKind::Invalid => Code::InvalidArgument,
                RefusalKind::Exhausted => Code::ResourceExhausted,
                RefusalKind::InUse | RefusalKind::Taken | RefusalKind::Version => {
                    Code::FailedPrecondition
                }
                RefusalKind::Failed | RefusalKind::Unknown => Code::Unavailable,
            },
            Self::Tunnel(ClientError::Unexpected { .. }) | Self::Record(_) => Code::Internal,
            Self::Kernel(error) => error.code(),
        }
    }
}

/// Publications under way by identity.
type Users = Arc<Mutex<HashMap<Identity, usize>>>;

/// A port that stays open at least until this is dropped.
#[derive(Debug)]
pub struct Lease {
    /// The port.
    pub port: u16,
    _user: User,
}

#[derive(Debug)]
struct User {
    identity: Identity,
    users: Users,
}

impl Drop for User {
    fn drop(&mut self) {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = users.get_mut(&self.identity) {
            *count -= 1;
            if *count == 0 {
                users.remove(&self.identity);
            }
        }
    }
}

/// The ports of this node.
#[derive(Debug)]
pub struct Ports<T> {
    tunnel: T,
    records: Records,
    spares: Spares,
    rollback: Rollback,
    users: Users,
    /// Held while it is decided whether a port is closed, and while a publication says that it is
    /// about to use one.
    gate: tokio::sync::Mutex<()>,
}

impl<T: Tunnel> Ports<T> {
    /// Ports of this tunnel, with what is known of them.
    #[must_use]
    pub fn new(tunnel: T, records: Records, rollback: Rollback) -> Self {
        Self {
            tunnel,
            records,
            spares: Spares::default(),
            rollback,
            users: Users::default(),
            gate: tokio::sync::Mutex::default(),
        }
    }

    /// Waits until the tunnel that is there is gone.
    pub(super) async fn tunnel_gone(&self) {
        self.tunnel.gone().await;
    }

    /// A port that serves the route.
    ///
    /// # Errors
    /// [`PortError`].
    pub async fn lease(&self, route: &Route) -> Result<Lease, PortError> {
        let Route { identity, failover, port } = route.clone();
        let gate = self.gate.lock().await;
        let user = self.user(&identity);
        drop(gate);
        let ensure = Ensure { identity, failover, port };
        let Ensured { port, opened } = self.tunnel.ensure(ensure.clone(), None).await?;
        if opened {
            info!(port, file_system = %ensure.identity.file_system, "the tunnel opened a port");
        }
        // Made again, it must be this port.
        self.records.put(port, Ensure { port: Some(port), ..ensure })?;
        self.spare(port).await;
        Ok(Lease { port, _user: user })
    }

    /// Keeps a copy of a port's listener.
    async fn spare(&self, port: u16) {
        if self.spares.has(port) {
            return;
        }
        match self.tunnel.lend(port).await {
            Ok(listener) => self.spares.keep(port, listener),
            // It is asked for again in every round.
            Err(error) => debug!(port, error = %csi_core::Chain(&error), "no copy of a listener"),
        }
    }

    fn user(&self, identity: &Identity) -> User {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        *users.entry(identity.clone()).or_default() += 1;
        drop(users);
        User { identity: identity.clone(), users: Arc::clone(&self.users) }
    }

    /// Whom a port serves, if anybody knows.
    ///
    /// # Errors
    /// [`PortError`] if only the tunnel could know and does not answer.
    pub async fn identity_of(&self, port: u16) -> Result<Option<Identity>, PortError> {
        if let Some(record) = self.records.get(port) {
            return Ok(Some(record.identity));
        }
        let served = self.tunnel.list().await?;
        Ok(served.into_iter().find(|status| status.port == port).map(|status| status.identity))
    }

    /// What the tunnel says is wrong with a port.
    pub async fn trouble(&self, identity: &Identity) -> Option<String> {
        let served = self.tunnel.list().await.ok()?;
        served.into_iter().find(|status| status.identity == *identity)?.last_error
    }

    /// Closes a port, unless something needs it; true if it is closed now.
    ///
    /// # Errors
    /// [`PortError`]. The port is open then, or will be found closed by the next try.
    pub async fn release(&self, kernel: &impl Nfs, port: u16) -> Result<bool, PortError> {
        let _gate = self.gate.lock().await;
        let identity = self.identity_of(port).await?;
        let users = self.users.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if identity.is_some_and(|identity| users.contains_key(&identity)) {
            return Ok(false);
        }
        if mounted(kernel)?.contains(&port) || kernel.servers()?.contains(&port) {
            return Ok(false);
        }
        match self.tunnel.release(port).await {
            Ok(was_open) => {
                self.spares.close(port);
                self.records.remove(port)?;
                if was_open {
                    info!(port, "the tunnel closed a port that nothing needs");
                }
                Ok(true)
            }
            Err(ClientError::Refused(refusal)) if refusal.kind == RefusalKind::InUse => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes again what mounts need and the tunnel does not serve, and closes what nothing needs.
    ///
    /// # Errors
    /// The first that fails; the next round goes on from there.
    pub async fn reconcile(&self, kernel: &impl Nfs) -> Result<Reconciled, PortError> {
        let mounts = kernel.mounts()?;
        let needed = ports_of(&mounts);
        let served: BTreeMap<u16, PortStatus> =
            self.tunnel.list().await?.into_iter().map(|status| (status.port, status)).collect();
        let known = self.records.all();
        let mut result = Reconciled::default();
        for port in &needed {
            let status = served.get(port);
            if status.is_some_and(|status| status.state != PortState::Unbound) {
                self.spare(*port).await;
            } else if let Some(wanted) = known.get(port).cloned().or_else(|| status.map(again)) {
                let made = self.make_again(wanted, *port).await;
                if made { &mut result.made } else { &mut result.missing }.push(*port);
            }
        }
        let whose = |port| {
            let recorded = known.get(&port).map(|record| &record.identity);
            recorded.or_else(|| served.get(&port).map(|status| &status.identity)).cloned()
        };
        self.rollback.bring_into_line(&mounts, &kernel.servers()?, whose);
        for port in served.keys().chain(known.keys()).copied().collect::<BTreeSet<_>>() {
            if !needed.contains(&port) {
                let closed = self.release(kernel, port).await?;
                if closed { &mut result.closed } else { &mut result.lingering }.push(port);
            }
        }
        Ok(result)
    }

    /// On our copy of its listener, if there is one.
    async fn make_again(&self, wanted: Ensure, port: u16) -> bool {
        let spare = self.spares.get(port);
        let from_spare = spare.is_some();
        warn!(port, from_spare, "mounts need a port that the tunnel does not serve; asking for it");
        let listener = spare.as_ref().map(|spare| spare.as_fd());
        match self.tunnel.ensure(wanted, listener).await {
            // Without a listener, one that another process has is still awaited.
            Ok(ensured) if ensured.opened || from_spare => true,
            Ok(_) => false,
            Err(error) => {
                warn!(port, error = %csi_core::Chain(&error), "the port is not served");
                false
            }
        }
    }
}

/// The request that leads to what is served.
fn again(status: &PortStatus) -> Ensure {
    Ensure {
        identity: status.identity.clone(),
        failover: status.failover.clone(),
        port: Some(status.port),
    }
}

/// What a round of reconciliation came to, by ports.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reconciled {
    /// Opened again for mounts that need them.
    pub made: Vec<u16>,
    /// Needed by mounts, and not served.
    pub missing: Vec<u16>,
    /// Closed.
    pub closed: Vec<u16>,
    /// Not mounted any more, and still in use.
    pub lingering: Vec<u16>,
}

/// The ports that mounts go through.
fn mounted(kernel: &impl Nfs) -> Result<BTreeSet<u16>, KernelError> {
    kernel.mounts().map(|mounts| ports_of(&mounts))
}

fn ports_of(mounts: &[MountEntry]) -> BTreeSet<u16> {
    mounts.iter().filter_map(Tunnelled::of).map(|mount| mount.port).collect()
}
