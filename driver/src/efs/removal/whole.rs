//! A whole file system, open at its root: mounted through the tunnel of the controller's pod.
//!
//! The mount is attached nowhere. It is a file descriptor (`fsmount(2)`), and the kernel unmounts it
//! when that is closed: also when the process dies, by whatever signal. So there is no folder in
//! which a whole file system could be found, and nothing to clean up after a crash.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use csi_core::{FileSystemId, GrpcCode};
use csi_serve::runtime::apart;
use efs_tunnel::Identity;
use efs_tunnel::control::{Client, ClientError, Ensure, RefusalKind};
use efs_tunnel::identity::{Authority, CredentialsMethod, InvalidText, Region, Target, Tls};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen,
};
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};
use tonic::Code;
use tracing::{debug, info};

/// How long a mount may take. Without an answer the kernel itself gives up later.
const PATIENCE: Duration = Duration::from_secs(30);
/// Tries to close a port, a second apart: the kernel forgets a server a moment after its last mount.
const CLOSES: u32 = 5;

/// Opens whole file systems. Implementations: the tunnel, and folders in the tests.
pub trait Wholes: Send + Sync + 'static {
    /// Opens the root of a file system.
    fn open(&self, way: Way) -> impl Future<Output = Result<Arc<Whole>, WholeError>> + Send;
}

/// How to get to a file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// The file system.
    pub file_system: FileSystemId,
    /// Whether the VPC's resolver knows its name: not, if it is in another account.
    pub by_name: bool,
    /// Addresses of its mount targets.
    pub addresses: Vec<IpAddr>,
}

/// A file system, open at its root. It is closed when this is dropped.
#[derive(Debug)]
pub struct Whole {
    root: Option<OwnedFd>,
    port: Option<Port>,
}

impl Whole {
    /// The file system whose root is open.
    #[must_use]
    pub fn new(root: OwnedFd) -> Self {
        Self { root: Some(root), port: None }
    }

    /// Its root.
    ///
    /// # Errors
    /// Never, while it is not dropped.
    pub fn root(&self) -> io::Result<BorrowedFd<'_>> {
        self.root.as_ref().map(AsFd::as_fd).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        let (Some(root), Some(port)) = (self.root.take(), self.port.take()) else { return };
        // The runtime may have ended; then the process does, and the kernel closes both.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(port.close(root));
        }
    }
}

/// Why a file system is not open.
#[derive(Debug, thiserror::Error)]
pub enum WholeError {
    /// The tunnel gives no port.
    #[error("no port of the tunnel")]
    Tunnel(#[from] ClientError),
    /// A name that is put together is none.
    #[error("no way to the file system")]
    Name(#[from] InvalidText),
    /// No mount target is known.
    #[error("{file_system} has no available mount target; make one")]
    NoTarget {
        /// The file system.
        file_system: FileSystemId,
    },
    /// The kernel does not mount it.
    #[error("cannot mount {file_system}{}{said}", hint(*.errno))]
    Mount {
        /// The file system.
        file_system: FileSystemId,
        /// What the kernel and the tunnel say is wrong.
        said: String,
        /// What the kernel answered.
        #[source]
        errno: Errno,
    },
    /// The mount goes another way than through the port that was opened for it.
    #[error(
        "the kernel goes to {file_system} through a port of another file system or access point; \
         run the controller without hostNetwork"
    )]
    Merged {
        /// The file system.
        file_system: FileSystemId,
    },
    /// No answer.
    #[error("{file_system} was not mounted within {PATIENCE:?}{said}")]
    TimedOut {
        /// The file system.
        file_system: FileSystemId,
        /// What the tunnel says is wrong.
        said: String,
    },
    /// The system gives no thread.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
}

fn hint(errno: Errno) -> &'static str {
    match errno {
        Errno::PERM => ": the controller's container needs the capability SYS_ADMIN",
        Errno::ACCESS => {
            ": access denied; the driver's role needs elasticfilesystem:ClientMount, ClientWrite \
             and ClientRootAccess on the file system"
        }
        Errno::NODEV => ": the node's kernel has no NFS client",
        Errno::NOSYS => ": the node's kernel is older than 5.6",
        _ => "",
    }
}

impl GrpcCode for WholeError {
    fn code(&self) -> Code {
        match self {
            Self::Tunnel(ClientError::Refused(refusal)) => match refusal.kind {
                RefusalKind::Exhausted => Code::ResourceExhausted,
                RefusalKind::Invalid | RefusalKind::Version => Code::Internal,
                RefusalKind::InUse
                | RefusalKind::Taken
                | RefusalKind::Failed
                | RefusalKind::Unknown => Code::Unavailable,
            },
            Self::Tunnel(ClientError::Unexpected { .. }) | Self::Name(_) => Code::Internal,
            Self::Tunnel(ClientError::Unreachable { .. } | ClientError::TimedOut { .. })
            | Self::TimedOut { .. }
            | Self::Thread(_) => Code::Unavailable,
            Self::NoTarget { .. } | Self::Merged { .. } => Code::FailedPrecondition,
            Self::Mount { errno, .. } => match *errno {
                Errno::ACCESS => Code::PermissionDenied,
                Errno::PERM | Errno::NODEV | Errno::NOSYS => Code::FailedPrecondition,
                _ => Code::Unavailable,
            },
        }
    }
}

/// Where file systems are, as the operator says.
#[derive(Debug, Clone)]
pub struct Where {
    /// The region.
    pub region: Region,
    /// Suffix of DNS names, instead of the region's.
    pub suffix: Option<String>,
    /// Authorities that vouch for mount targets, instead of Amazon's.
    pub ca_file: Option<PathBuf>,
}

/// Mounts through the tunnel.
#[derive(Debug)]
pub struct ThroughTunnel {
    tunnel: Client,
    place: Where,
    /// Who is mounted or about to be.
    mounts: Mutex<HashMap<Identity, Slot>>,
}

/// One identity's mount. Locked while it is made and while its port is closed.
type Slot = Arc<tokio::sync::Mutex<Weak<Whole>>>;

impl ThroughTunnel {
    /// Mounts through the tunnel whose control socket is `socket`.
    #[must_use]
    pub fn new(socket: PathBuf, place: Where) -> Self {
        Self { tunnel: Client::new(socket), place, mounts: Mutex::default() }
    }

    fn identity(&self, way: &Way) -> Result<(Identity, Vec<Target>), WholeError> {
        let Where { region, suffix, ca_file } = &self.place;
        let name = region.name_of(way.file_system.as_str(), suffix.as_deref());
        let addresses = way.addresses.iter().map(|address| address.to_string().parse());
        let mut targets = addresses.collect::<Result<Vec<Target>, _>>()?;
        if way.by_name {
            targets.insert(0, name.parse()?);
        }
        let file_system = way.file_system.clone();
        let Some(target) = targets.first().cloned() else {
            return Err(WholeError::NoTarget { file_system });
        };
        targets.remove(0);
        let identity = Identity {
            file_system: file_system.as_str().parse()?,
            access_point: None,
            region: region.clone(),
            target,
            tls: Some(Tls {
                server_name: name.parse()?,
                check_name: true,
                authority: match ca_file {
                    Some(path) => Authority::File { path: path.clone() },
                    None => Authority::of_region(region),
                },
                iam: Some(CredentialsMethod::Default),
            }),
        };
        Ok((identity, targets))
    }

    fn slot(&self, identity: &Identity) -> Slot {
        let mut mounts = self.mounts.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(mounts.entry(identity.clone()).or_default())
    }

    /// What the tunnel says of a port: its trouble, and whether the kernel uses it.
    async fn status(&self, port: u16) -> (String, bool) {
        let served = self.tunnel.list().await.unwrap_or_default();
        let Some(status) = served.into_iter().find(|status| status.port == port) else {
            return (String::new(), false);
        };
        let said = status.last_error.map(|error| format!("; the tunnel says: {error}"));
        (said.unwrap_or_default(), status.used_by_kernel)
    }

    async fn mount(&self, way: &Way, port: u16) -> Result<OwnedFd, WholeError> {
        let file_system = || way.file_system.clone();
        let mounting = timeout(PATIENCE, apart("efs-mount", move || mount(port)));
        let mounted = match mounting.await {
            Ok(ended) => ended.map_err(WholeError::Thread)?,
            Err(_elapsed) => {
                let (said, _) = self.status(port).await;
                return Err(WholeError::TimedOut { file_system: file_system(), said });
            }
        };
        let (said, is_used) = self.status(port).await;
        match mounted {
            // It would be deleted in whatever is behind that other port.
            Ok(_elsewhere) if !is_used => Err(WholeError::Merged { file_system: file_system() }),
            Ok(root) => Ok(root),
            Err((errno, words)) => {
                let said = words + &said;
                Err(WholeError::Mount { file_system: file_system(), said, errno })
            }
        }
    }
}

impl Wholes for ThroughTunnel {
    #[expect(clippy::significant_drop_tightening, reason = "the slot is locked while it is filled")]
    async fn open(&self, way: Way) -> Result<Arc<Whole>, WholeError> {
        let (identity, failover) = self.identity(&way)?;
        let slot = self.slot(&identity);
        let mut held = Arc::clone(&slot).lock_owned().await;
        if let Some(whole) = held.upgrade() {
            return Ok(whole);
        }
        let ensured = self.tunnel.ensure(Ensure { identity, failover, port: None }).await?;
        let port = Port { number: ensured.port, tunnel: self.tunnel.clone(), slot };
        let root = self.mount(&way, ensured.port).await?;
        debug!(file_system = %way.file_system, port = ensured.port, "mounted");
        let whole = Arc::new(Whole { root: Some(root), port: Some(port) });
        *held = Arc::downgrade(&whole);
        Ok(whole)
    }
}

/// A port that is closed after its mount.
#[derive(Debug)]
struct Port {
    number: u16,
    tunnel: Client,
    slot: Slot,
}

impl Port {
    async fn close(self, root: OwnedFd) {
        let Self { number, tunnel, slot } = self;
        // The last one to close it waits until the kernel has said goodbye to the server.
        if apart("efs-unmount", move || drop(root)).await.is_err() {
            return;
        }
        for _ in 0..CLOSES {
            let held = slot.lock().await;
            if held.strong_count() > 0 {
                return;
            }
            match tunnel.release(number).await {
                Ok(_) => return,
                Err(error) => debug!(number, %error, "the port stays open for now"),
            }
            drop(held);
            sleep(Duration::from_secs(1)).await;
        }
        info!(port = number, "the port stays open; it is taken again by the next deletion");
    }
}

/// Mounts the root of what is behind a port of 127.0.0.1, attached nowhere. A call that gets no
/// answer fails after half a minute instead of waiting for ever: a deletion can be repeated.
fn mount(port: u16) -> Result<OwnedFd, (Errno, String)> {
    let options = [
        ("source", "127.0.0.1:/".to_owned()),
        ("vers", "4.1".to_owned()),
        ("proto", "tcp".to_owned()),
        ("addr", "127.0.0.1".to_owned()),
        ("clientaddr", "127.0.0.1".to_owned()),
        ("port", port.to_string()),
        ("timeo", "100".to_owned()),
        ("retrans", "2".to_owned()),
    ];
    let context =
        fsopen("nfs4", FsOpenFlags::FSOPEN_CLOEXEC).map_err(|errno| (errno, String::new()))?;
    let made = || -> Result<OwnedFd, Errno> {
        for (key, value) in &options {
            fsconfig_set_string(context.as_fd(), *key, value.as_str())?;
        }
        for flag in ["soft", "noresvport"] {
            fsconfig_set_flag(context.as_fd(), flag)?;
        }
        fsconfig_create(context.as_fd())?;
        let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NODEV
            | MountAttrFlags::MOUNT_ATTR_NOEXEC
            | MountAttrFlags::MOUNT_ATTR_NOATIME;
        fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
    };
    made().map_err(|errno| (errno, kernels_words(&context)))
}

/// What the kernel has to say about a mount that failed: lines that begin with `e`, `w` or `i`.
fn kernels_words(context: &OwnedFd) -> String {
    let mut words = String::new();
    let mut line = [0_u8; 512];
    while let Ok(length @ 1..) = rustix::io::read(context, &mut line) {
        let line = line.get(..length).unwrap_or_default();
        let text = String::from_utf8_lossy(line);
        // Writing to a text cannot fail.
        let _ = write!(words, "; the kernel says: {}", text.get(2..).unwrap_or_default().trim());
    }
    words
}
