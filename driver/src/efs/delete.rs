//! `DeleteVolume`.

use std::sync::Arc;
use std::time::Duration;

use csi_core::efs::{AccessPoint, AccessPointQuery, Efs, LifeCycleState, Secrets};
use csi_core::{AccessPointId, ApiError, ErrorKind, FileSystemId, GrpcCode};
use tokio::time::Instant;
use tonic::Code;

use super::Shared;
use super::removal::tree::TreeError;
use super::removal::{Doomed, Remover, WholeError, Wholes};
use crate::call::repeat;

/// All calls to EFS. Deleting a directory takes as long as it takes.
const BOUND: Duration = Duration::from_mins(1);

/// Why a volume was not deleted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeleteVolumeError {
    /// EFS did not delete the access point.
    #[error("access point {access_point} was not deleted")]
    Refused {
        /// The access point.
        access_point: AccessPointId,
        /// EFS's answer, or its absence.
        #[source]
        error: ApiError,
    },
    /// EFS did not show the access point.
    #[error("cannot look at access point {access_point}, so its directory is not known")]
    Unseen {
        /// The access point.
        access_point: AccessPointId,
        /// EFS's answer, or its absence.
        #[source]
        error: ApiError,
    },
    /// The handle names another file system than the access point has.
    #[error("volume_id: access point {access_point} is one of {has}, not of {named}")]
    Elsewhere {
        /// The access point.
        access_point: AccessPointId,
        /// Its file system.
        has: FileSystemId,
        /// What the handle says.
        named: FileSystemId,
    },
    /// The other access points of the file system are not known.
    #[error(
        "cannot list the access points of {file_system}, so it is not known whose the directory is"
    )]
    Listing {
        /// The file system.
        file_system: FileSystemId,
        /// EFS's answer, or its absence.
        #[source]
        error: ApiError,
    },
    /// The addresses of a file system in another account are not known.
    #[error("cannot look at the mount targets of {file_system}, so it cannot be mounted")]
    Targets {
        /// The file system.
        file_system: FileSystemId,
        /// EFS's answer, or its absence.
        #[source]
        error: ApiError,
    },
    /// A volume that shares files with this one is being made.
    #[error("a volume with files in {path:?} is being made; try again")]
    Busy {
        /// The directory.
        path: String,
    },
    /// The file system is not mounted; nothing was deleted.
    #[error("the directory of access point {access_point} was not deleted, and so neither was it")]
    Whole {
        /// The access point.
        access_point: AccessPointId,
        /// Why not.
        #[source]
        error: Box<WholeError>,
    },
    /// The directory is not deleted, or not wholly; the next try goes on.
    #[error("the directory of access point {access_point} is not deleted yet")]
    Tree {
        /// The access point.
        access_point: AccessPointId,
        /// Why not.
        #[source]
        error: TreeError,
    },
}

impl GrpcCode for DeleteVolumeError {
    fn code(&self) -> Code {
        match self {
            Self::Refused { error, .. }
            | Self::Unseen { error, .. }
            | Self::Listing { error, .. }
            | Self::Targets { error, .. } => error.kind.grpc_code(),
            Self::Elsewhere { .. } => Code::InvalidArgument,
            Self::Busy { .. } => Code::Aborted,
            Self::Whole { error, .. } => error.code(),
            Self::Tree { error, .. } => error.code(),
        }
    }
}

/// A volume to delete.
pub(super) struct Deletion<C, W> {
    pub(super) shared: Arc<Shared<C>>,
    pub(super) remover: Option<Arc<Remover<W>>>,
    pub(super) secrets: Secrets,
    pub(super) file_system: FileSystemId,
    pub(super) access_point: AccessPointId,
}

impl<C: Efs, W: Wholes> Deletion<C, W> {
    /// Deletes a volume's access point, its directory first if that is asked for. What does not exist
    /// is deleted already.
    pub(super) async fn run(self) -> Result<(), DeleteVolumeError> {
        let efs = self.shared.efs(&self.secrets);
        let until = Instant::now() + BOUND;
        if let Some(remover) = &self.remover {
            let Some(own) = self.look(&efs, until).await? else { return Ok(()) };
            let ledger = self.shared.ledger(&self.file_system);
            let doomed = Doomed {
                efs: &efs,
                ledger: &ledger,
                roots: &self.shared.roots,
                secrets: &self.secrets,
                own: &own,
                until,
            };
            remover.remove(&doomed).await?;
        }
        self.delete(&efs).await
    }

    /// The access point as it is; `None` if it is gone.
    async fn look(
        &self,
        efs: &C,
        until: Instant,
    ) -> Result<Option<AccessPoint>, DeleteVolumeError> {
        let access_point = self.access_point.clone();
        let query = AccessPointQuery::Id(access_point.clone());
        let found = match repeat(until, || efs.describe_access_points(query.clone())).await {
            Ok(page) => page.items.into_iter().find(|found| found.id == access_point),
            Err(failed) if failed.error.kind == ErrorKind::AccessPointNotFound => None,
            Err(failed) => {
                return Err(DeleteVolumeError::Unseen { access_point, error: failed.error });
            }
        };
        let Some(found) = found.filter(|found| found.state != LifeCycleState::Deleted) else {
            return Ok(None);
        };
        if found.file_system == self.file_system {
            return Ok(Some(found));
        }
        let (has, named) = (found.file_system, self.file_system.clone());
        Err(DeleteVolumeError::Elsewhere { access_point, has, named })
    }

    async fn delete(&self, efs: &C) -> Result<(), DeleteVolumeError> {
        let access_point = &self.access_point;
        // The directory may have taken longer.
        let until = Instant::now() + BOUND;
        if let Err(failed) = repeat(until, || efs.delete_access_point(access_point.clone())).await
            && failed.error.kind != ErrorKind::AccessPointNotFound
        {
            let (access_point, error) = (access_point.clone(), failed.error);
            return Err(DeleteVolumeError::Refused { access_point, error });
        }
        self.shared.ledger(&self.file_system).deleted(access_point);
        Ok(())
    }
}
