//! How `ControllerPublishVolume` fails.

use std::time::Duration;

use csi_core::facts::STUCK_ATTACHING;
use csi_core::rpc_error::is_final;
use csi_core::{ApiError, ErrorKind, GrpcCode, InstanceId, VolumeId};
use tonic::Code;

/// Why a volume is not attached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PublishError {
    /// There is no such volume.
    #[error("volume {volume} does not exist")]
    NoVolume {
        /// The volume.
        volume: VolumeId,
    },
    /// There is no such instance.
    #[error("node_id: instance {instance} does not exist")]
    NoInstance {
        /// The instance.
        instance: InstanceId,
    },
    /// The instance could not be looked at.
    #[error("cannot list the devices of {instance}")]
    Instance {
        /// The instance.
        instance: InstanceId,
        /// EC2's answer, or its absence.
        #[source]
        error: ApiError,
    },
    /// The volume could not be looked at.
    #[error("cannot look at volume {volume}")]
    Volume {
        /// The volume.
        volume: VolumeId,
        /// EC2's answer, or its absence.
        #[source]
        error: ApiError,
    },
    /// All device names are taken.
    #[error("instance {instance} has no free device name; detach something from it")]
    NoFreeName {
        /// The instance.
        instance: InstanceId,
    },
    /// EC2 refused one name after the other.
    #[error("volume {volume} was not attached to {instance}: EC2 says that every name is in use")]
    NamesTaken {
        /// The volume.
        volume: VolumeId,
        /// The instance.
        instance: InstanceId,
    },
    /// The instance takes no more volumes.
    #[error("volume {volume} was not attached: {instance} has as many attachments as it can")]
    Full {
        /// The volume.
        volume: VolumeId,
        /// The instance.
        instance: InstanceId,
        /// EC2's answer.
        #[source]
        error: ApiError,
    },
    /// Another instance has the volume.
    #[error("volume {volume} cannot be attached to {instance}: it is attached to {other}")]
    AttachedElsewhere {
        /// The volume.
        volume: VolumeId,
        /// Where it should be.
        instance: InstanceId,
        /// Where it is.
        other: InstanceId,
    },
    /// EC2 refused, or did not answer.
    #[error("volume {volume} was not attached to {instance}")]
    Refused {
        /// The volume.
        volume: VolumeId,
        /// The instance.
        instance: InstanceId,
        /// EC2's answer, or its absence.
        #[source]
        error: ApiError,
    },
    /// The attachment was accepted and is not there.
    #[error(
        "volume {volume} was being attached to {instance}, and somebody undid it; the next try \
         begins anew"
    )]
    Undone {
        /// The volume.
        volume: VolumeId,
        /// The instance.
        instance: InstanceId,
    },
    /// The instance does not take the device.
    #[error(
        "volume {volume} was stuck while attaching to {instance} for {} s, under two names; it is \
         detached again; look at the instance",
        STUCK_ATTACHING.as_secs()
    )]
    Stuck {
        /// The volume.
        volume: VolumeId,
        /// The instance.
        instance: InstanceId,
    },
    /// The attachment is still under way.
    #[error("volume {volume} is still attaching to {instance} after {:.1} s", .after.as_secs_f64())]
    Unfinished {
        /// The volume.
        volume: VolumeId,
        /// The instance.
        instance: InstanceId,
        /// How long it was waited for.
        after: Duration,
        /// Why it cannot be watched, if so.
        #[source]
        error: Option<ApiError>,
    },
}

impl GrpcCode for PublishError {
    fn code(&self) -> Code {
        match self {
            Self::NoVolume { .. } | Self::NoInstance { .. } => Code::NotFound,
            Self::NoFreeName { .. } | Self::Full { .. } => Code::ResourceExhausted,
            Self::AttachedElsewhere { .. } => Code::FailedPrecondition,
            Self::NamesTaken { .. } | Self::Undone { .. } | Self::Stuck { .. } => Code::Unavailable,
            Self::Unfinished { error: None, .. } => Code::DeadlineExceeded,
            // These prove that there is no attachment.
            Self::Refused { error, .. }
                if matches!(error.kind, ErrorKind::InvalidParameter | ErrorKind::ZoneMismatch) =>
            {
                error.kind.grpc_code()
            }
            // An attachment may exist, of this call or of an earlier one, and a final code would
            // tell the attacher that there is nothing to detach.
            Self::Unfinished { error: Some(error), .. }
            | Self::Instance { error, .. }
            | Self::Volume { error, .. }
            | Self::Refused { error, .. } => match error.kind.grpc_code() {
                code if is_final(code) => Code::Unavailable,
                code => code,
            },
        }
    }
}
