//! Requests about node-local volumes, whose handle is the name of a device on whichever node.

use csi_proto::csi;

use super::{BadRequest, PublishContext, present};
use crate::capability::Capability;
use crate::id::{InstanceId, LocalDevice};
use crate::rpc_error::Invalid;

/// `ControllerPublishVolume`: say which volume is behind the device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishLocal {
    /// The device.
    pub device: LocalDevice,
    /// The instance.
    pub instance: InstanceId,
    /// What the volume's context says.
    pub context: PublishContext,
}

impl PublishLocal {
    /// Reads a message; `None` if it is about another kind of volume.
    ///
    /// # Errors
    /// A field that breaks a rule, or a node that cannot exist.
    #[must_use]
    pub fn parse(
        message: &csi::ControllerPublishVolumeRequest,
    ) -> Option<Result<Self, BadRequest>> {
        LocalDevice::is_meant(&message.volume_id).then(|| {
            let device = device(&message.volume_id)?;
            let instance = present("node_id", &message.node_id)?;
            Capability::parse(message.volume_capability.as_ref())?.check_node_local()?;
            let context = PublishContext::parse(&message.volume_context);
            Ok(Self { device, instance: instance.parse()?, context })
        })
    }
}

/// `ValidateVolumeCapabilities`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidateLocal {
    /// How the volume shall be used.
    pub capabilities: Vec<Capability>,
}

impl ValidateLocal {
    /// Reads a message; `None` if it is about another kind of volume.
    ///
    /// # Errors
    /// A field that breaks a rule.
    #[must_use]
    pub fn parse(
        message: &csi::ValidateVolumeCapabilitiesRequest,
    ) -> Option<Result<Self, BadRequest>> {
        LocalDevice::is_meant(&message.volume_id).then(|| {
            device(&message.volume_id)?;
            Ok(Self { capabilities: Capability::parse_all(&message.volume_capabilities)? })
        })
    }
}

/// A handle that is meant to name a device and does not is a mistake in a `PersistentVolume`.
fn device(handle: &str) -> Result<LocalDevice, Invalid> {
    handle.parse().map_err(|error: crate::id::InvalidId| Invalid::new("volume_id", error.rule))
}
