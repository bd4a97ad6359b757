//! `NodeUnpublishVolume` and `NodeUnstageVolume`.
//!
//! *Flow.* Take away every mount stacked at the path, then the path. *Guarantees.* Nothing there is
//! success. *Errors.* What holds files, or is a symbolic link, is left alone.

use std::path::{Path, PathBuf};

use csi_core::id::InvalidId;
use csi_core::rpc_error::GrpcCode;
use tonic::Code;

use crate::apply::{StepFailed, apply};
use crate::ebs::request::Unmount;
use crate::kernel::{Kernel, KernelError, PathKind};
use crate::plan::unmount::{IsSymlink, plan};
use crate::plan::{Place, antechamber};

/// Why a path is not cleared.
#[derive(Debug, thiserror::Error)]
pub enum UnmountError {
    /// The path cannot be looked at.
    #[error("cannot clear {}", path.display())]
    Look {
        /// The path.
        path: PathBuf,
        /// What failed.
        source: KernelError,
    },
    /// The volume cannot exist, so what is mounted there is somebody else's.
    #[error("something is mounted at {}, but no such volume exists", path.display())]
    NoSuchVolume {
        /// The path.
        path: PathBuf,
        /// What is wrong with the id.
        source: InvalidId,
    },
    /// The path is a link.
    #[error("cannot clear {}", path.display())]
    IsSymlink {
        /// The path.
        path: PathBuf,
        /// Why not.
        source: IsSymlink,
    },
    /// A step failed.
    #[error(transparent)]
    Step(#[from] StepFailed),
}

impl GrpcCode for UnmountError {
    fn code(&self) -> Code {
        match self {
            Self::Look { source, .. } => source.code(),
            Self::NoSuchVolume { .. } => Code::NotFound,
            Self::IsSymlink { source, .. } => source.code(),
            Self::Step(error) => error.code(),
        }
    }
}

/// Clears the path, and the place beside it that publishing may have left.
///
/// # Errors
/// [`UnmountError`].
pub fn unmount<K: Kernel>(kernel: &K, request: &Unmount) -> Result<(), UnmountError> {
    let look = |source| UnmountError::Look { path: request.path.clone(), source };
    let place = place(kernel, &request.path).map_err(look)?;
    if let Err(invalid) = &request.volume
        && !place.mounts.is_empty()
    {
        let (path, source) = (request.path.clone(), invalid.clone());
        return Err(UnmountError::NoSuchVolume { path, source });
    }
    let beside = self::place(kernel, &antechamber(&place.path)).map_err(look)?;
    let steps = plan(&[&beside, &place])
        .map_err(|source| UnmountError::IsSymlink { path: request.path.clone(), source })?;
    Ok(apply(kernel, None, steps)?)
}

/// Looks at the path without asking a file system that is mounted there: it may not answer.
fn place<K: Kernel>(kernel: &K, path: &Path) -> Result<Place, KernelError> {
    let path = kernel.resolve(path)?;
    let mounts: Vec<_> = kernel.mounts()?.into_iter().filter(|entry| entry.at == path).collect();
    let kind = if mounts.is_empty() { kernel.kind(&path)? } else { PathKind::Other };
    Ok(Place { path, mounts, kind })
}
