//! `NodePublishVolume`.
//!
//! *Flow.* Prove which disk is the volume; show the staged directory, or the device, at the target.
//! *Guarantees.* A read-only target was never writable. *Errors.* What is at the target already is
//! never replaced, unless its disk is gone.

use std::path::PathBuf;

use csi_core::rpc_error::GrpcCode;
use tonic::Code;

use crate::apply::{StepFailed, apply};
use crate::ebs::request::Publish;
use crate::kernel::{Disk, Kernel, KernelError};
use crate::observe::{self, FindError};
use crate::plan::publish::{PublishConflict, plan};

/// Why a volume is not published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// Its disk cannot be used.
    #[error(transparent)]
    Find(#[from] FindError),
    /// A path cannot be looked at.
    #[error("cannot publish at {}", path.display())]
    Look {
        /// The target.
        path: PathBuf,
        /// What failed.
        source: KernelError,
    },
    /// What is there stands against it.
    #[error("cannot publish at {}", path.display())]
    Conflict {
        /// The target.
        path: PathBuf,
        /// What is there.
        source: PublishConflict,
    },
    /// A step failed.
    #[error(transparent)]
    Step(#[from] StepFailed),
}

impl GrpcCode for PublishError {
    fn code(&self) -> Code {
        match self {
            Self::Find(error) => error.code(),
            Self::Look { source, .. } => source.code(),
            Self::Conflict { source, .. } => source.code(),
            Self::Step(error) => error.code(),
        }
    }
}

/// Publishes the volume that is on the disk that was found and pinned.
///
/// # Errors
/// [`PublishError`].
pub fn publish<K: Kernel>(
    kernel: &K,
    (disk, pin): (Disk, K::Pin),
    request: &Publish,
) -> Result<(), PublishError> {
    let Publish { target, publish, .. } = request;
    let look = |source| PublishError::Look { path: target.clone(), source };
    let seen = observe::publish(kernel, &disk, &publish.source, target).map_err(look)?;
    let conflict = |source| PublishError::Conflict { path: target.clone(), source };
    let steps = plan(&seen, publish).map_err(conflict)?;
    Ok(apply(kernel, Some(&pin), steps)?)
}
