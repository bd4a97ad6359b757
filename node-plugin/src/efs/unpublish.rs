//! `NodeUnpublishVolume`.
//!
//! *Flow.* Unmount everything stacked at the target, remove the target, close ports that nothing
//! needs any more. *Guarantees.* It returns in time, whatever the server does: what does not unmount
//! by then is taken out of the tree. The target is looked at in the mount table only, since asking a
//! mount whose server is silent waits for ever. Nothing there is success.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use csi_core::rpc_error::{Chain, GrpcCode};
use nix::errno::Errno;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tonic::Code;
use tracing::{info, warn};

use super::ports::{Ports, Tunnel};
use crate::kernel::nfs::{Nfs, NfsStep, Tunnelled};
use crate::kernel::{KernelError, MountEntry};

/// How often the mount table is looked at for an unmount that has not returned.
const POLL: Duration = Duration::from_millis(50);
/// How often a mount that is in use is tried again: processes of the pod may be about to end.
const BUSY_POLL: Duration = Duration::from_millis(200);
/// Taking a mount out of the tree needs no server; beyond this, something else is wrong.
const DETACH_LIMIT: Duration = Duration::from_secs(5);
/// More mounts on one target than any number of lost replies explains.
const STACK: usize = 64;

/// Why a target is not cleared.
#[derive(Debug, thiserror::Error)]
pub enum UnpublishError {
    /// A system call fails.
    #[error("cannot clear {}", path.display())]
    Kernel {
        /// The target.
        path: PathBuf,
        /// What failed.
        source: KernelError,
    },
    /// The mount cannot be taken out of the tree.
    #[error("{} is still mounted, although it was detached; is it mounted again and again?", path.display())]
    Stuck {
        /// The target.
        path: PathBuf,
    },
}

impl GrpcCode for UnpublishError {
    fn code(&self) -> Code {
        match self {
            Self::Kernel { source, .. } => source.code(),
            Self::Stuck { .. } => Code::Internal,
        }
    }
}

/// Clears the target. Each unmount gets `patience`.
///
/// # Errors
/// [`UnpublishError`].
pub(crate) async fn unpublish<K: Nfs, T: Tunnel>(
    kernel: &K,
    ports: &Ports<T>,
    target: &Path,
    patience: Duration,
) -> Result<(), UnpublishError> {
    let failed = |source| UnpublishError::Kernel { path: target.to_owned(), source };
    let target = kernel.resolve(target).await.map_err(failed)?;
    let until = Instant::now() + patience;
    let mut used = BTreeSet::new();
    for _ in 0..STACK {
        let stacked = at(kernel, &target).map_err(failed)?;
        let Some(top) = stacked.last() else {
            kernel.take(NfsStep::Remove(target.clone())).await.map_err(failed)?;
            close(kernel, ports, used).await;
            return Ok(());
        };
        used.extend(Tunnelled::of(top).map(|mount| mount.port));
        peel(kernel, &target, stacked.len(), until).await.map_err(failed)?;
    }
    Err(UnpublishError::Stuck { path: target })
}

fn at<K: Nfs>(kernel: &K, target: &Path) -> Result<Vec<MountEntry>, KernelError> {
    Ok(kernel.mounts()?.into_iter().filter(|entry| entry.at == target).collect())
}

/// Takes away the topmost of `height` mounts.
async fn peel<K: Nfs>(
    kernel: &K,
    target: &Path,
    height: usize,
    until: Instant,
) -> Result<(), KernelError> {
    match timeout_at(until, unmount(kernel, target, height)).await {
        Ok(result) => return result,
        Err(_elapsed) => warn!(
            path = %target.display(),
            "not unmounted in time; detaching it: what was not written yet is written if its server \
             comes back"
        ),
    }
    // It may hang as the unmount did, after the mount has left the tree.
    let detached = async {
        tokio::select! {
            result = kernel.take(NfsStep::Detach(target.to_owned())) => result,
            result = gone(kernel, target, height) => result,
        }
    };
    match timeout(DETACH_LIMIT, detached).await {
        Ok(result) => result,
        // The caller finds it still there, and says so.
        Err(_elapsed) => Ok(()),
    }
}

/// Unmounts, again while the mount is in use. The mount leaves the tree before its last data is
/// written, so the table is asked as well as the call.
async fn unmount<K: Nfs>(kernel: &K, target: &Path, height: usize) -> Result<(), KernelError> {
    loop {
        let result = tokio::select! {
            result = kernel.take(NfsStep::Unmount(target.to_owned())) => result,
            result = gone(kernel, target, height) => result,
        };
        match result {
            Err(error) if is_busy(&error) => sleep(BUSY_POLL).await,
            result => return result,
        }
    }
}

async fn gone<K: Nfs>(kernel: &K, target: &Path, height: usize) -> Result<(), KernelError> {
    loop {
        sleep(POLL).await;
        if at(kernel, target)?.len() < height {
            return Ok(());
        }
    }
}

fn is_busy(error: &KernelError) -> bool {
    matches!(error, KernelError::Call { source, .. }
        if source.raw_os_error() == Some(Errno::EBUSY as i32))
}

/// Closes ports that nothing needs. The volume is unpublished whatever comes of it; what cannot be
/// closed now, later rounds close.
async fn close<K: Nfs, T: Tunnel>(kernel: &K, ports: &Ports<T>, used: BTreeSet<u16>) {
    for port in used {
        match ports.release(kernel, port).await {
            Ok(true) => {}
            Ok(false) => info!(port, "the port is still in use"),
            Err(error) => warn!(port, error = %Chain(&error), "the port is not closed yet"),
        }
    }
}
