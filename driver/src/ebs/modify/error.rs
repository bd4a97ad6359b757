//! How expanding and modifying fail.

use csi_core::capacity::NoSizeFits;
use csi_core::ebs::Modification;
use csi_core::facts::{MODIFICATION_WINDOW, MODIFICATIONS_PER_WINDOW};
use csi_core::{ApiError, ErrorKind, GiB, GrpcCode, Invalid, VolumeId};
use tonic::Code;

use super::super::performance::SizeOutsideType;

/// Why a volume was not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ModifyError {
    /// A wish breaks a rule.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// No size fits the range.
    #[error(transparent)]
    NoSize(#[from] NoSizeFits),
    /// The type does not come in that size.
    #[error(transparent)]
    Type(#[from] SizeOutsideType),
    /// The volume is larger than it may be.
    #[error("capacity_range: volume {volume} has {has}, and EBS cannot shrink it to {wanted}")]
    Shrink {
        /// The volume.
        volume: VolumeId,
        /// Its size.
        has: GiB,
        /// The size that was asked for.
        wanted: GiB,
    },
    /// There is no such volume.
    #[error("volume {volume} does not exist")]
    NoVolume {
        /// The volume.
        volume: VolumeId,
    },
    /// The volume or its modification could not be looked at.
    #[error("cannot look at volume {volume}")]
    Look {
        /// The volume.
        volume: VolumeId,
        /// EC2's answer, or its absence.
        #[source]
        error: ApiError,
    },
    /// EC2 refused, or did not answer.
    #[error("volume {volume} was not modified{}", brake(.error.kind, .latest.as_deref()))]
    Refused {
        /// The volume.
        volume: VolumeId,
        /// Its last modification, if EC2 showed one.
        latest: Option<Box<Modification>>,
        /// EC2's answer, or its absence.
        #[source]
        error: Box<ApiError>,
    },
    /// EC2 began the modification and gave up.
    #[error("the modification of volume {volume} failed: {reason}")]
    Failed {
        /// The volume.
        volume: VolumeId,
        /// EC2's words.
        reason: String,
    },
    /// The modification is not yet in force.
    #[error("volume {volume} is still being modified, at {progress} %; the next try waits for it")]
    Unfinished {
        /// The volume.
        volume: VolumeId,
        /// In percent.
        progress: u8,
    },
    /// An earlier call wants something else.
    #[error(
        "volume {volume}: another change, which contradicts this one, is made first; then try again"
    )]
    Contradiction {
        /// The volume.
        volume: VolumeId,
    },
    /// The call that led the change broke off.
    #[error("the change of volume {volume} broke off; the next try finds what it did")]
    Leaderless {
        /// The volume.
        volume: VolumeId,
    },
    /// The properties are changed and the tags are not.
    #[error("the tags of volume {volume} were not changed")]
    Tags {
        /// The volume.
        volume: VolumeId,
        /// EC2's answer, or its absence.
        #[source]
        error: ApiError,
    },
}

/// What EC2's brakes are, and when they let go.
fn brake(kind: ErrorKind, latest: Option<&Modification>) -> String {
    let started = latest.and_then(|latest| latest.started_ms);
    match kind {
        ErrorKind::ModificationInProgress => {
            let progress = latest.map(|latest| format!(", at {} %", latest.progress));
            let since = started.map(|at| format!(" since {}", time(at)));
            let which: String = progress.into_iter().chain(since).collect();
            format!(
                ": its last modification is not completed{which}; EC2 takes the next one when it \
                 is, which takes from minutes to a day; this is retried"
            )
        }
        ErrorKind::ModificationRate => {
            let window = MODIFICATION_WINDOW;
            let hours = window.as_secs() / 3_600;
            let end = started.zip(i64::try_from(window.as_millis()).ok());
            let end = end.map(|(at, window)| {
                format!(
                    ", and the last began at {}; EC2 takes the next one at {} at the latest",
                    time(at),
                    time(at.saturating_add(window))
                )
            });
            format!(
                ": it was modified {MODIFICATIONS_PER_WINDOW} times within {hours} hours{}; this is \
                 retried",
                end.unwrap_or_default()
            )
        }
        _ => String::new(),
    }
}

/// In UTC, to the second.
fn time(milliseconds: i64) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: milliseconds.div_euclid(1_000), nanos: 0 }
}

impl ModifyError {
    /// Whether EC2 finds a parameter wrong.
    pub(super) fn is_refused_as_wrong(&self) -> bool {
        matches!(self, Self::Refused { error, .. } if error.kind == ErrorKind::InvalidParameter)
    }
}

impl GrpcCode for ModifyError {
    fn code(&self) -> Code {
        match self {
            Self::Invalid(_) => Code::InvalidArgument,
            Self::NoSize(_) | Self::Type(_) | Self::Shrink { .. } => Code::OutOfRange,
            Self::NoVolume { .. } => Code::NotFound,
            Self::Unfinished { .. } => Code::Unavailable,
            Self::Contradiction { .. } | Self::Leaderless { .. } => Code::Aborted,
            Self::Failed { .. } => Code::Internal,
            // FAILED_PRECONDITION means "in use" to the resizer, and it would wait for the pod.
            Self::Refused { error, .. }
                if matches!(error.kind, ErrorKind::IncorrectState | ErrorKind::VolumeInUse) =>
            {
                Code::Unavailable
            }
            // INVALID_ARGUMENT means to the resizer that nothing was changed.
            Self::Tags { error, .. } if error.kind == ErrorKind::InvalidParameter => Code::Internal,
            Self::Refused { error, .. } => error.kind.grpc_code(),
            Self::Look { error, .. } | Self::Tags { error, .. } => error.kind.grpc_code(),
        }
    }
}
