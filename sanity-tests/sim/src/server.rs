//! `aws-sim` as a whole: listens, announces itself, runs until told to stop, cleans up.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use crate::args::{Args, Bound, SeedFileError, read_seed};
use crate::devices::{self, DeviceError, Devices};
use crate::http::{App, Imds};
use crate::seed::Seed;
use crate::sim::Sim;
use crate::targets::{Fleet, FleetConfig, TargetError};
use crate::world::{AwsError, Settings, World};

/// The line that `aws-sim` prints when it listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// Where EC2, STS and the admin interface are, `http://127.0.0.1:PORT`.
    pub endpoint: String,
    /// Where each instance's metadata service is.
    pub imds: BTreeMap<String, String>,
    /// The file by which clients trust the mount targets, if there are any.
    #[serde(default)]
    pub cafile: Option<PathBuf>,
}

/// Why `aws-sim` ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The seed file cannot be used.
    #[error(transparent)]
    SeedFile(#[from] SeedFileError),
    /// The seed contradicts itself.
    #[error("the seed cannot be used")]
    Seed(#[source] AwsError),
    /// It cannot listen.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It cannot listen on a Unix socket.
    #[error("cannot listen on {}", path.display())]
    Socket {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A listener failed.
    #[error("the listener failed")]
    Serve(#[source] io::Error),
    /// The address cannot be announced.
    #[error("cannot announce the address")]
    Announce(#[source] io::Error),
    /// The devices cannot be made or removed.
    #[error("cannot manage the devices")]
    Devices(#[source] DeviceError),
    /// The mount targets cannot be started or removed.
    #[error("cannot manage the mount targets")]
    Targets(#[source] TargetError),
    /// Signals cannot be received.
    #[error("cannot wait for signals")]
    Signals(#[source] io::Error),
}

/// Runs `aws-sim` until SIGTERM or SIGINT.
pub async fn run(args: Args) -> Result<(), RunError> {
    let app = build(&args)?;
    let devices = open_devices(&args)?.map(Arc::new);
    if let Some(devices) = &devices {
        app.sim().with(|world, _| world.with_devices());
        tokio::spawn(devices::run(app.sim().clone(), Arc::clone(devices)));
    }
    let mut fleet = match &args.efs {
        Some(folder) => Some(start_fleet(&args, folder, &app).await?),
        None => None,
    };
    let result = serve(&args, &app, fleet.as_mut()).await;
    if let Some(fleet) = fleet {
        fleet.close().await.map_err(RunError::Targets)?;
    }
    // Dropping the last reference would clean up too; this waits for it.
    if let Some(devices) = devices {
        tokio::task::spawn_blocking(move || devices.close())
            .await
            .map_err(|panic| RunError::Serve(panic.into()))?
            .map_err(RunError::Devices)?;
    }
    result
}

fn open_devices(args: &Args) -> Result<Option<Devices>, RunError> {
    let Some(folder) = &args.disks else { return Ok(None) };
    let pairs = |all: &[Bound<PathBuf>]| -> Vec<_> {
        all.iter().map(|bound| (bound.instance.clone(), bound.value.clone())).collect()
    };
    let devices = Devices::open(folder, &pairs(&args.loops), &pairs(&args.guests));
    devices.map(Some).map_err(RunError::Devices)
}

async fn start_fleet(args: &Args, folder: &Path, app: &App) -> Result<Fleet, RunError> {
    let interface = args.target_interface.clone();
    let config = FleetConfig { folder, port: args.target_port, interface };
    Fleet::start(app, config).await.map_err(RunError::Targets)
}

async fn serve(args: &Args, app: &App, fleet: Option<&mut Fleet>) -> Result<(), RunError> {
    // Whoever reads the announcement may stop us at once.
    let mut term = signal(SignalKind::terminate()).map_err(RunError::Signals)?;
    let mut int = signal(SignalKind::interrupt()).map_err(RunError::Signals)?;
    let mut servers = JoinSet::new();
    let mut announcement = listen(args, app, &mut servers).await?;
    announcement.cafile = fleet.as_deref().map(|fleet| fleet.authority_file().to_owned());
    announce(&announcement, args.address_file.as_deref()).map_err(RunError::Announce)?;
    let follow = async {
        match fleet {
            Some(fleet) => fleet.run().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = follow => Ok(()),
        _ = term.recv() => Ok(()),
        _ = int.recv() => Ok(()),
        Some(Ok(error)) = servers.join_next() => Err(RunError::Serve(error)),
    }
}

fn build(args: &Args) -> Result<App, RunError> {
    let settings = if args.instant { Settings::instant() } else { Settings::ec2() };
    let now = Timestamp::now();
    // Only has to differ between runs.
    let random = || now.as_microsecond().unsigned_abs();
    let mut world = World::new(settings, args.random_seed.unwrap_or_else(random));
    world.set_epoch(now.as_millisecond());
    let app = App::new(Sim::new(world), &args.region);
    let seed = match &args.seed {
        Some(file) => read_seed(file)?,
        None => Seed::usual(&args.region),
    };
    seed.sow(&app).map_err(RunError::Seed)?;
    Ok(app)
}

async fn listen(
    args: &Args,
    app: &App,
    servers: &mut JoinSet<io::Error>,
) -> Result<Announcement, RunError> {
    let (listener, endpoint) = bind(args.listen).await?;
    servers.spawn(app.clone().serve(listener));
    if let Some(path) = &args.admin_socket {
        let error = |source| RunError::Socket { path: path.clone(), source };
        servers.spawn(app.clone().serve_unix(UnixListener::bind(path).map_err(error)?));
    }
    let mut imds = BTreeMap::new();
    for bound in &args.imds {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, bound.value));
        let (listener, endpoint) = bind(address).await?;
        let service = Imds::new(app, bound.instance.clone());
        servers.spawn(service.serve(listener));
        imds.insert(bound.instance.to_string(), endpoint);
    }
    Ok(Announcement { endpoint, imds, cafile: None })
}

async fn bind(address: SocketAddr) -> Result<(TcpListener, String), RunError> {
    let error = |source| RunError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(error)?;
    let address = listener.local_addr().map_err(error)?;
    Ok((listener, format!("http://{address}")))
}

fn announce(announcement: &Announcement, file: Option<&Path>) -> io::Result<()> {
    let line = serde_json::to_string(announcement)? + "\n";
    if let Some(file) = file {
        // Renamed into place, so that whoever waits for the file never reads half of it.
        let mut part = file.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        std::fs::write(&part, &line)?;
        std::fs::rename(&part, file)?;
    }
    let mut stdout = io::stdout().lock();
    stdout.write_all(line.as_bytes())?;
    stdout.flush()
}
