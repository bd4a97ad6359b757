//! `DeleteVolume`.

use std::sync::Arc;
use std::time::Duration;

use csi_core::efs::Efs;
use csi_core::{AccessPointId, ApiError, ErrorKind, FileSystemId, GrpcCode};
use tokio::time::Instant;
use tonic::Code;

use super::Shared;
use crate::call::repeat;

const BOUND: Duration = Duration::from_mins(1);

/// Why a volume was not deleted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("access point {access_point} was not deleted")]
pub(crate) struct DeleteVolumeError {
    access_point: AccessPointId,
    /// EFS's answer, or its absence.
    #[source]
    error: ApiError,
}

impl GrpcCode for DeleteVolumeError {
    fn code(&self) -> Code {
        self.error.kind.grpc_code()
    }
}

/// Deletes a volume's access point; one that does not exist is deleted already. Its directory
/// stays, as it always has without `--delete-access-point-root-dir`.
pub(super) async fn delete<C: Efs>(
    shared: Arc<Shared<C>>,
    efs: C,
    file_system: FileSystemId,
    access_point: AccessPointId,
) -> Result<(), DeleteVolumeError> {
    let until = Instant::now() + BOUND;
    if let Err(failed) = repeat(until, || efs.delete_access_point(access_point.clone())).await
        && failed.error.kind != ErrorKind::AccessPointNotFound
    {
        return Err(DeleteVolumeError { access_point, error: failed.error });
    }
    shared.ledger(&file_system).deleted(&access_point);
    Ok(())
}
