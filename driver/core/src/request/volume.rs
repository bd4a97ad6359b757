//! Requests about one existing volume.

use std::collections::BTreeMap;

use csi_proto::{csi, modify};

use super::{BadRequest, not_local, present};
use crate::capability::{Access, Capability};
use crate::capacity::CapacityRange;
use crate::id::{InstanceId, VolumeId};
use crate::parameters::MutableParameters;
use crate::parameters::class::{BLOCK_ATTACH, OLDEST_KERNEL};
use crate::rpc_error::Invalid;

/// A request that names a volume and nothing else: `DeleteVolume`, `ControllerGetVolume`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeOnly {
    /// The volume.
    pub volume: VolumeId,
}

impl TryFrom<csi::DeleteVolumeRequest> for VolumeOnly {
    type Error = BadRequest;

    fn try_from(message: csi::DeleteVolumeRequest) -> Result<Self, BadRequest> {
        Ok(Self { volume: volume_id(&message.volume_id)? })
    }
}

impl TryFrom<csi::ControllerGetVolumeRequest> for VolumeOnly {
    type Error = BadRequest;

    fn try_from(message: csi::ControllerGetVolumeRequest) -> Result<Self, BadRequest> {
        Ok(Self { volume: volume_id(&message.volume_id)? })
    }
}

/// `ControllerPublishVolume`: attach a volume to an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishVolume {
    /// The volume.
    pub volume: VolumeId,
    /// The instance.
    pub instance: InstanceId,
    /// How it will be used.
    pub capability: Capability,
    /// What its `StorageClass` said for now.
    pub context: PublishContext,
}

/// What a volume's context says about its publication.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PublishContext {
    /// Whether to wait until the volume is filled.
    pub until_initialized: bool,
    /// Release of the oldest kernel that shall mount the volume.
    pub oldest_kernel: Option<String>,
}

impl PublishContext {
    /// Reads a volume context.
    pub(super) fn parse(context: &BTreeMap<String, String>) -> Self {
        Self {
            until_initialized: context.get(BLOCK_ATTACH).is_some_and(|value| value == "true"),
            oldest_kernel: context.get(OLDEST_KERNEL).filter(|text| !text.is_empty()).cloned(),
        }
    }
}

impl TryFrom<csi::ControllerPublishVolumeRequest> for PublishVolume {
    type Error = BadRequest;

    fn try_from(message: csi::ControllerPublishVolumeRequest) -> Result<Self, BadRequest> {
        let volume = present("volume_id", &message.volume_id)?;
        let instance = present("node_id", &message.node_id)?;
        let capability = Capability::parse(message.volume_capability.as_ref())?;
        capability.check_ebs()?;
        if message.readonly {
            // The specification forbids the CO to set it without PUBLISH_READONLY.
            let rule = "EBS has no read-only attachments; mount the volume read-only instead";
            return Err(Invalid::new("readonly", rule).into());
        }
        let context = PublishContext::parse(&message.volume_context);
        Ok(Self { volume: volume.parse()?, instance: instance.parse()?, capability, context })
    }
}

/// `ControllerUnpublishVolume`: detach a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnpublishVolume {
    /// The volume.
    pub volume: VolumeId,
    /// From where.
    pub from: UnpublishFrom,
}

/// Where a volume is to be detached from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnpublishFrom {
    /// One instance.
    Instance(InstanceId),
    /// Wherever it is attached.
    Everywhere,
}

impl TryFrom<csi::ControllerUnpublishVolumeRequest> for UnpublishVolume {
    type Error = BadRequest;

    fn try_from(message: csi::ControllerUnpublishVolumeRequest) -> Result<Self, BadRequest> {
        let volume = volume_id(&message.volume_id)?;
        let from = if message.node_id.is_empty() {
            UnpublishFrom::Everywhere
        } else {
            UnpublishFrom::Instance(message.node_id.parse()?)
        };
        Ok(Self { volume, from })
    }
}

/// `ControllerExpandVolume`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpandVolume {
    /// The volume.
    pub volume: VolumeId,
    /// Its new size.
    pub range: CapacityRange,
    /// Whether the volume is used as a block device, so that the node has nothing to grow.
    pub is_block: bool,
}

impl TryFrom<csi::ControllerExpandVolumeRequest> for ExpandVolume {
    type Error = BadRequest;

    fn try_from(message: csi::ControllerExpandVolumeRequest) -> Result<Self, BadRequest> {
        let volume = present("volume_id", &message.volume_id)?;
        not_local("volume_id", volume, "expanded")?;
        let range = CapacityRange::parse(message.capacity_range.as_ref())?;
        if range.is_open() {
            return Err(Invalid::new("capacity_range", "must be set").into());
        }
        let is_block = match &message.volume_capability {
            None => false,
            Some(capability) => Capability::parse(Some(capability))?.access == Access::Block,
        };
        Ok(Self { volume: volume.parse()?, range, is_block })
    }
}

/// `ControllerModifyVolume`, and `ModifyVolumeProperties` of the older service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModifyVolume {
    /// The volume.
    pub volume: VolumeId,
    /// What to change.
    pub parameters: MutableParameters,
}

impl TryFrom<csi::ControllerModifyVolumeRequest> for ModifyVolume {
    type Error = BadRequest;

    fn try_from(message: csi::ControllerModifyVolumeRequest) -> Result<Self, BadRequest> {
        Self::parse("volume_id", &message.volume_id, &message.mutable_parameters)
    }
}

impl TryFrom<modify::ModifyVolumePropertiesRequest> for ModifyVolume {
    type Error = BadRequest;

    fn try_from(message: modify::ModifyVolumePropertiesRequest) -> Result<Self, BadRequest> {
        Self::parse("name", &message.name, &message.parameters)
    }
}

impl ModifyVolume {
    fn parse(
        field: &str,
        id: &str,
        parameters: &BTreeMap<String, String>,
    ) -> Result<Self, BadRequest> {
        let id = present(field, id)?;
        not_local(field, id, "modified")?;
        let parameters = MutableParameters::parse(parameters)?;
        Ok(Self { volume: id.parse()?, parameters })
    }
}

/// `ValidateVolumeCapabilities`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidateCapabilities {
    /// The volume.
    pub volume: VolumeId,
    /// How it shall be used.
    pub capabilities: Vec<Capability>,
}

impl TryFrom<&csi::ValidateVolumeCapabilitiesRequest> for ValidateCapabilities {
    type Error = BadRequest;

    fn try_from(message: &csi::ValidateVolumeCapabilitiesRequest) -> Result<Self, BadRequest> {
        let volume = present("volume_id", &message.volume_id)?;
        let capabilities = Capability::parse_all(&message.volume_capabilities)?;
        Ok(Self { volume: volume.parse()?, capabilities })
    }
}

fn volume_id(text: &str) -> Result<VolumeId, BadRequest> {
    Ok(present("volume_id", text)?.parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc_error::GrpcCode;
    use csi_proto::csi::volume_capability::{AccessType, BlockVolume, access_mode::Mode};
    use tonic::Code;

    fn publish() -> csi::ControllerPublishVolumeRequest {
        csi::ControllerPublishVolumeRequest {
            volume_id: "vol-0123456789abcdef0".to_owned(),
            node_id: "i-0123456789abcdef0".to_owned(),
            volume_capability: Some(csi::VolumeCapability {
                access_mode: Some(csi::volume_capability::AccessMode {
                    mode: Mode::SingleNodeWriter as i32,
                }),
                access_type: Some(AccessType::Block(BlockVolume {})),
            }),
            ..Default::default()
        }
    }

    #[test]
    fn a_whole_publish_request_is_read() {
        let parsed = PublishVolume::try_from(publish()).unwrap();
        assert_eq!(parsed.instance.as_str(), "i-0123456789abcdef0");
    }

    #[test]
    fn a_malformed_id_is_not_found_and_a_missing_one_is_invalid() {
        let code = |message: csi::ControllerPublishVolumeRequest| {
            PublishVolume::try_from(message).unwrap_err().code()
        };
        let malformed = csi::ControllerPublishVolumeRequest { node_id: "n1".into(), ..publish() };
        assert_eq!(code(malformed.clone()), Code::NotFound);
        let also_no_capability =
            csi::ControllerPublishVolumeRequest { volume_capability: None, ..malformed };
        assert_eq!(code(also_no_capability), Code::InvalidArgument);
        let missing = csi::ControllerPublishVolumeRequest { node_id: String::new(), ..publish() };
        assert_eq!(code(missing), Code::InvalidArgument);
        let readonly = csi::ControllerPublishVolumeRequest { readonly: true, ..publish() };
        assert_eq!(code(readonly), Code::InvalidArgument);
    }

    #[test]
    fn no_node_means_everywhere() {
        let message = csi::ControllerUnpublishVolumeRequest {
            volume_id: "vol-0123456789abcdef0".to_owned(),
            ..Default::default()
        };
        assert_eq!(UnpublishVolume::try_from(message).unwrap().from, UnpublishFrom::Everywhere);
    }

    #[test]
    fn expanding_needs_a_range() {
        let message = csi::ControllerExpandVolumeRequest {
            volume_id: "vol-0123456789abcdef0".to_owned(),
            ..Default::default()
        };
        let error = ExpandVolume::try_from(message).unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument);
        assert!(error.to_string().contains("capacity_range"));
    }
}
