//! The ports, and what may be asked about them.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{Mutex, MutexGuard};

use super::Config;
use crate::control::{Health, PortState, PortStatus, Refusal, RefusalKind, Reply, Request};
use crate::kernel;
use crate::relay::{Plant, Port};
use crate::state::{Entry, StateError, StateFile};
use crate::supervisor::{Link, ToSupervisor};

/// The ports by number.
pub(crate) type Ports = BTreeMap<u16, Arc<Port>>;

/// All that the worker serves.
#[derive(Debug)]
pub(crate) struct Service {
    pub(super) config: Config,
    pub(super) plant: Arc<Plant>,
    state: StateFile,
    supervisor: Link,
    restarts: u32,
    retired: AtomicBool,
    ports: Mutex<Ports>,
}

impl Service {
    pub(super) fn new(
        config: Config,
        plant: Arc<Plant>,
        state: StateFile,
        supervisor: Link,
        restarts: u32,
    ) -> Self {
        let retired = AtomicBool::new(false);
        Self { config, plant, state, supervisor, restarts, retired, ports: Mutex::default() }
    }

    /// Answers one request.
    pub(crate) async fn answer(
        &self,
        request: Request,
        listener: Option<OwnedFd>,
    ) -> (Reply, Option<OwnedFd>) {
        let reply = match request {
            Request::Lend { port } => return self.lend(port).await,
            Request::Ensure(ensure) => match self.ensure(*ensure, listener).await {
                Ok(ensured) => Reply::Ensured(ensured),
                Err(error) => refused(error.kind(), &error),
            },
            Request::Release { port } => match self.release(port).await {
                Ok(was_open) => Reply::Released { was_open },
                Err(error) => refused(error.kind(), &error),
            },
            Request::List {} => Reply::Ports(self.list().await),
            Request::Health {} => Reply::Health(self.health().await),
            Request::HandOver {} | Request::Taken {} => Reply::Refused(Refusal {
                kind: RefusalKind::Invalid,
                message: "a hand-over has its own order of messages".to_owned(),
            }),
        };
        (reply, None)
    }

    async fn lend(&self, number: u16) -> (Reply, Option<OwnedFd>) {
        let listener = self.ports().await.get(&number).and_then(|port| port.listener());
        if listener.is_some() {
            return (Reply::Lent { port: number }, listener);
        }
        let message = format!("port {number} is not served, so there is nothing to lend");
        (Reply::Refused(Refusal { kind: RefusalKind::Invalid, message }), None)
    }

    /// Whether a successor has everything.
    pub(crate) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    /// Lets go of everything: the successor serves it, from the same sockets. Connections are reset,
    /// the clients connect again to the same port.
    pub(crate) fn retire(&self, ports: &mut Ports) {
        self.retired.store(true, Ordering::Release);
        if let Err(error) = self.supervisor.send(&ToSupervisor::Retired, None) {
            tracing::warn!(%error, "the supervisor does not know of the successor");
        }
        for port in std::mem::take(ports).into_values() {
            port.close();
        }
    }

    async fn list(&self) -> Vec<PortStatus> {
        let used = self.used_by_kernel().unwrap_or_else(|error| {
            tracing::warn!(%error, "the kernel's list of NFS servers cannot be read");
            BTreeSet::new()
        });
        let ports = self.ports().await;
        ports.values().map(|port| port.status(used.contains(&port.number))).collect()
    }

    async fn health(&self) -> Health {
        let ports = self.list().await;
        let count = |ports: usize| u32::try_from(ports).unwrap_or(u32::MAX);
        Health {
            program: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            namespace: Health::own_namespace(),
            ready: ports.iter().all(|port| port.state != PortState::Unbound),
            ports: count(ports.len()),
            connections: ports.iter().map(|port| port.connections).sum(),
            restarts: self.restarts,
        }
    }

    /// The ports; nobody opens or closes one while they are held.
    pub(crate) async fn ports(&self) -> MutexGuard<'_, Ports> {
        self.ports.lock().await
    }

    pub(super) fn used_by_kernel(&self) -> std::io::Result<BTreeSet<u16>> {
        kernel::ports_in_use(&self.config.nfs_servers)
    }

    /// Tells the supervisor that clients are served.
    pub(super) fn serves(&self) -> std::io::Result<()> {
        self.supervisor.send(&ToSupervisor::Serves, None)
    }

    /// Lets the supervisor keep a listener before anything is done with it.
    pub(super) fn hold(&self, port: u16, listener: &impl AsFd) -> std::io::Result<()> {
        self.supervisor.send(&ToSupervisor::Hold(port), Some(listener.as_fd()))
    }

    /// The supervisor shall close its copy of a listener.
    pub(super) fn let_go(&self, port: u16) {
        if let Err(error) = self.supervisor.send(&ToSupervisor::Drop(port), None) {
            tracing::warn!(port, %error, "the supervisor still holds a port that was closed");
        }
    }

    /// Writes the ports down, off the threads that relay.
    pub(super) async fn save(&self, ports: &Ports) -> Result<(), StateError> {
        let entries = ports
            .values()
            .map(|port| Entry {
                port: port.number,
                identity: port.identity.clone(),
                failover: port.failover(),
            })
            .collect();
        let state = self.state.clone();
        let saved = tokio::task::spawn_blocking(move || state.save(entries)).await;
        saved.unwrap_or_else(|panic| Err(self.state.interrupted(panic)))
    }
}

fn refused(kind: RefusalKind, error: &(dyn std::error::Error + 'static)) -> Reply {
    Reply::Refused(Refusal { kind, message: crate::chain(error) })
}
