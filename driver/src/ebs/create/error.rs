//! How `CreateVolume` fails.

use std::time::Duration;

use csi_core::rpc_error::open;
use csi_core::{ApiError, GrpcCode, SnapshotId, VolumeId, VolumeName, Zone};
use tonic::Code;

use super::super::spec::Unfit;

/// Why there is no volume.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CreateVolumeError {
    /// The request amounts to no volume.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// What the volume shall be made from does not exist.
    #[error("volume_content_source: {id} does not exist in this account and region")]
    NoSource {
        /// The source.
        id: String,
    },
    /// What the volume shall be made from could not be looked at.
    #[error("cannot look at volume_content_source")]
    Source(#[source] ApiError),
    /// The snapshot is not ready.
    #[error("snapshot {snapshot} is at {progress} %; a volume can be made when it is complete")]
    SourcePending {
        /// The snapshot.
        snapshot: SnapshotId,
        /// In percent.
        progress: u8,
    },
    /// The zones could not be listed.
    #[error("cannot list the region's zones; restrict them by allowedTopologies to do without")]
    Zones(#[source] ApiError),
    /// There is no zone to try.
    #[error("no zone is open to this account")]
    NoZone,
    /// The name is taken by another volume.
    #[error("volume {name} exists as {volume} with {field} {has}, not {wanted}")]
    Differs {
        /// The name.
        name: VolumeName,
        /// The volume that has it.
        volume: VolumeId,
        /// What differs.
        field: &'static str,
        /// What the volume has.
        has: String,
        /// What was asked for.
        wanted: String,
    },
    /// EC2 refused and did nothing.
    #[error("volume {name} was not created")]
    Refused {
        /// The name.
        name: VolumeName,
        /// EC2's answer.
        #[source]
        error: ApiError,
    },
    /// EC2 refused, perhaps for too many IOPS, and how many the zone grants is not known.
    #[error(
        "volume {name} was not created, and EC2 does not tell how many IOPS {zone} grants; the \
         next try asks again"
    )]
    NoLimit {
        /// The name.
        name: VolumeName,
        /// The zone.
        zone: Zone,
        /// EC2's answer.
        #[source]
        error: Box<ApiError>,
    },
    /// Whether EC2 did anything is unknown.
    #[error("it is unknown whether volume {name} was created; the next try finds out")]
    Unknown {
        /// The name.
        name: VolumeName,
        /// EC2's answer, or its absence.
        #[source]
        error: ApiError,
    },
    /// EC2 refuses by now, and whether an earlier call made the volume cannot be seen.
    #[error("whether an earlier call created volume {name} is unknown; the next try finds out")]
    Unproved {
        /// The name.
        name: VolumeName,
        /// What would be the answer if nothing was created.
        #[source]
        end: Box<CreateVolumeError>,
    },
    /// The token was used, and its volume is not visible.
    #[error(
        "volume {name} was begun before ({tokens} client tokens are used), and no volume is to be \
         seen yet; the next try looks again"
    )]
    NotYetSeen {
        /// The name.
        name: VolumeName,
        /// Tokens that were used before.
        tokens: u32,
    },
    /// Every token of the name is spent.
    #[error("volume {name} failed too often; use another name, that is, a new claim")]
    TokensSpent {
        /// The name.
        name: VolumeName,
    },
    /// The volume is still being made.
    #[error("volume {volume} is still being created after {:.1} s", .after.as_secs_f64())]
    Unfinished {
        /// The volume.
        volume: VolumeId,
        /// How long it was waited for.
        after: Duration,
        /// Why it cannot be watched, if so.
        #[source]
        refusal: Option<Box<ApiError>>,
    },
    /// The volume was made and failed afterwards.
    #[error(
        "volume {volume} {death} after its creation{}",
        match .key {
            Some(key) => format!(
                "; most likely kmsKeyId {key} is unusable: check that it is enabled and that the \
                 driver's role may use it (kms:CreateGrant, kms:GenerateDataKeyWithoutPlaintext, \
                 kms:Decrypt)"
            ),
            None => "; most likely the account's default KMS key is unusable".to_owned(),
        }
    )]
    Died {
        /// The volume.
        volume: VolumeId,
        /// How.
        death: Death,
        /// The KMS key it should have had.
        key: Option<String>,
        /// Why the failed volume could not be deleted, if so.
        #[source]
        left_over: Option<Box<ApiError>>,
    },
}

/// How a volume ended before it was ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Death {
    /// It went into the state `error`.
    Failed,
    /// It is not there any more.
    Vanished,
}

impl std::fmt::Display for Death {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Failed => "failed",
            Self::Vanished => "vanished",
        })
    }
}

impl GrpcCode for CreateVolumeError {
    fn code(&self) -> Code {
        match self {
            Self::Unfit(Unfit::Invalid(_)) => Code::InvalidArgument,
            Self::Unfit(Unfit::NoSize(_) | Unfit::Type(_) | Unfit::SmallerThanSource { .. }) => {
                Code::OutOfRange
            }
            // So that the provisioner lets the scheduler choose another zone.
            Self::Unfit(Unfit::SourceZone { .. }) | Self::NoZone => Code::ResourceExhausted,
            Self::NoSource { .. } => Code::NotFound,
            Self::Refused { error, .. } => error.kind.grpc_code(),
            // Nothing was done now, but an earlier call may have made the volume.
            Self::Source(error) | Self::Zones(error) => open(error.kind.grpc_code()),
            Self::SourcePending { .. } | Self::NoLimit { .. } => Code::Unavailable,
            Self::Differs { .. } => Code::AlreadyExists,
            Self::Unknown { .. }
            | Self::Unproved { .. }
            | Self::NotYetSeen { .. }
            | Self::Unfinished { .. }
            | Self::Died { left_over: Some(_), .. } => Code::Aborted,
            // Final, since nothing is left behind.
            Self::TokensSpent { .. } | Self::Died { left_over: None, .. } => {
                Code::FailedPrecondition
            }
        }
    }

    fn code_after_panic() -> Code {
        Code::Aborted
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
        let panicked = RunError::<CreateVolumeError>::Panicked { key: String::new() };
        assert_eq!(panicked.code(), Code::Aborted);
        for error in with_a_possible_effect() {
            assert!(OPEN.contains(&error.code()), "{error}");
        }
    }

    fn with_a_possible_effect() -> Vec<CreateVolumeError> {
        let name: VolumeName = "pvc-1".parse().unwrap();
        let volume: VolumeId = "vol-0123456789abcdef0".parse().unwrap();
        let error = api_error(ErrorKind::Denied);
        let boxed = Some(Box::new(error.clone()));
        let after = Duration::from_secs(1);
        vec![
            CreateVolumeError::Source(error.clone()),
            CreateVolumeError::Zones(error.clone()),
            CreateVolumeError::Unproved {
                name: name.clone(),
                end: Box::new(CreateVolumeError::NoZone),
            },
            CreateVolumeError::Unknown { name: name.clone(), error },
            CreateVolumeError::NotYetSeen { name, tokens: 1 },
            CreateVolumeError::Unfinished { volume: volume.clone(), after, refusal: boxed.clone() },
            CreateVolumeError::Died { volume, death: Death::Failed, key: None, left_over: boxed },
        ]
    }

    #[test]
    fn a_refusal_that_did_nothing_is_final_and_a_full_zone_moves_the_pod() {
        let code = |kind| {
            let name = "pvc-1".parse().unwrap();
            CreateVolumeError::Refused { name, error: api_error(kind) }.code()
        };
        assert_eq!(code(ErrorKind::InvalidParameter), Code::InvalidArgument);
        assert_eq!(code(ErrorKind::ZoneCapacity), Code::ResourceExhausted);
        assert_eq!(code(ErrorKind::Quota), Code::ResourceExhausted);
        assert_eq!(code(ErrorKind::Denied), Code::PermissionDenied);
    }
}
