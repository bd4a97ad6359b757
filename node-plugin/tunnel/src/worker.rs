//! The worker: it serves the ports and the control socket, and dies without harm. What it knows is
//! on disk, what it must not let go of is in the supervisor's hands.

mod ensure;
mod inherit;
mod release;
mod restore;
mod service;
mod succeed;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

pub use ensure::EnsureError;
pub use release::ReleaseError;
pub(crate) use service::Service;

use crate::certificate::ClientInfo;
use crate::control::server;
use crate::credentials::Wallet;
use crate::key::{KeyError, NodeKey};
use crate::memory;
use crate::passport::Issuer;
use crate::relay::{Plant, Sockets};
use crate::state::{Entry, StateError, StateFile};
use crate::supervisor::{FromSupervisor, Link};
use crate::tls::Library;
use crate::{kernel, passport, upstream};
use inherit::Inheritance;
use succeed::Predecessor;

/// Two, so that one file system's records do not wait for another's encryption.
const THREADS: usize = 2;
/// For names and files.
const BLOCKING_THREADS: usize = 8;
/// The name by which `openssl req` would call this machine.
const HOST_NAME: &str = "/proc/sys/kernel/hostname";

/// What the worker needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where clients find the control socket.
    pub control_socket: PathBuf,
    /// Folder of the state on disk; upstream's state files are there too.
    pub state_folder: PathBuf,
    /// The kubelet's folder; only mounts below it are adopted.
    pub kubelet_folder: PathBuf,
    /// Folder of the node's key.
    pub key_folder: PathBuf,
    /// First port.
    pub first_port: u16,
    /// The port after the last.
    pub end_port: u16,
    /// Connections of all ports together. Memory is bounded by their number.
    pub max_connections: usize,
    /// Of a socket's send and receive buffer, in bytes.
    pub socket_buffer: u32,
    /// How long a mount target may be silent.
    pub silence: Duration,
    /// The kernel's list of NFS servers.
    pub nfs_servers: PathBuf,
    /// Whether memory is locked.
    pub lock_memory: bool,
    /// What certificates say about this client.
    pub client: ClientInfo,
}

/// Why the worker ends.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// It was started by someone else than a supervisor.
    #[error("no supervisor is at the other end of standard input; start efs-tunnel serve")]
    Supervisor(#[source] io::Error),
    /// The runtime cannot be made.
    #[error("no threads for the relay")]
    Runtime(#[source] io::Error),
    /// The host's name is not known.
    #[error("the host's name cannot be read from {HOST_NAME}")]
    HostName(#[source] io::Error),
    /// There is no key.
    #[error("no key for client certificates")]
    Key(#[source] KeyError),
    /// The state is not understood.
    #[error("the ports of live mounts are not known")]
    State(#[source] StateError),
    /// The control socket that was inherited does not work.
    #[error("the control socket cannot be served")]
    Control(#[source] io::Error),
}

/// Makes everything ready, waits for the supervisor to say that it is needed, and serves until the
/// supervisor says that it is enough, or is gone.
pub fn run(config: Config) -> Result<(), WorkerError> {
    inherit::unblock_signals();
    memory::prepare(config.lock_memory);
    let issuer = issuer(&config)?;
    let runtime = Builder::new_multi_thread()
        .worker_threads(THREADS)
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_name("relay")
        .enable_all()
        .build()
        .map_err(WorkerError::Runtime)?;
    let Some(inheritance) = Inheritance::from_supervisor().map_err(WorkerError::Supervisor)? else {
        return Ok(());
    };
    let ended = runtime.block_on(serve(config, issuer, inheritance));
    // A name that is being resolved would hold up the end.
    runtime.shutdown_background();
    ended
}

async fn serve(
    config: Config,
    issuer: Issuer,
    inheritance: Inheritance,
) -> Result<(), WorkerError> {
    let Inheritance { link, control, control_new, mut listeners, restarts } = inheritance;
    let state = StateFile::new(&config.state_folder);
    let mut entries = state.load().map_err(WorkerError::State)?;
    // Once the socket was moved to its place, clients find this instance there, not an earlier one.
    let predecessor =
        if control_new.exists() { Predecessor::ask(&config.control_socket).await } else { None };
    if let Some(predecessor) = &predecessor {
        // It knows what the file says, and what was not written yet.
        entries = predecessor.entries.clone();
    }
    adopt(&config, &mut entries);
    let sockets = Sockets { buffer: config.socket_buffer, silence: config.silence };
    let plant = Plant::new(Arc::new(issuer), sockets, config.max_connections);
    let control_path = config.control_socket.clone();
    let supervisor = link.try_clone().map_err(WorkerError::Supervisor)?;
    let service = Arc::new(Service::new(config, Arc::new(plant), state, link, restarts));
    let predecessor = predecessor.map(|one| one.inherit(&service, &mut listeners));
    service.restore(entries, listeners).await;
    inherit::activate(&control_new, &control_path).map_err(WorkerError::Control)?;
    if let Some(predecessor) = predecessor {
        predecessor.taken().await;
    }
    let control = UnixListener::from_std(control).map_err(WorkerError::Control)?;
    let rebinding = tokio::spawn(Arc::clone(&service).rebind());
    let controlling = tokio::spawn(server::serve(control, Arc::clone(&service)));
    service.serves().map_err(WorkerError::Supervisor)?;
    tracing::info!(restarts, "efs-tunnel serves");
    let ended = until_end(supervisor).await.map_err(WorkerError::Supervisor);
    controlling.abort();
    rebinding.abort();
    ended
}

/// Adds the live mounts of efs-utils. A port that its proxy still has is taken when it leaves.
fn adopt(config: &Config, entries: &mut Vec<Entry>) {
    let used = match kernel::ports_in_use(&config.nfs_servers) {
        Ok(used) => used,
        Err(error) => {
            tracing::error!(%error, "live mounts of efs-utils are not looked for");
            return;
        }
    };
    for entry in upstream::live(&config.state_folder, &config.kubelet_folder, &used) {
        if entries.iter().all(|known| known.port != entry.port) {
            tracing::info!(port = entry.port, file_system = %entry.identity.file_system, "adopted");
            entries.push(entry);
        }
    }
}

fn issuer(config: &Config) -> Result<Issuer, WorkerError> {
    let name = std::fs::read_to_string(HOST_NAME).map_err(WorkerError::HostName)?;
    Ok(Issuer {
        library: Library::new(),
        key: NodeKey::load_or_create(&config.key_folder).map_err(WorkerError::Key)?,
        common_name: name.trim().to_owned(),
        client: config.client.clone(),
        wallet: Wallet::default(),
        kept: passport::Folder::new(&config.state_folder),
    })
}

/// A worker whose supervisor is gone must go too: it would keep the ports from the next one.
async fn until_end(supervisor: Link) -> io::Result<()> {
    let (gone, supervisor_gone) = oneshot::channel::<()>();
    // The link must block for those who send on it, so a thread waits for its end.
    thread::Builder::new().name("supervisor".to_owned()).spawn(move || {
        // The supervisor sends nothing after the beginning: what is received is its end.
        let _ = supervisor.receive::<FromSupervisor>();
        drop(gone);
    })?;
    let mut term = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = term.recv() => tracing::info!("told to end"),
        _ = supervisor_gone => tracing::warn!("the supervisor is gone"),
    }
    Ok(())
}
