//! Publishing a node-local volume: nothing is attached, EC2 is asked which volume the node has there.

use csi_core::ebs::Ebs;
use csi_core::request::PublishLocal;
use csi_core::{ApiError, GrpcCode, InstanceId, LocalDevice, VolumeId};
use tokio::time::Instant;
use tonic::Code;

use super::Shared;
use crate::call::repeat;

/// A read answers soon or not at all.
const BOUND: std::time::Duration = std::time::Duration::from_secs(20);

/// Why nobody knows the volume behind a device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LocalError {
    /// Node-local volumes are switched off.
    #[error("volume_id: node-local volumes need --enable-node-local-volumes on the controller")]
    Disabled,
    /// There is no such instance.
    #[error("node_id: instance {instance} does not exist")]
    NoInstance {
        /// The instance.
        instance: InstanceId,
    },
    /// The instance has no such device.
    #[error("volume_id: EC2 has no volume attached to {instance} as {}", .device.name())]
    NoDevice {
        /// The instance.
        instance: InstanceId,
        /// The device.
        device: LocalDevice,
    },
    /// It is the root volume.
    #[error("volume_id: {} is the root volume of {instance}", .device.name())]
    Root {
        /// The instance.
        instance: InstanceId,
        /// The device.
        device: LocalDevice,
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
}

impl GrpcCode for LocalError {
    fn code(&self) -> Code {
        match self {
            Self::Disabled | Self::Root { .. } => Code::InvalidArgument,
            Self::NoInstance { .. } | Self::NoDevice { .. } => Code::NotFound,
            Self::Instance { error, .. } => error.kind.grpc_code(),
        }
    }
}

/// Refuses node-local volumes where the operator did not ask for them.
pub(super) fn enabled<C>(shared: &Shared<C>) -> Result<(), LocalError> {
    if shared.settings.node_local_volumes { Ok(()) } else { Err(LocalError::Disabled) }
}

/// The volume that the instance has under the device's name.
pub(super) async fn find<C: Ebs>(
    shared: &Shared<C>,
    request: &PublishLocal,
) -> Result<VolumeId, LocalError> {
    enabled(shared)?;
    let PublishLocal { device, instance, .. } = request.clone();
    let look = || shared.instances.up(instance.clone());
    let found = match repeat(Instant::now() + BOUND, look).await {
        Ok(Some(found)) => found,
        Ok(None) => return Err(LocalError::NoInstance { instance }),
        Err(failed) => return Err(LocalError::Instance { instance, error: failed.error }),
    };
    if found.root_device.as_deref() == Some(device.name()) {
        return Err(LocalError::Root { instance, device });
    }
    let volume = found.devices.get(device.name()).cloned();
    volume.ok_or(LocalError::NoDevice { instance, device })
}
