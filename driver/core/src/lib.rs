//! What both plugins share and what has no input or output: nouns that are valid by construction,
//! the ports to the outside, request parsing, errors with their gRPC codes, and owned operations.
//!
//! This crate knows neither AWS's SDK nor the kernel, so its tests need neither.

pub mod api_error;
pub mod capability;
pub mod capacity;
pub mod device_name;
pub mod ebs;
pub mod facts;
pub mod id;
pub mod instance;
pub mod operations;
pub mod parameters;
pub mod request;
pub mod rpc_error;
pub mod topology;

use csi_proto::csi;

pub use api_error::{ApiError, ErrorKind};
pub use capability::{Access, AccessMode, Capability, FsType};
pub use capacity::{Bytes, CapacityRange, GiB};
pub use id::{InstanceId, SnapshotId, SnapshotName, VolumeId, VolumeName};
pub use operations::{Operations, RunError};
pub use rpc_error::{Chain, GrpcCode, Invalid, RpcError};
pub use topology::Zone;

/// Name of the EBS driver: the `provisioner` of its StorageClasses.
pub const EBS_DRIVER_NAME: &str = "ebs.csi.aws.com";

/// What the EBS driver says of itself in `GetPluginCapabilities`, the controller and the node
/// alike, as the CSI specification demands.
pub const EBS_PLUGIN_CAPABILITIES: [PluginCapability; 3] = [
    PluginCapability::Service(csi::plugin_capability::service::Type::ControllerService),
    PluginCapability::Service(
        csi::plugin_capability::service::Type::VolumeAccessibilityConstraints,
    ),
    PluginCapability::Expansion(csi::plugin_capability::volume_expansion::Type::Online),
];

/// One entry of `GetPluginCapabilities`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PluginCapability {
    /// A service of the plugin.
    Service(csi::plugin_capability::service::Type),
    /// How volumes can be expanded.
    Expansion(csi::plugin_capability::volume_expansion::Type),
}

impl From<PluginCapability> for csi::PluginCapability {
    fn from(capability: PluginCapability) -> Self {
        use csi::plugin_capability::{Service, Type, VolumeExpansion};
        let r#type = match capability {
            PluginCapability::Service(service) => Type::Service(Service { r#type: service.into() }),
            PluginCapability::Expansion(kind) => {
                Type::VolumeExpansion(VolumeExpansion { r#type: kind.into() })
            }
        };
        Self { r#type: Some(r#type) }
    }
}
