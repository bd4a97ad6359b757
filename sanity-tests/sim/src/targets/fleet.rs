//! The mount targets of a whole world: each that is seeded is started, each that is gone is
//! stopped.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::time::{Duration, interval};

use super::address::Addresses;
use super::{Authority, Backend, MountTarget, Servers, TargetConfig, TargetError};
use crate::devices::Cleaner;
use crate::http::App;
use crate::world::efs::LifeCycle;

/// How often the world is looked at.
const TICK: Duration = Duration::from_millis(100);
/// The authority's certificate, in the folder.
const AUTHORITY: &str = "ca.pem";

/// How mount targets are served.
#[derive(Debug, Clone)]
pub struct FleetConfig<'a> {
    /// Folder for the data of all file systems; it is removed at the end, however that comes.
    pub folder: &'a Path,
    /// Their port; EFS's is [`super::PORT`].
    pub port: u16,
    /// The network interface that gets addresses which this machine lacks.
    pub interface: Option<String>,
}

/// All mount targets of a world.
#[derive(Debug)]
pub struct Fleet {
    app: App,
    authority: Authority,
    authority_file: PathBuf,
    servers: Arc<Servers>,
    port: u16,
    addresses: Option<Addresses>,
    running: BTreeMap<(String, IpAddr), MountTarget>,
    /// What failed last, so that it is logged once.
    failing: BTreeMap<(String, IpAddr), String>,
    cleaner: Cleaner,
}

impl Fleet {
    /// Starts the mount targets that the world has now.
    pub async fn start(app: &App, config: FleetConfig<'_>) -> Result<Self, TargetError> {
        let folder = config.folder.to_owned();
        let cleaner = Cleaner::start(std::slice::from_ref(&folder)).map_err(TargetError::Folder)?;
        let authority = Authority::new()?;
        let authority_file = folder.join(AUTHORITY);
        std::fs::write(&authority_file, authority.pem())
            .map_err(|source| TargetError::File { path: authority_file.clone(), source })?;
        let mut this = Self {
            app: app.clone(),
            authority,
            authority_file,
            servers: Servers::new(&folder),
            port: config.port,
            addresses: config.interface.map(Addresses::on),
            running: BTreeMap::new(),
            failing: BTreeMap::new(),
            cleaner,
        };
        for (file_system, address) in this.wanted() {
            let target = this.open(&file_system, address).await?;
            this.running.insert((file_system, address), target);
        }
        Ok(this)
    }

    /// The file by which clients trust the mount targets.
    #[must_use]
    pub fn authority_file(&self) -> &Path {
        &self.authority_file
    }

    /// Follows the world until it is dropped.
    pub async fn run(&mut self) {
        let mut ticks = interval(TICK);
        loop {
            ticks.tick().await;
            self.follow().await;
        }
    }

    /// Stops all servers and removes the data.
    pub async fn close(self) -> Result<(), TargetError> {
        drop(self.running);
        self.servers.stop().await;
        let cleaner = self.cleaner;
        tokio::task::spawn_blocking(move || cleaner.finish())
            .await
            .map_err(|panic| TargetError::File {
                path: self.authority_file.clone(),
                source: io::Error::other(panic),
            })?
            .map_err(TargetError::Folder)
    }

    /// The mount targets that should run.
    fn wanted(&self) -> Vec<(String, IpAddr)> {
        self.app.sim().with(|world, _| {
            let live = world.mount_targets().filter(|target| target.state == LifeCycle::Available);
            live.map(|target| (target.file_system.clone(), target.address)).collect()
        })
    }

    async fn follow(&mut self) {
        let wanted = self.wanted();
        self.running.retain(|key, _| wanted.contains(key));
        self.failing.retain(|key, _| wanted.contains(key));
        for key in wanted {
            if self.running.contains_key(&key) {
                continue;
            }
            match self.open(&key.0, key.1).await {
                Ok(target) => {
                    self.failing.remove(&key);
                    self.running.insert(key, target);
                }
                Err(error) => {
                    let text = csi_core::Chain(&error).to_string();
                    if self.failing.get(&key) != Some(&text) {
                        tracing::error!(file_system = key.0, address = %key.1, "{text}");
                        self.failing.insert(key, text);
                    }
                }
            }
        }
    }

    async fn open(
        &mut self,
        file_system: &str,
        address: IpAddr,
    ) -> Result<MountTarget, TargetError> {
        let config = || TargetConfig {
            address: SocketAddr::from((address, self.port)),
            file_system,
            authority: &self.authority,
            backend: Backend::Nfs(Arc::clone(&self.servers)),
        };
        match MountTarget::start(&self.app, config()).await {
            Err(TargetError::Listen { source, .. })
                if source.kind() == io::ErrorKind::AddrNotAvailable && self.addresses.is_some() =>
            {
                if let Some(addresses) = &mut self.addresses {
                    addresses.add(address)?;
                }
                MountTarget::start(&self.app, config()).await
            }
            started => started,
        }
    }
}
