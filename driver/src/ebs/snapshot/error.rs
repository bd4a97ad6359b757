//! How snapshots fail.

use csi_core::{ApiError, GrpcCode, SnapshotId, SnapshotName, VolumeId};
use tonic::Code;

/// Why there is no snapshot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CreateSnapshotError {
    /// The name could not be looked up; nothing was done.
    #[error("cannot look for snapshot {name}")]
    Look {
        /// The name.
        name: SnapshotName,
        /// EC2's answer, or its absence.
        #[source]
        error: ApiError,
    },
    /// There is no such volume.
    #[error("source_volume_id: volume {volume} does not exist")]
    NoVolume {
        /// The volume.
        volume: VolumeId,
    },
    /// The name is taken by a snapshot of another volume.
    #[error("snapshot {name} exists as {snapshot}, made from {has}, not from {wanted}")]
    Differs {
        /// The name.
        name: SnapshotName,
        /// The snapshot that has it.
        snapshot: SnapshotId,
        /// What that one was made from.
        has: String,
        /// What was asked for.
        wanted: VolumeId,
    },
    /// EC2 refused and did nothing.
    #[error("snapshot {name} was not created")]
    Refused {
        /// The name.
        name: SnapshotName,
        /// EC2's answer.
        #[source]
        error: ApiError,
    },
    /// Whether EC2 did anything is unknown.
    #[error("it is unknown whether snapshot {name} was created; the next try finds out")]
    Unknown {
        /// The name.
        name: SnapshotName,
        /// EC2's answer, or its absence.
        #[source]
        error: ApiError,
    },
    /// The snapshot was made and is not shown.
    #[error("snapshot {snapshot} was created and cannot be seen yet; the next try looks again")]
    Unseen {
        /// The snapshot.
        snapshot: SnapshotId,
        /// Why not, if that is known.
        #[source]
        error: Option<ApiError>,
    },
    /// The snapshot was made and failed.
    #[error("snapshot {snapshot} failed after its creation; the next try makes another")]
    Broken {
        /// The snapshot.
        snapshot: SnapshotId,
    },
    /// Two were made at once, and the younger one could not be deleted.
    #[error("{snapshot} is a second snapshot of volume {volume} and was not deleted")]
    LeftOver {
        /// The superfluous snapshot.
        snapshot: SnapshotId,
        /// Its volume.
        volume: VolumeId,
        /// EC2's answer, or its absence.
        #[source]
        error: Box<ApiError>,
    },
}

impl GrpcCode for CreateSnapshotError {
    fn code(&self) -> Code {
        match self {
            Self::NoVolume { .. } => Code::NotFound,
            Self::Differs { .. } => Code::AlreadyExists,
            Self::Look { error, .. } | Self::Refused { error, .. } => error.kind.grpc_code(),
            Self::Unknown { .. }
            | Self::Unseen { .. }
            | Self::Broken { .. }
            | Self::LeftOver { .. } => Code::Aborted,
        }
    }

    fn code_after_panic() -> Code {
        Code::Aborted
    }
}

/// Why a snapshot was not deleted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DeleteSnapshotError {
    /// It is used or locked.
    #[error("snapshot {snapshot} cannot be deleted: an image uses it, or it is locked")]
    InUse {
        /// The snapshot.
        snapshot: SnapshotId,
        /// EC2's answer.
        #[source]
        error: ApiError,
    },
    /// EC2 refused, or did not answer.
    #[error("snapshot {snapshot} was not deleted")]
    Failed {
        /// The snapshot.
        snapshot: SnapshotId,
        /// EC2's answer, or its absence.
        #[source]
        error: ApiError,
    },
}

impl GrpcCode for DeleteSnapshotError {
    fn code(&self) -> Code {
        match self {
            Self::InUse { .. } => Code::FailedPrecondition,
            Self::Failed { error, .. } => error.kind.grpc_code(),
        }
    }
}
