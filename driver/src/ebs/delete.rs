//! `DeleteVolume`.

use std::sync::Arc;
use std::time::Duration;

use csi_core::ebs::Ebs;
use csi_core::{ApiError, ErrorKind, GrpcCode, VolumeId};
use tokio::time::Instant;
use tonic::Code;

use super::Shared;
use crate::call::repeat;

const BOUND: Duration = Duration::from_mins(1);

/// Why a volume was not deleted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DeleteVolumeError {
    /// It is attached.
    #[error("volume {volume} is in use; it can be deleted when it is detached")]
    InUse {
        /// The volume.
        volume: VolumeId,
        /// EC2's answer.
        #[source]
        error: ApiError,
    },
    /// EC2 refused, or did not answer.
    #[error("volume {volume} was not deleted")]
    Failed {
        /// The volume.
        volume: VolumeId,
        /// EC2's answer, or its absence.
        #[source]
        error: ApiError,
    },
}

impl GrpcCode for DeleteVolumeError {
    fn code(&self) -> Code {
        match self {
            Self::InUse { .. } => Code::FailedPrecondition,
            Self::Failed { error, .. } => error.kind.grpc_code(),
        }
    }
}

/// Deletes a volume; one that does not exist is deleted already. Returns when EC2 has accepted
/// it: the volume takes no part in anything from then on, though reads may show it for a while.
pub(super) async fn delete<C: Ebs>(
    shared: Arc<Shared<C>>,
    volume: VolumeId,
) -> Result<(), DeleteVolumeError> {
    let until = Instant::now() + BOUND;
    if let Err(failed) = repeat(until, || shared.ec2.delete_volume(volume.clone())).await {
        let error = failed.error;
        match error.kind {
            ErrorKind::VolumeNotFound => {}
            ErrorKind::VolumeInUse => return Err(DeleteVolumeError::InUse { volume, error }),
            _ => return Err(DeleteVolumeError::Failed { volume, error }),
        }
    }
    // Even if EC2 does not know it any more: reads may still show what a try deleted whose reply
    // was lost.
    shared.recent.deleted(volume.as_str());
    Ok(())
}
