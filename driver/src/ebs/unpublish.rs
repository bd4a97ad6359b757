//! `ControllerUnpublishVolume`: detach a volume. Never by force: a volume torn from a running
//! instance loses data.

use std::sync::Arc;
use std::time::Duration;

use csi_core::ebs::{AttachmentState, Ebs, Volume};
use csi_core::request::{UnpublishFrom, UnpublishVolume};
use csi_core::{ApiError, ErrorKind, GrpcCode, InstanceId, RunError, VolumeId};
use tokio::time::Instant;
use tonic::Code;

use super::look::WaitEnd;
use super::publish::attachment;
use super::{ATTACHING, Key, Shared};
use crate::call::repeat;

/// The whole operation, as long as the attacher waits.
const BOUND: Duration = Duration::from_mins(6);

/// Why a volume is not detached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UnpublishError {
    /// EC2 refused, or did not answer.
    #[error("volume {volume} was not detached from {instance}")]
    Refused {
        /// The volume.
        volume: VolumeId,
        /// The instance.
        instance: InstanceId,
        /// EC2's answer, or its absence.
        #[source]
        error: ApiError,
    },
    /// The volume could not be looked at.
    #[error("cannot look where volume {volume} is attached")]
    Volume {
        /// The volume.
        volume: VolumeId,
        /// EC2's answer, or its absence.
        #[source]
        error: ApiError,
    },
    /// The detachment is still under way.
    #[error(
        "volume {volume} is still detaching from {instance} after {:.1} s; if it stays so, a \
         process on the instance holds the device", .after.as_secs_f64()
    )]
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

impl GrpcCode for UnpublishError {
    fn code(&self) -> Code {
        match self {
            Self::Unfinished { error: None, .. } => Code::DeadlineExceeded,
            Self::Refused { error, .. }
            | Self::Volume { error, .. }
            | Self::Unfinished { error: Some(error), .. } => error.kind.grpc_code(),
        }
    }
}

/// Detaches the volume from one instance or from all.
pub(super) async fn unpublish<C: Ebs>(
    shared: &Arc<Shared<C>>,
    request: UnpublishVolume,
) -> Result<(), RunError<UnpublishError>> {
    let UnpublishVolume { volume, from } = request;
    let until = Instant::now() + BOUND;
    let instances = match from {
        UnpublishFrom::Instance(instance) => vec![instance],
        UnpublishFrom::Everywhere => {
            let found = shared.volume(&volume, until).await;
            let found =
                found.map_err(|error| UnpublishError::Volume { volume: volume.clone(), error })?;
            let attachments = found.into_iter().flat_map(|volume| volume.attachments);
            attachments.map(|attachment| attachment.instance).collect()
        }
    };
    for instance in instances {
        let key = Key::Attachment(volume.clone(), instance.clone());
        let (shared, volume) = (Arc::clone(shared), volume.clone());
        let operations = shared.operations.clone();
        let work = async move { detach(&shared, &volume, &instance, until).await };
        operations.run(key, work).await?;
    }
    Ok(())
}

/// Detaches a volume from an instance and waits until it is gone from there.
pub(super) async fn detach<C: Ebs>(
    shared: &Shared<C>,
    volume: &VolumeId,
    instance: &InstanceId,
    until: Instant,
) -> Result<(), UnpublishError> {
    let call = || shared.ec2.detach_volume(volume.clone(), instance.clone());
    if let Err(failed) = repeat(until, call).await {
        match failed.error.kind {
            // What does not exist is attached to nothing.
            ErrorKind::VolumeNotFound
            | ErrorKind::InstanceNotFound
            | ErrorKind::AttachmentNotFound => return Ok(()),
            // Detached already, or detaching: the wait tells.
            ErrorKind::IncorrectState => {}
            _ => {
                let (volume, instance) = (volume.clone(), instance.clone());
                return Err(UnpublishError::Refused { volume, instance, error: failed.error });
            }
        }
    }
    let began = Instant::now();
    let gone = |seen: Option<Volume>| {
        let here = seen.as_ref().and_then(|volume| attachment(volume, instance));
        here.is_none_or(|here| here.state == AttachmentState::Detached).then_some(())
    };
    let end = shared.volumes.until(volume, ATTACHING, until, gone).await;
    end.map_err(|end| UnpublishError::Unfinished {
        volume: volume.clone(),
        instance: instance.clone(),
        after: began.elapsed(),
        error: match end {
            WaitEnd::TimedOut => None,
            WaitEnd::Refused(error) => Some(error),
        },
    })
}
