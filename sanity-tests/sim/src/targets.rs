//! Simulated mount targets: a TLS server at each mount target's address that checks its clients as
//! EFS does, by certificate and IAM signature, and relays them to an NFS server that shows what
//! their access point shows.

mod address;
mod authority;
mod backend;
mod behaviour;
mod certificate;
mod check;
mod connect;
mod der;
mod export;
mod fleet;
mod front;
mod ganesha;
mod registry;
mod relay;
mod servers;
mod verifier;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use authority::Authority;
pub use backend::Backend;
pub use behaviour::Behaviour;
pub use certificate::{Claims, LayoutError, SignatureClaim};
pub use check::Refusal;
pub use export::ExportError;
pub use fleet::{Fleet, FleetConfig};
pub use ganesha::has_nfs_server;
pub use registry::{Registry, TargetReport, TargetScript};
pub use servers::Servers;

use front::Front;
use verifier::Verifier;

use crate::devices::{CommandError, DeviceError};
use crate::http::App;
use crate::sim::Sim;
use crate::world::efs::FileSystemSeed;
use crate::world::{AwsError, Settings, World};

/// The port of NFS.
pub const PORT: u16 = 2049;

/// Why there is no mount target, or no server behind it.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// A certificate could not be made.
    #[error("cannot make a certificate")]
    Certificate(#[source] rcgen::Error),
    /// TLS could not be set up.
    #[error("cannot set up TLS")]
    Tls(#[source] rustls::Error),
    /// It cannot listen.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A file or folder cannot be made.
    #[error("cannot make {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A directory cannot be shown.
    #[error("cannot show the directory")]
    Export(#[from] ExportError),
    /// An NFS server did not start.
    #[error("cannot start an NFS server for {}; is nfs-ganesha installed?", path.display())]
    Server {
        /// For what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The folder for the data cannot be used or removed.
    #[error("cannot manage the folder of the file systems")]
    Folder(#[source] DeviceError),
    /// An address cannot be added.
    #[error("cannot add an address (it needs root)")]
    Address(#[source] CommandError),
    /// The world refused.
    #[error("the file system cannot be seeded")]
    Seed(#[source] AwsError),
}

/// What a mount target is made from.
#[derive(Debug, Clone)]
pub struct TargetConfig<'a> {
    /// Where it listens; port 0 takes a free one.
    pub address: SocketAddr,
    /// Its file system, which the world should know.
    pub file_system: &'a str,
    /// Who vouches for it.
    pub authority: &'a Authority,
    /// What it relays to.
    pub backend: Backend,
}

/// A running mount target. Dropping it closes its listener and all its connections.
#[derive(Debug)]
pub struct MountTarget {
    app: App,
    front: Arc<Front>,
    task: JoinHandle<()>,
}

impl Drop for MountTarget {
    fn drop(&mut self) {
        self.task.abort();
        self.app.targets().remove(self.front.address);
    }
}

impl MountTarget {
    /// Starts a mount target of a simulated AWS, which knows file systems, access points and
    /// access keys.
    pub async fn start(app: &App, config: TargetConfig<'_>) -> Result<Self, TargetError> {
        let error = |source| TargetError::Listen { address: config.address, source };
        let listener = TcpListener::bind(config.address).await.map_err(error)?;
        Self::on(listener, app, config)
    }

    /// The same with a listener that is there already, perhaps in another network namespace.
    pub fn on(
        listener: TcpListener,
        app: &App,
        config: TargetConfig<'_>,
    ) -> Result<Self, TargetError> {
        let error = |source| TargetError::Listen { address: config.address, source };
        let address = listener.local_addr().map_err(error)?;
        let name = server_name(config.file_system, app.region());
        let verifier = Arc::new(Verifier::new(app.clone(), config.file_system));
        let tls = config.authority.server(&name, Arc::clone(&verifier))?;
        let front = Arc::new(Front {
            address,
            file_system: config.file_system.to_owned(),
            name,
            behaviour: watch::Sender::new(Behaviour::Normal),
            verifier,
            tls,
            backend: config.backend,
            accepted: AtomicU64::new(0),
            open: AtomicUsize::new(0),
        });
        app.targets().insert(Arc::clone(&front));
        let task = tokio::spawn(front::run(Arc::clone(&front), listener));
        Ok(Self { app: app.clone(), front, task })
    }

    /// A mount target for one file system, with a simulated AWS of its own around it that knows
    /// nothing else: what a test of a client needs.
    pub async fn alone(
        address: SocketAddr,
        file_system: &str,
        region: &str,
        authority: &Authority,
        backend: Backend,
    ) -> Result<Self, TargetError> {
        let app = alone(file_system, region)?;
        Self::start(&app, TargetConfig { address, file_system, authority, backend }).await
    }

    /// The AWS around it: to add access points and access keys, which then are let in.
    #[must_use]
    pub fn app(&self) -> &App {
        &self.app
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.front.address
    }

    /// The name that its certificate has, and that clients must ask for.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.front.name
    }

    /// Changes its behaviour from now on.
    pub fn behave(&self, behaviour: Behaviour) {
        self.front.behaviour.send_replace(behaviour);
    }

    /// Whom it did not let in, and why; the oldest of very many are dropped.
    #[must_use]
    pub fn refusals(&self) -> Vec<Refusal> {
        self.front.verifier.refusals()
    }

    /// Connections accepted so far.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.front.accepted.load(Ordering::Relaxed)
    }

    /// Connections open now.
    #[must_use]
    pub fn open(&self) -> usize {
        self.front.open.load(Ordering::Relaxed)
    }
}

/// An AWS that knows one file system and nothing else.
pub fn alone(file_system: &str, region: &str) -> Result<App, TargetError> {
    let mut world = World::new(Settings::instant(), 1);
    let seed = FileSystemSeed::new(file_system, &[]);
    world.set_file_system(&seed, 0).map_err(TargetError::Seed)?;
    Ok(App::new(Sim::new(world), region))
}

/// The name of a file system's mount targets.
#[must_use]
pub fn server_name(file_system: &str, region: &str) -> String {
    format!("{file_system}.efs.{region}.amazonaws.com")
}
