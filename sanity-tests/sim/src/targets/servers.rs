//! The NFS servers behind mount targets: one for each access point and kind of access, started at
//! the first connection and stopped when nobody has needed it for a while.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, Weak};

use tokio::sync::Mutex;
use tokio::time::{Duration, Instant, interval};

use super::TargetError;
use super::check::Client;
use super::export::Export;
use super::ganesha::Ganesha;

/// How long a server without a connection runs on. Its memory of open files goes with it, so this
/// is longer than any outage that a test makes.
const IDLE: Duration = Duration::from_mins(3);

/// Servers that run at once while some of them are idle: each takes up to 50 MiB.
const MOST: usize = 40;

/// The servers and the data of all file systems.
#[derive(Debug)]
pub struct Servers {
    folder: PathBuf,
    slots: std::sync::Mutex<BTreeMap<Export, Arc<Slot>>>,
}

/// The place of one server.
#[derive(Debug)]
struct Slot {
    number: usize,
    users: AtomicUsize,
    server: Mutex<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    ganesha: Ganesha,
    /// Device and inode of the directory that it shows.
    directory: (u64, u64),
    used: Instant,
}

/// Somebody needs a server.
#[derive(Debug)]
pub(super) struct Hold {
    slot: Arc<Slot>,
    pub(super) address: SocketAddr,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.slot.users.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Servers {
    /// Servers whose data and own files lie in a folder, which must exist. Must be called within
    /// a tokio runtime.
    #[must_use]
    pub fn new(folder: &Path) -> Arc<Self> {
        let this = Arc::new(Self { folder: folder.to_owned(), slots: std::sync::Mutex::default() });
        tokio::spawn(sweep(Arc::downgrade(&this)));
        this
    }

    /// Where the data of a file system lies. It is made if it is not there.
    pub fn data(&self, file_system: &str) -> Result<PathBuf, TargetError> {
        let path = self.folder.join(file_system);
        let error = |source| TargetError::File { path: path.clone(), source };
        if !path.exists() {
            DirBuilder::new().recursive(true).mode(0o755).create(&path).map_err(error)?;
        }
        fs::canonicalize(&path).map_err(error)
    }

    /// A server for a client of a file system.
    pub(super) async fn hold(
        &self,
        file_system: &str,
        client: &Client,
    ) -> Result<Hold, TargetError> {
        let export = Export::of(client, &self.data(file_system)?)?;
        let slot = self.slot(&export);
        let mut server = slot.server.lock().await;
        let directory = identity(&export.path)?;
        // A directory of the same path may be another one: deleted, and made again for a new
        // access point. A server goes on with the one that it started with.
        let is_right =
            |running: &mut Running| running.ganesha.is_alive() && running.directory == directory;
        if !server.as_mut().is_some_and(is_right) {
            *server = None;
        }
        let running = if let Some(running) = server.take() {
            running
        } else {
            self.make_room().await;
            let folder = self.folder.join(format!(".server-{}", slot.number));
            let ganesha = Ganesha::start(&export, &folder).await?;
            Running { ganesha, directory, used: Instant::now() }
        };
        let address = running.ganesha.address;
        *server = Some(running);
        slot.users.fetch_add(1, Ordering::Relaxed);
        drop(server);
        Ok(Hold { slot, address })
    }

    fn slot(&self, export: &Export) -> Arc<Slot> {
        self.with(|slots| {
            let number = slots.len();
            let new = || Slot { number, users: AtomicUsize::new(0), server: Mutex::default() };
            Arc::clone(slots.entry(export.clone()).or_insert_with(|| Arc::new(new())))
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut BTreeMap<Export, Arc<Slot>>) -> T) -> T {
        act(&mut self.slots.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn all(&self) -> Vec<Arc<Slot>> {
        self.with(|slots| slots.values().map(Arc::clone).collect())
    }

    /// Stops the server that was idle longest, if many run. One that is being started or stopped
    /// is locked and left alone.
    async fn make_room(&self) {
        let slots = self.all();
        let mut idle = Vec::new();
        let mut running = 0;
        for slot in &slots {
            if let Ok(server) = slot.server.try_lock()
                && let Some(found) = server.as_ref()
            {
                running += 1;
                if slot.users.load(Ordering::Relaxed) == 0 {
                    idle.push((found.used, slot));
                }
            }
        }
        let longest = idle.into_iter().min_by_key(|(used, _)| *used);
        if running >= MOST
            && let Some((_, slot)) = longest
        {
            slot.stop_if(|_| true).await;
        }
    }

    /// How many servers run.
    pub async fn running(&self) -> usize {
        let mut running = 0;
        for slot in self.all() {
            running += usize::from(slot.server.lock().await.is_some());
        }
        running
    }

    /// Kills every server and waits for their ends.
    pub async fn stop(&self) {
        for slot in self.all() {
            if let Some(running) = slot.server.lock().await.take() {
                running.ganesha.stop().await;
            }
        }
    }
}

fn identity(path: &Path) -> Result<(u64, u64), TargetError> {
    let found =
        fs::metadata(path).map_err(|source| TargetError::File { path: path.to_owned(), source })?;
    Ok((found.dev(), found.ino()))
}

/// Stops servers that nobody needs any more.
async fn sweep(servers: Weak<Servers>) {
    let mut ticks = interval(Duration::from_secs(1));
    loop {
        ticks.tick().await;
        let Some(servers) = servers.upgrade() else { return };
        for slot in servers.all() {
            slot.sweep().await;
        }
    }
}

impl Slot {
    async fn sweep(&self) {
        self.stop_if(|running| running.used.elapsed() > IDLE).await;
    }

    /// Stops the server if nobody uses it and it fits.
    async fn stop_if(&self, fits: impl FnOnce(&Running) -> bool) {
        let mut server = self.server.lock().await;
        let is_idle = server.as_mut().is_some_and(|running| {
            if self.users.load(Ordering::Relaxed) > 0 {
                running.used = Instant::now();
                return false;
            }
            fits(running)
        });
        let idle = if is_idle { server.take() } else { None };
        drop(server);
        if let Some(running) = idle {
            running.ganesha.stop().await;
        }
    }
}
