//! How snapshots fail.

use csi_core::rpc_error::open;
use csi_core::{ApiError, GrpcCode, Invalid, SnapshotId, SnapshotName, VolumeId};
use tonic::Code;

/// Why there is no snapshot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CreateSnapshotError {
    /// A parameter breaks a rule.
    #[error(transparent)]
    Invalid(#[from] Invalid),
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
    /// Whether a call made the snapshot cannot be seen.
    #[error("whether snapshot {name} was created cannot be seen; the next try looks again")]
    Unproved {
        /// The name.
        name: SnapshotName,
        /// Why not, if that is known.
        #[source]
        error: Option<ApiError>,
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
    /// EC2 refuses what the class asks for beside the snapshot, and nothing is left.
    #[error("snapshot {snapshot} cannot be {what}, so it was deleted again")]
    Unprotectable {
        /// The snapshot.
        snapshot: SnapshotId,
        /// What it cannot be.
        what: &'static str,
        /// EC2's answer.
        #[source]
        error: Box<ApiError>,
    },
    /// The snapshot is there, without something that the class asks for beside it.
    #[error("snapshot {snapshot} exists and is not {what} yet; the next try goes on with it")]
    Unprotected {
        /// The snapshot.
        snapshot: SnapshotId,
        /// What it is not.
        what: &'static str,
        /// EC2's answer, or its absence.
        #[source]
        error: Box<ApiError>,
    },
}

impl GrpcCode for CreateSnapshotError {
    fn code(&self) -> Code {
        match self {
            Self::Invalid(_) => Code::InvalidArgument,
            Self::NoVolume { .. } => Code::NotFound,
            Self::Differs { .. } => Code::AlreadyExists,
            // Nothing was done now, but an earlier call may have made the snapshot.
            Self::Look { error, .. } => open(error.kind.grpc_code()),
            Self::Refused { error, .. } => error.kind.grpc_code(),
            Self::Unprotectable { error, .. } => error.kind.grpc_code(),
            Self::Unknown { .. }
            | Self::Unproved { .. }
            | Self::Unseen { .. }
            | Self::Broken { .. }
            | Self::LeftOver { .. }
            | Self::Unprotected { .. } => Code::Aborted,
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

#[cfg(test)]
mod tests {
    use super::*;
    use csi_core::{ErrorKind, RunError};

    /// Codes that the sidecar does not take for the end.
    const OPEN: [Code; 4] =
        [Code::Aborted, Code::Unavailable, Code::DeadlineExceeded, Code::Cancelled];

    fn api_error(kind: ErrorKind) -> ApiError {
        ApiError {
            action: "Create",
            kind,
            code: String::new(),
            message: String::new(),
            request_id: None,
        }
    }

    #[test]
    fn a_panic_and_every_failure_with_a_possible_effect_leave_the_end_open() {
        let panicked = RunError::<CreateSnapshotError>::Panicked { key: String::new() };
        assert_eq!(panicked.code(), Code::Aborted);
        for error in with_a_possible_effect() {
            assert!(OPEN.contains(&error.code()), "{error}");
        }
    }

    fn with_a_possible_effect() -> Vec<CreateSnapshotError> {
        let name: SnapshotName = "snap-1".parse().unwrap();
        let snapshot: SnapshotId = "snap-0123456789abcdef0".parse().unwrap();
        let volume: VolumeId = "vol-0123456789abcdef0".parse().unwrap();
        let error = api_error(ErrorKind::Denied);
        vec![
            CreateSnapshotError::Look { name: name.clone(), error: error.clone() },
            CreateSnapshotError::Unproved { name: name.clone(), error: None },
            CreateSnapshotError::Unknown { name, error: error.clone() },
            CreateSnapshotError::Unseen { snapshot: snapshot.clone(), error: Some(error.clone()) },
            CreateSnapshotError::Broken { snapshot: snapshot.clone() },
            CreateSnapshotError::Unprotected {
                snapshot: snapshot.clone(),
                what: "locked",
                error: Box::new(error.clone()),
            },
            CreateSnapshotError::LeftOver { snapshot, volume, error: Box::new(error) },
        ]
    }
}
