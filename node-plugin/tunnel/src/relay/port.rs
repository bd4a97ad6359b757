//! One port: its listener, its connections and what became of them.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

use super::backoff::Backoff;
use super::connection;
use super::dial::DialError;
use super::flow::Flow;
use super::socket::{self, Sockets};
use crate::control::{PortState, PortStatus};
use crate::identity::{Identity, Target};
use crate::passport::{Issuer, Passport, PassportError};

/// A connection that has not moved for so long gives way to a new one. The kernel opens a new one
/// when it has lost patience, whose end we do not see while our window is closed.
const STALE: Duration = Duration::from_secs(10);
/// Connections of one port, at most. The kernel makes one, or as many as `nconnect` says.
const PER_PORT: usize = 16;
/// Handshakes at a time, over all ports.
const HANDSHAKES: usize = 32;
/// After an error of accept, which is a lack of memory or of descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// What all ports share.
#[derive(Debug)]
pub(crate) struct Plant {
    pub(crate) issuer: Arc<Issuer>,
    pub(crate) sockets: Sockets,
    connections: Arc<Semaphore>,
    handshakes: Semaphore,
}

impl Plant {
    pub(crate) fn new(issuer: Arc<Issuer>, sockets: Sockets, connections: usize) -> Self {
        Self {
            issuer,
            sockets,
            connections: Arc::new(Semaphore::new(connections)),
            handshakes: Semaphore::new(HANDSHAKES),
        }
    }
}

/// One port.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) number: u16,
    pub(crate) identity: Identity,
    plant: Arc<Plant>,
    passport: Option<Passport>,
    failover: Mutex<Vec<Target>>,
    acceptor: Mutex<Option<Acceptor>>,
    connections: Mutex<Connections>,
    turn: tokio::sync::Mutex<()>,
    backoff: Mutex<Backoff>,
    outcome: Mutex<Outcome>,
    dials: AtomicU64,
    failures: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
}

#[derive(Debug)]
struct Acceptor {
    task: AbortHandle,
    listener: Arc<TcpListener>,
}

#[derive(Debug, Default)]
struct Connections {
    next: u64,
    open: Vec<Connection>,
}

#[derive(Debug)]
struct Connection {
    id: u64,
    flow: Arc<Flow>,
    task: AbortHandle,
}

#[derive(Debug, Default)]
struct Outcome {
    connected_to: Option<Target>,
    last_error: Option<String>,
}

/// Takes a connection off its port's list when its task ends, however it ends.
struct Leave {
    port: Arc<Port>,
    id: u64,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Leave {
    fn drop(&mut self) {
        self.port.connections().open.retain(|connection| connection.id != self.id);
    }
}

impl Port {
    pub(crate) fn new(
        plant: Arc<Plant>,
        number: u16,
        identity: Identity,
        failover: Vec<Target>,
    ) -> Result<Self, PassportError> {
        let passport = match &identity.tls {
            Some(tls) => Some(Passport::new(
                Arc::clone(&plant.issuer),
                number,
                identity.clone(),
                tls.clone(),
            )?),
            None => None,
        };
        Ok(Self {
            number,
            identity,
            plant,
            passport,
            failover: Mutex::new(failover),
            acceptor: Mutex::default(),
            connections: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            backoff: Mutex::new(Backoff::new()),
            outcome: Mutex::default(),
            dials: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
        })
    }

    /// Serves the connections of `listener` until the port is closed.
    pub(crate) fn open(self: &Arc<Self>, listener: TcpListener) {
        let listener = Arc::new(listener);
        let accepting = accept(Arc::clone(self), Arc::clone(&listener));
        let task = tokio::spawn(accepting).abort_handle();
        let earlier = lock(&self.acceptor).replace(Acceptor { task, listener });
        if let Some(earlier) = earlier {
            earlier.task.abort();
        }
    }

    /// Accepts no more, and resets the connections that are up.
    pub(crate) fn close(&self) {
        if let Some(acceptor) = lock(&self.acceptor).take() {
            acceptor.task.abort();
        }
        for connection in &self.connections().open {
            connection.task.abort();
        }
    }

    /// A copy of the listener; none if the port is not bound, or no descriptor is left.
    pub(crate) fn listener(&self) -> Option<OwnedFd> {
        let listener = lock(&self.acceptor).as_ref().map(|one| Arc::clone(&one.listener))?;
        listener.as_fd().try_clone_to_owned().ok()
    }

    pub(crate) fn is_bound(&self) -> bool {
        lock(&self.acceptor).is_some()
    }

    /// Replaces the targets that stand by; true if they are others than before.
    pub(crate) fn stand_by(&self, targets: Vec<Target>) -> bool {
        let mut failover = lock(&self.failover);
        let changed = *failover != targets;
        *failover = targets;
        changed
    }

    pub(crate) fn failover(&self) -> Vec<Target> {
        lock(&self.failover).clone()
    }

    pub(crate) fn status(&self, used_by_kernel: bool) -> PortStatus {
        let flows: Vec<bool> =
            self.connections().open.iter().map(|one| one.flow.is_connected()).collect();
        let state = if !self.is_bound() {
            PortState::Unbound
        } else if flows.is_empty() {
            PortState::Idle
        } else if flows.contains(&true) {
            PortState::Connected
        } else {
            PortState::Waiting
        };
        let failover = self.failover();
        let outcome = lock(&self.outcome);
        PortStatus {
            port: self.number,
            identity: self.identity.clone(),
            failover,
            state,
            connections: u32::try_from(flows.len()).unwrap_or(u32::MAX),
            connected_to: outcome.connected_to.clone(),
            dials: self.dials.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
            sent: self.sent.load(Ordering::Relaxed),
            received: self.received.load(Ordering::Relaxed),
            last_error: outcome.last_error.clone(),
            used_by_kernel,
        }
    }

    /// The port's own target first: it is the one of this zone.
    pub(super) fn targets(&self) -> Vec<Target> {
        let mut targets = vec![self.identity.target.clone()];
        targets.extend(self.failover().into_iter().filter(|one| *one != self.identity.target));
        targets
    }

    pub(super) const fn passport(&self) -> Option<&Passport> {
        self.passport.as_ref()
    }

    pub(super) fn sockets(&self) -> Sockets {
        self.plant.sockets
    }

    pub(super) async fn handshake_turn(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed, so there is always a turn.
        self.plant.handshakes.acquire().await.ok()
    }

    /// One connection of a port dials at a time.
    pub(super) async fn dialling(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    pub(super) fn backoff(&self) -> MutexGuard<'_, Backoff> {
        lock(&self.backoff)
    }

    pub(super) fn dials(&self) {
        self.dials.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn reached(&self, target: Target) {
        tracing::info!(port = self.number, file_system = %self.identity.file_system, %target, "connected");
        lock(&self.outcome).connected_to = Some(target);
    }

    pub(super) fn failed(&self, error: &DialError) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.note(crate::chain(error));
    }

    /// A target that was connected is no more.
    pub(super) fn lost(&self, error: Option<io::Error>, answered: bool) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let reason = error.map_or_else(
            || "closed the connection".to_owned(),
            |error| format!("was lost: {}", crate::chain(&error)),
        );
        let target = lock(&self.outcome).connected_to.clone();
        let target = target.map_or_else(String::new, |target| target.to_string());
        let silent = if answered { "" } else { " before it answered anything" };
        self.note(format!("{target} {reason}{silent}"));
        let mut backoff = self.backoff();
        if answered {
            backoff.lost(Instant::now());
        } else {
            backoff.failed(Instant::now());
        }
    }

    /// The target answers.
    pub(super) fn works(&self) {
        lock(&self.outcome).last_error = None;
    }

    pub(super) fn sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Keeps the error for the node plugin, and logs it once: a target that is away for an hour
    /// says the same thing every four seconds.
    fn note(&self, error: String) {
        let mut outcome = lock(&self.outcome);
        if outcome.last_error.as_ref() != Some(&error) {
            let file_system = &self.identity.file_system;
            tracing::warn!(port = self.number, %file_system, %error, "mount target");
            outcome.last_error = Some(error);
        }
    }

    fn connections(&self) -> MutexGuard<'_, Connections> {
        lock(&self.connections)
    }

    /// Makes room: who came first and does not move, goes. With `any`, the oldest goes even if it
    /// moves.
    fn make_room(&self, any: bool) {
        let connections = self.connections();
        let mut left = connections.open.len();
        for connection in &connections.open {
            let must = left >= PER_PORT || (any && left == connections.open.len());
            if must || connection.flow.waited() >= STALE {
                connection.task.abort();
                left -= 1;
            }
        }
        drop(connections);
    }

    /// The right to a connection. When all are taken, one of this port gives way; a port that has
    /// none waits, with its client unread.
    async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        self.make_room(false);
        let connections = &self.plant.connections;
        if let Ok(permit) = Arc::clone(connections).try_acquire_owned() {
            return Some(permit);
        }
        tracing::warn!(port = self.number, "all connections are taken; see --max-connections");
        self.make_room(true);
        Arc::clone(connections).acquire_owned().await.ok()
    }

    fn admit(self: &Arc<Self>, client: TcpStream, permit: OwnedSemaphorePermit) {
        if let Err(error) = socket::accepted(&client) {
            tracing::debug!(port = self.number, %error, "the client left at once");
            return;
        }
        let flow = Arc::new(Flow::waiting());
        let id = {
            let mut connections = self.connections();
            connections.next += 1;
            connections.next
        };
        let leave = Leave { port: Arc::clone(self), id, _permit: permit };
        let serving = connection::serve(client, Arc::clone(self), Arc::clone(&flow));
        // It begins when it is on the list, so that it cannot leave before.
        let (listed, begin) = oneshot::channel();
        let task = tokio::spawn(async move {
            let _leave = leave;
            if begin.await.is_ok() {
                serving.await;
            }
        });
        let connection = Connection { id, flow, task: task.abort_handle() };
        self.connections().open.push(connection);
        // Nobody listens if the runtime is being stopped.
        let _ = listed.send(());
    }
}

async fn accept(port: Arc<Port>, listener: Arc<TcpListener>) {
    loop {
        match listener.accept().await {
            Ok((client, _loopback)) => match port.permit().await {
                Some(permit) => port.admit(client, permit),
                None => return,
            },
            Err(error) => {
                tracing::warn!(port = port.number, %error, "accepting a connection failed");
                sleep(PAUSE).await;
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
