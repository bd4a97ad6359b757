//! What both plugins share and what has no input or output: nouns that are valid by construction,
//! the ports to the outside, request parsing, errors with their gRPC codes, and owned operations.
//!
//! This crate knows neither AWS's SDK nor the kernel, so its tests need neither.

pub mod api_error;
pub mod capability;
pub mod capacity;
pub mod device_name;
pub mod ebs;
pub mod efs;
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
pub use id::{
    AccessPointId, FileSystemId, InstanceId, LocalDevice, SnapshotId, SnapshotName, VolumeId,
    VolumeName,
};
pub use operations::{Operations, RunError};
pub use rpc_error::{Chain, GrpcCode, Invalid, RpcError};
pub use topology::Zone;

/// Name of the EFS driver: the `provisioner` of its StorageClasses.
pub const EFS_DRIVER_NAME: &str = "efs.csi.aws.com";

/// What both EFS plugins answer to `GetPluginCapabilities`; see [`EBS_SERVICES`].
pub const EFS_SERVICES: [csi::plugin_capability::service::Type; 2] = EBS_SERVICES;

/// Name of the EBS driver: the `provisioner` of its StorageClasses.
pub const EBS_DRIVER_NAME: &str = "ebs.csi.aws.com";

/// What both EBS plugins answer to `GetPluginCapabilities`: the specification demands the same
/// answer of all plugins of a driver.
pub const EBS_SERVICES: [csi::plugin_capability::service::Type; 2] = {
    use csi::plugin_capability::service::Type;
    [Type::ControllerService, Type::VolumeAccessibilityConstraints]
};

/// How EBS volumes grow: while they are in use. See [`EBS_SERVICES`].
pub const EBS_EXPANSION: [csi::plugin_capability::volume_expansion::Type; 1] =
    [csi::plugin_capability::volume_expansion::Type::Online];
