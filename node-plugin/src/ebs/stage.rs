//! `NodeStageVolume`.
//!
//! *Flow.* Wait for the disk, prove its identity, read it; format what is proved blank, mount,
//! grow. *Guarantees.* A disk that is not proved blank is never formatted; a repeated call changes
//! nothing. *Errors.* Every refusal names disk, path and reason.

use std::path::PathBuf;

use csi_core::VolumeId;
use csi_core::rpc_error::GrpcCode;
use tonic::Code;

use crate::apply::{StepFailed, apply};
use crate::ebs::request::Stage;
use crate::kernel::{Disk, Kernel, KernelError};
use crate::observe::{self, FindError};
use crate::plan::stage::{StageConflict, plan};

/// Why a volume is not staged.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// Its disk cannot be used.
    #[error(transparent)]
    Find(#[from] FindError),
    /// Disk or path cannot be looked at. An unreadable disk is never taken for a blank one.
    #[error("cannot stage {volume} at {}", path.display())]
    Look {
        /// The volume.
        volume: VolumeId,
        /// The staging path.
        path: PathBuf,
        /// What failed.
        source: Box<KernelError>,
    },
    /// What is there stands against it.
    #[error("cannot stage {volume} at {}", path.display())]
    Conflict {
        /// The volume.
        volume: VolumeId,
        /// The staging path.
        path: PathBuf,
        /// What is there.
        source: Box<StageConflict>,
    },
    /// A step failed.
    #[error("cannot stage {volume} at {}", path.display())]
    Step {
        /// The volume.
        volume: VolumeId,
        /// The staging path.
        path: PathBuf,
        /// Which, and why.
        source: Box<StepFailed>,
    },
}

impl GrpcCode for StageError {
    fn code(&self) -> Code {
        match self {
            Self::Find(error) => error.code(),
            Self::Look { source, .. } => source.code(),
            Self::Conflict { source, .. } => source.code(),
            Self::Step { source, .. } => source.code(),
        }
    }
}

/// Stages the volume on the disk that was found and pinned.
///
/// # Errors
/// [`StageError`].
pub fn stage<K: Kernel>(
    kernel: &K,
    (disk, pin): (Disk, K::Pin),
    request: &Stage,
) -> Result<(), StageError> {
    let Some(want) = &request.file_system else { return Ok(()) };
    let (volume, path) = (request.wanted.volume.clone(), request.path.clone());
    let seen = match observe::stage(kernel, disk, &pin, &path) {
        Ok(seen) => seen,
        Err(source) => return Err(StageError::Look { volume, path, source: Box::new(source) }),
    };
    let steps = match plan(&seen, want) {
        Ok(steps) => steps,
        Err(source) => return Err(StageError::Conflict { volume, path, source: Box::new(source) }),
    };
    apply(kernel, Some(&pin), steps).map_err(|source| StageError::Step {
        volume,
        path,
        source: Box::new(source),
    })
}
