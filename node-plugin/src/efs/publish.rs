//! `NodePublishVolume`.
//!
//! *Flow.* Look at the target; ask the tunnel for the port of the volume's identity; mount through
//! it. *Guarantees.* What is mounted at the target already is never replaced. What fails leaves
//! neither directory nor port. *Errors.* They say what the tunnel says, if it is about the way.

use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::time::Duration;

use csi_core::rpc_error::{Chain, GrpcCode};
use efs_tunnel::Identity;
use nix::errno::Errno;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tracing::{debug, info, warn};

use super::ports::{PortError, Ports, Tunnel};
use super::queue::{Queue, TooMany};
use super::request::Publish;
use super::route::{Route, RouteError};
use crate::kernel::nfs::{Nfs, NfsStep, Tunnelled};
use crate::kernel::{KernelError, MountEntry};

/// How far ahead of a reader the kernel reads: 15 reads, as for mounts of upstream's helper; since
/// Linux 5.4 the kernel's own default is 128 KiB.
const READ_AHEAD_KIB: u32 = 15_360;
/// Longest pause between two tries to mount.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How mounts are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MountSettings {
    /// How long a refused mount is tried again.
    pub retry_for: Duration,
    /// Whether the kernel's read-ahead is raised.
    pub read_ahead: bool,
}

/// Why a volume is not published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// There is no way to the file system.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// The operator's limit is reached.
    #[error(transparent)]
    TooMany(#[from] TooMany),
    /// The tunnel gives no port.
    #[error(transparent)]
    Port(#[from] PortError),
    /// What is at the target stands against it.
    #[error("cannot publish at {}", path.display())]
    Conflict {
        /// The target.
        path: PathBuf,
        /// What is there.
        source: Conflict,
    },
    /// The target cannot be looked at or made.
    #[error("cannot publish at {}", path.display())]
    Target {
        /// The target.
        path: PathBuf,
        /// What failed.
        source: KernelError,
    },
    /// The file system is not mounted.
    #[error("cannot mount {file_system}{}{}", hint(*errno), said(tunnel.as_deref()))]
    Mount {
        /// The file system.
        file_system: String,
        /// What mount(2) answered.
        errno: Errno,
        /// What the tunnel says is wrong with the way, if anything.
        tunnel: Option<String>,
        /// The call.
        source: KernelError,
    },
    /// Another call wants the volume unpublished.
    #[error("given up: the volume is being unpublished")]
    Stopped,
}

/// What stands at a target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// Another kind of mount.
    #[error("{fs} from {source_} is mounted there, which is not of this driver")]
    Foreign {
        /// Its type.
        fs: String,
        /// Its source.
        source_: String,
    },
    /// An EFS mount with other rights or of another file system.
    #[error("another volume is mounted there: {there}, not {wanted}")]
    OtherIdentity {
        /// What is there.
        there: String,
        /// What is asked for.
        wanted: String,
    },
    /// The same file system, another directory of it.
    #[error("directory {there:?} of the file system is mounted there, not {wanted:?}")]
    OtherPath {
        /// What is there.
        there: String,
        /// What is asked for.
        wanted: String,
    },
    /// The same, but one is read-only.
    #[error("it is mounted there {}", if *read_only { "read-only" } else { "writable" })]
    OtherMode {
        /// Whether what is there refuses writes.
        read_only: bool,
    },
}

impl GrpcCode for PublishError {
    fn code(&self) -> Code {
        match self {
            Self::Route(error) => error.code(),
            // As upstream's driver answers it.
            Self::TooMany(_) | Self::Stopped => Code::Aborted,
            Self::Port(error) => error.code(),
            Self::Conflict { .. } => Code::AlreadyExists,
            Self::Target { source, .. } => source.code(),
            Self::Mount { errno, .. } => match errno {
                Errno::EACCES | Errno::EPERM => Code::PermissionDenied,
                Errno::ENOENT => Code::NotFound,
                Errno::ENODEV | Errno::EPROTONOSUPPORT => Code::FailedPrecondition,
                Errno::EINVAL => Code::InvalidArgument,
                _ => Code::Unavailable,
            },
        }
    }
}

fn hint(errno: Errno) -> &'static str {
    match errno {
        Errno::EACCES | Errno::EPERM => {
            ", access denied: check that the access point exists, that the file system policy \
             allows elasticfilesystem:ClientMount, and whether the policy asks for the mount option \
             iam"
        }
        Errno::ENOENT => ", the directory in the volume handle does not exist",
        Errno::ENODEV => ", the node's kernel has no NFS client",
        Errno::EINVAL => ", the node's kernel refuses the mount options",
        _ => "",
    }
}

fn said(tunnel: Option<&str>) -> String {
    tunnel.map(|text| format!("; the tunnel says: {text}")).unwrap_or_default()
}

/// What publishing works with.
pub(crate) struct Means<'a, K, T> {
    pub(crate) kernel: &'a K,
    pub(crate) ports: &'a Ports<T>,
    pub(crate) queue: &'a Queue,
    pub(crate) settings: MountSettings,
}

/// Publishes the volume by this route. `stop` ends tries that have not succeeded yet.
///
/// # Errors
/// [`PublishError`].
pub(crate) async fn publish<K: Nfs, T: Tunnel>(
    means: &Means<'_, K, T>,
    request: &Publish,
    route: &Route,
    stop: CancellationToken,
) -> Result<(), PublishError> {
    let _turn = tokio::select! {
        turn = means.queue.turn(&route.identity.file_system) => turn?,
        () = stop.cancelled() => return Err(PublishError::Stopped),
    };
    let look = |source| PublishError::Target { path: request.target.clone(), source };
    let target = means.kernel.resolve(&request.target).await.map_err(look)?;
    let mounts = means.kernel.mounts().map_err(look)?;
    if let Some(top) = mounts.iter().rfind(|entry| entry.at == target) {
        return settle(means, request, route, top).await;
    }
    means.kernel.take(NfsStep::MakeDir(target.clone())).await.map_err(look)?;
    let result = through_tunnel(means, request, route, &target, &stop).await;
    if result.is_err() {
        // Best effort: an unpublication, or the next try, finds what is left.
        let removed = means.kernel.take(NfsStep::Remove(target)).await;
        if let Err(error) = removed {
            warn!(error = %Chain(&error), "the target's directory stays");
        }
    }
    result
}

/// Something is mounted at the target: it is what is asked for, or stands against it.
async fn settle<K: Nfs, T: Tunnel>(
    means: &Means<'_, K, T>,
    request: &Publish,
    route: &Route,
    top: &MountEntry,
) -> Result<(), PublishError> {
    let conflict = |source| PublishError::Conflict { path: request.target.clone(), source };
    let Some(mount) = Tunnelled::of(top) else {
        let (fs, source_) = (top.fs.clone(), top.source.clone());
        return Err(conflict(Conflict::Foreign { fs, source_ }));
    };
    let there = means.ports.identity_of(mount.port).await?;
    if !there.as_ref().is_some_and(|there| same_rights(there, &route.identity)) {
        let there = there.as_ref().map_or_else(|| "one that nobody knows".to_owned(), shown);
        let wanted = shown(&route.identity);
        return Err(conflict(Conflict::OtherIdentity { there, wanted }));
    }
    if mount.path != request.handle.path() {
        let (there, wanted) = (mount.path.to_owned(), request.handle.path().to_owned());
        return Err(conflict(Conflict::OtherPath { there, wanted }));
    }
    let read_only = top.is_read_only();
    if read_only != request.nfs.is_read_only() {
        return Err(conflict(Conflict::OtherMode { read_only }));
    }
    // It may be there because an earlier call was cut short before it could do this.
    raise_read_ahead(means, top).await;
    Ok(())
}

/// Whether two identities see the same with the same rights. By which name or address they go there,
/// and who vouches for it, changes with flags, and for a mount that was made by upstream's helper it
/// is not known in our words; kubelet publishes such mounts again when it starts.
fn same_rights(one: &Identity, other: &Identity) -> bool {
    let way = |identity: &Identity| identity.tls.as_ref().map(|tls| tls.iam.is_some());
    one.file_system == other.file_system
        && one.access_point == other.access_point
        && way(one) == way(other)
}

fn shown(identity: &Identity) -> String {
    let access_point = identity.access_point.as_ref().map_or("no access point", |id| id.as_str());
    let way = match &identity.tls {
        None => "in clear",
        Some(tls) if tls.iam.is_some() => "over TLS with IAM",
        Some(_) => "over TLS",
    };
    format!("{} with {access_point} {way} to {}", identity.file_system, identity.target)
}

async fn through_tunnel<K: Nfs, T: Tunnel>(
    means: &Means<'_, K, T>,
    request: &Publish,
    route: &Route,
    target: &Path,
    stop: &CancellationToken,
) -> Result<(), PublishError> {
    let lease = means.ports.lease(route).await?;
    let port = lease.port;
    let mounting = NfsStep::Mount {
        path: request.handle.path().to_owned(),
        at: target.to_owned(),
        flags: request.nfs.flags,
        data: request.nfs.data(port),
    };
    debug!(step = %mounting, port, "step");
    let result = mount(means, &mounting, route, stop).await;
    drop(lease);
    match result {
        Ok(()) => {
            let mounts = means.kernel.mounts().unwrap_or_default();
            if let Some(top) = mounts.iter().rfind(|entry| entry.at == target) {
                warn_if_merged(means, port);
                raise_read_ahead(means, top).await;
            }
            Ok(())
        }
        Err(error) => {
            // The kernel may need it for a moment; then the next round closes it.
            if let Err(error) = means.ports.release(means.kernel, port).await {
                info!(port, error = %Chain(&error), "the port stays open for now");
            }
            Err(error)
        }
    }
}

/// The kernel keeps one connection per server. If two mount targets claim to be one server, a mount
/// goes through the port of the other one, and so under its identity.
fn warn_if_merged<K: Nfs, T>(means: &Means<'_, K, T>, port: u16) {
    if means.kernel.servers().is_ok_and(|ports| !ports.contains(&port)) {
        warn!(
            port,
            "the kernel goes to this mount's server through another port: two mount targets claim to \
             be the same server"
        );
    }
}

/// Mounts, again while it may help. A new access point, and a file system policy that was just
/// changed, are refused for some seconds.
async fn mount<K: Nfs, T: Tunnel>(
    means: &Means<'_, K, T>,
    mounting: &NfsStep,
    route: &Route,
    stop: &CancellationToken,
) -> Result<(), PublishError> {
    let until = Instant::now() + means.settings.retry_for;
    let mut tries = 0;
    loop {
        let Err(source) = means.kernel.take(mounting.clone()).await else { return Ok(()) };
        tries += 1;
        let errno = errno(&source);
        let pause = pause(tries);
        if !may_pass(errno, route) || Instant::now() + pause > until {
            let tunnel = means.ports.trouble(&route.identity).await;
            let file_system = route.identity.file_system.to_string();
            return Err(PublishError::Mount { file_system, errno, tunnel, source });
        }
        info!(tries, error = %Chain(&source), "mounting again");
        tokio::select! {
            () = sleep(pause) => {}
            () = stop.cancelled() => return Err(PublishError::Stopped),
        }
    }
}

fn errno(error: &KernelError) -> Errno {
    match error {
        KernelError::Call { source, .. } => Errno::from_raw(source.raw_os_error().unwrap_or(0)),
        _ => Errno::UnknownErrno,
    }
}

/// Whether another try may succeed. What the list lacks would fail again.
fn may_pass(errno: Errno, route: &Route) -> bool {
    match errno {
        Errno::EACCES | Errno::EPERM => route.identity.access_point.is_some(),
        Errno::ECONNRESET
        | Errno::ECONNREFUSED
        | Errno::ECONNABORTED
        | Errno::EPIPE
        | Errno::ETIMEDOUT
        | Errno::EAGAIN
        | Errno::EIO => true,
        _ => false,
    }
}

/// 1.5 s, then half as much again each time, and up to a second more, so that a node's mounts do not
/// come back all at once.
fn pause(tries: i32) -> Duration {
    let grown = Duration::from_secs_f64(1.5_f64.powi(tries.min(10))).min(LONGEST_PAUSE);
    let jitter = RandomState::new().hash_one(tries) % 1_000;
    grown + Duration::from_millis(jitter)
}

async fn raise_read_ahead<K: Nfs, T>(means: &Means<'_, K, T>, top: &MountEntry) {
    if !means.settings.read_ahead {
        return;
    }
    let step = NfsStep::ReadAhead { device: top.device, kib: READ_AHEAD_KIB };
    if let Err(error) = means.kernel.take(step).await {
        // Reading is slower then, and nothing is wrong.
        info!(error = %Chain(&error), "the read-ahead stays as the kernel chose it");
    }
}
