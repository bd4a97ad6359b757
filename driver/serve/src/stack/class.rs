//! What kind of call each call is. Total, so that a new call in the specification must be classed.

use csi_proto::Rpc;

/// How a call is logged and limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// Answers from memory; health checks depend on it, so it is never turned away.
    Question,
    /// Reads from AWS or the kernel.
    Read,
    /// Changes something.
    Mutation,
}

impl Class {
    pub(crate) fn of(rpc: Rpc) -> Self {
        match rpc {
            Rpc::IdentityGetPluginInfo
            | Rpc::IdentityGetPluginCapabilities
            | Rpc::IdentityProbe
            | Rpc::ControllerGetCapabilities
            | Rpc::GroupControllerGetCapabilities
            | Rpc::NodeGetCapabilities
            | Rpc::NodeGetInfo
            | Rpc::ModifyGetCSIDriverModificationCapability
            | Rpc::RegistrationGetInfo
            | Rpc::RegistrationNotifyRegistrationStatus => Self::Question,
            Rpc::ControllerValidateVolumeCapabilities
            | Rpc::ControllerListVolumes
            | Rpc::ControllerListVolumeHealth
            | Rpc::ControllerGetVolumeHealth
            | Rpc::ControllerGetCapacity
            | Rpc::ControllerListSnapshots
            | Rpc::ControllerGetSnapshot
            | Rpc::ControllerGetVolume
            | Rpc::GroupControllerGetVolumeGroupSnapshot
            | Rpc::SnapshotMetadataGetMetadataAllocated
            | Rpc::SnapshotMetadataGetMetadataDelta
            | Rpc::NodeGetVolumeStats
            | Rpc::NodeGetVolumeHealth
            | Rpc::NodeGetStorageHealth => Self::Read,
            Rpc::ControllerCreateVolume
            | Rpc::ControllerDeleteVolume
            | Rpc::ControllerPublishVolume
            | Rpc::ControllerUnpublishVolume
            | Rpc::ControllerCreateSnapshot
            | Rpc::ControllerDeleteSnapshot
            | Rpc::ControllerExpandVolume
            | Rpc::ControllerModifyVolume
            | Rpc::GroupControllerCreateVolumeGroupSnapshot
            | Rpc::GroupControllerDeleteVolumeGroupSnapshot
            | Rpc::NodeStageVolume
            | Rpc::NodeUnstageVolume
            | Rpc::NodePublishVolume
            | Rpc::NodeUnpublishVolume
            | Rpc::NodeExpandVolume
            | Rpc::ModifyVolumeProperties => Self::Mutation,
        }
    }
}
