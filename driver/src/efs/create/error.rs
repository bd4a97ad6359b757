//! How `CreateVolume` fails.

use std::fmt::Write as _;
use std::ops::RangeInclusive;

use csi_core::rpc_error::open;
use csi_core::{AccessPointId, ApiError, ErrorKind, FileSystemId, GrpcCode, Invalid, VolumeName};
use tonic::Code;

use super::super::ledger::Exhausted;
use super::super::objects::ObjectError;
use super::super::reach::ReachError;
use super::super::spec::Difference;

/// Why there is no volume.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CreateVolumeError {
    /// The request amounts to no access point.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// Which file system is meant is not known.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// How the file system is reached is not known.
    #[error(transparent)]
    Reach(#[from] ReachError),
    /// The file system does not exist.
    #[error("fileSystemId: there is no such file system in this account and region")]
    NoFileSystem(#[source] ApiError),
    /// The access points could not be listed.
    #[error("cannot list the access points of {file_system}, so no free number is known")]
    Listing {
        /// The file system.
        file_system: FileSystemId,
        /// EFS's answer, or its absence.
        #[source]
        error: ApiError,
    },
    /// Every number of the range is taken.
    #[error("{}", exhausted_text(.file_system, .range, .exhausted))]
    Exhausted {
        /// The file system.
        file_system: FileSystemId,
        /// The range.
        range: RangeInclusive<u32>,
        /// What became of its numbers.
        exhausted: Exhausted,
    },
    /// The name is taken by another volume.
    #[error(
        "volume {name} exists as {access_point} with {} {}, not {}",
        .difference.field, .difference.has, .difference.wanted
    )]
    Differs {
        /// The name.
        name: VolumeName,
        /// The access point that has its token.
        access_point: AccessPointId,
        /// How it differs.
        difference: Difference,
    },
    /// The access point failed.
    #[error(
        "access point {access_point} is in state error; delete it, and the next try makes another"
    )]
    Broken {
        /// The access point.
        access_point: AccessPointId,
    },
    /// EFS refused and did nothing.
    #[error("volume {name} was not created")]
    Refused {
        /// The name.
        name: VolumeName,
        /// EFS's answer.
        #[source]
        error: ApiError,
    },
    /// Whether EFS did anything is unknown.
    #[error("it is unknown whether volume {name} was created; the next try finds out")]
    Unknown {
        /// The name.
        name: VolumeName,
        /// EFS's answer, or its absence.
        #[source]
        error: ApiError,
    },
    /// The access point is made, and no listing shows it.
    #[error(
        "volume {name} is made as {access_point} and cannot be seen yet; the next try looks again"
    )]
    Unseen {
        /// The name.
        name: VolumeName,
        /// The access point.
        access_point: AccessPointId,
        /// Why it cannot be looked at, if so.
        #[source]
        error: Option<ApiError>,
    },
    /// The access point of an earlier try is not gone yet.
    #[error(
        "access point {access_point} of volume {name} is being deleted; the next try makes another"
    )]
    Leaving {
        /// The name.
        name: VolumeName,
        /// The access point.
        access_point: AccessPointId,
    },
    /// The directory is being deleted with another volume.
    #[error("directory {path:?} of volume {name} is being deleted with another volume; try again")]
    RootBusy {
        /// The name.
        name: VolumeName,
        /// The directory.
        path: String,
    },
    /// Others chose the same numbers again and again.
    #[error("other controllers chose the same number as volume {name} {numbers} times; try again")]
    Crowded {
        /// The name.
        name: VolumeName,
        /// Numbers that were given up.
        numbers: u32,
    },
    /// The access point has another's number and could not be deleted.
    #[error(
        "volume {name} is made as {access_point} with the number of {other}, and was not deleted; \
         the next try does it"
    )]
    Collision {
        /// The name.
        name: VolumeName,
        /// The access point.
        access_point: AccessPointId,
        /// The one that has the number too.
        other: AccessPointId,
        /// EFS's answer, or its absence.
        #[source]
        error: ApiError,
    },
}

fn exhausted_text(
    file_system: &FileSystemId,
    range: &RangeInclusive<u32>,
    exhausted: &Exhausted,
) -> String {
    let Exhausted { taken, reserved, resting, next } = exhausted;
    let (first, last) = (range.start(), range.end());
    let count = u64::from(last - first) + 1;
    let mut text = format!(
        "gidRangeStart, gidRangeEnd: none of the {count} numbers {first} to {last} is free in \
         {file_system}: access points have {taken}"
    );
    if *reserved > 0 {
        // Writing to a text cannot fail.
        let _ = write!(text, ", volumes being made {reserved}");
    }
    if let Some(next) = next {
        let next = next.as_secs().max(1);
        let _ = write!(text, ", and {resting} freed ones rest, the first for {next} s more");
    }
    text.push_str("; widen the range in a new class, use another file system, or delete volumes");
    text
}

impl GrpcCode for CreateVolumeError {
    fn code(&self) -> Code {
        match self {
            Self::Invalid(_) | Self::NoFileSystem(_) => Code::InvalidArgument,
            Self::Object(error) => error.code(),
            Self::Exhausted { .. } => Code::ResourceExhausted,
            Self::Differs { .. } => Code::AlreadyExists,
            Self::Reach(ReachError::NoTarget { .. }) => Code::FailedPrecondition,
            Self::Reach(
                ReachError::Targets { error, .. } | ReachError::FileSystem { error, .. },
            )
            | Self::Listing { error, .. } => look_code(error),
            Self::Refused { error, .. } => match error.kind {
                // The file system is being made or changed; that ends.
                ErrorKind::IncorrectState => Code::Unavailable,
                kind => kind.grpc_code(),
            },
            Self::Unknown { .. }
            | Self::Unseen { .. }
            | Self::Leaving { .. }
            | Self::RootBusy { .. }
            | Self::Crowded { .. }
            | Self::Broken { .. }
            | Self::Collision { .. } => Code::Aborted,
        }
    }

    fn code_after_panic() -> Code {
        Code::Aborted
    }
}

/// Nothing was done now, but an earlier call may have made the volume; what the user wrote wrong
/// has made none.
fn look_code(error: &ApiError) -> Code {
    match error.kind {
        ErrorKind::FileSystemNotFound | ErrorKind::InvalidParameter => Code::InvalidArgument,
        kind => open(kind.grpc_code()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use csi_core::RunError;
    use csi_core::rpc_error::is_final;
    use std::time::Duration;

    fn api_error(kind: ErrorKind) -> ApiError {
        ApiError {
            action: "CreateAccessPoint",
            kind,
            code: String::new(),
            message: String::new(),
            request_id: None,
        }
    }

    fn name() -> VolumeName {
        "pvc-1".parse().unwrap()
    }

    #[test]
    fn a_panic_and_every_failure_with_a_possible_effect_leave_the_end_open() {
        let panicked = RunError::<CreateVolumeError>::Panicked { key: String::new() };
        assert_eq!(panicked.code(), Code::Aborted);
        let access_point: AccessPointId = "fsap-01234567".parse().unwrap();
        let error = api_error(ErrorKind::Denied);
        let file_system: FileSystemId = "fs-92107410".parse().unwrap();
        for error in [
            CreateVolumeError::Unknown { name: name(), error: error.clone() },
            CreateVolumeError::Listing { file_system, error: error.clone() },
            CreateVolumeError::Unseen {
                name: name(),
                access_point: access_point.clone(),
                error: Some(error.clone()),
            },
            CreateVolumeError::Leaving { name: name(), access_point: access_point.clone() },
            CreateVolumeError::Crowded { name: name(), numbers: 8 },
            CreateVolumeError::Collision {
                name: name(),
                other: access_point.clone(),
                access_point,
                error,
            },
        ] {
            assert!(!is_final(error.code()), "{error}");
        }
    }

    #[test]
    fn every_refusal_has_its_code() {
        let code =
            |kind| CreateVolumeError::Refused { name: name(), error: api_error(kind) }.code();
        assert_eq!(code(ErrorKind::InvalidParameter), Code::InvalidArgument);
        assert_eq!(code(ErrorKind::Quota), Code::ResourceExhausted);
        assert_eq!(code(ErrorKind::Denied), Code::PermissionDenied);
        assert_eq!(code(ErrorKind::Credentials), Code::Unauthenticated);
        assert_eq!(code(ErrorKind::IncorrectState), Code::Unavailable);
        assert_eq!(code(ErrorKind::Throttled), Code::Unavailable);
    }

    #[test]
    fn an_exhausted_range_says_range_count_and_what_to_do() {
        let exhausted =
            Exhausted { taken: 990, reserved: 1, resting: 10, next: Some(Duration::from_secs(61)) };
        let error = CreateVolumeError::Exhausted {
            file_system: "fs-92107410".parse().unwrap(),
            range: 1000..=2000,
            exhausted,
        };
        assert_eq!(error.code(), Code::ResourceExhausted);
        assert_eq!(
            error.to_string(),
            "gidRangeStart, gidRangeEnd: none of the 1001 numbers 1000 to 2000 is free in \
             fs-92107410: access points have 990, volumes being made 1, and 10 freed ones rest, \
             the first for 61 s more; widen the range in a new class, use another file system, or \
             delete volumes"
        );
    }
}
