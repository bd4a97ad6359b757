//! Requests of the EFS Controller service, parsed once.

use csi_proto::csi;

use super::{EfsCapability, Secrets, VolumeHandle};
use crate::capacity::{Bytes, CapacityRange};
use crate::id::{InvalidId, VolumeName};
use crate::parameters::efs::EfsParameters;
use crate::rpc_error::Invalid;

/// A volume that a CO wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateVolume {
    /// Its name, the key of idempotency.
    pub name: VolumeName,
    /// Its size, which EFS does not know: it is told back, and compared when the name comes again.
    pub required: Bytes,
    /// What its `StorageClass` asks for.
    pub class: EfsParameters,
    /// How to reach the file system.
    pub secrets: Secrets,
}

impl TryFrom<csi::CreateVolumeRequest> for CreateVolume {
    type Error = Invalid;

    fn try_from(message: csi::CreateVolumeRequest) -> Result<Self, Invalid> {
        let name: VolumeName =
            message.name.parse().map_err(|error: InvalidId| Invalid::new("name", error.rule))?;
        EfsCapability::parse_all(&message.volume_capabilities)?;
        let range = CapacityRange::parse(message.capacity_range.as_ref())?;
        let class = EfsParameters::parse(&message.parameters)?;
        if !message.mutable_parameters.is_empty() {
            return Err(Invalid::new("mutable_parameters", "EFS volumes have none"));
        }
        if message.volume_content_source.is_some() {
            let rule = "EFS volumes are made empty, not from a snapshot or another volume";
            return Err(Invalid::new("volume_content_source", rule));
        }
        let secrets = Secrets::parse(&message.secrets)?;
        Ok(Self { name, required: range.required().unwrap_or(Bytes(0)), class, secrets })
    }
}

/// A volume that a CO wants gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteVolume {
    /// The volume; `None` for a handle that no volume can have.
    pub volume: Option<VolumeHandle>,
    /// How to reach the file system.
    pub secrets: Secrets,
}

impl TryFrom<csi::DeleteVolumeRequest> for DeleteVolume {
    type Error = Invalid;

    fn try_from(message: csi::DeleteVolumeRequest) -> Result<Self, Invalid> {
        present("volume_id", &message.volume_id)?;
        let secrets = Secrets::parse(&message.secrets)?;
        Ok(Self { volume: message.volume_id.parse().ok(), secrets })
    }
}

/// A question whether a volume can be used in a way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidateCapabilities {
    /// The volume; `None` for a handle that no volume can have.
    pub volume: Option<VolumeHandle>,
    /// How to reach the file system.
    pub secrets: Secrets,
    /// Why it cannot be used so, if it cannot.
    pub problem: Option<Invalid>,
}

impl TryFrom<&csi::ValidateVolumeCapabilitiesRequest> for ValidateCapabilities {
    type Error = Invalid;

    fn try_from(message: &csi::ValidateVolumeCapabilitiesRequest) -> Result<Self, Invalid> {
        present("volume_id", &message.volume_id)?;
        if message.volume_capabilities.is_empty() {
            return Err(Invalid::new("volume_capabilities", "must not be empty"));
        }
        let problem = EfsCapability::parse_all(&message.volume_capabilities).err();
        let secrets = Secrets::parse(&message.secrets)?;
        Ok(Self { volume: message.volume_id.parse().ok(), secrets, problem })
    }
}

fn present(field: &str, text: &str) -> Result<(), Invalid> {
    if text.is_empty() { Err(Invalid::new(field, "must not be empty")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use csi_proto::csi::volume_capability::{AccessType, MountVolume, access_mode::Mode};

    fn message() -> csi::CreateVolumeRequest {
        let pairs = [
            ("provisioningMode", "efs-ap"),
            ("fileSystemId", "fs-92107410"),
            ("directoryPerms", "700"),
        ];
        csi::CreateVolumeRequest {
            name: "pvc-1".to_owned(),
            volume_capabilities: vec![csi::VolumeCapability {
                access_mode: Some(csi::volume_capability::AccessMode {
                    mode: Mode::MultiNodeMultiWriter.into(),
                }),
                access_type: Some(AccessType::Mount(MountVolume::default())),
            }],
            parameters: pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
            ..Default::default()
        }
    }

    #[test]
    fn a_request_is_read_whole() {
        let message = csi::CreateVolumeRequest {
            capacity_range: Some(csi::CapacityRange { required_bytes: 7, limit_bytes: 0 }),
            ..message()
        };
        let request = CreateVolume::try_from(message).unwrap();
        assert_eq!((request.name.as_str(), request.required), ("pvc-1", Bytes(7)));
        assert_eq!(request.secrets, Secrets::default());
    }

    #[test]
    fn what_efs_has_not_is_refused_by_name() {
        let field =
            |message: csi::CreateVolumeRequest| CreateVolume::try_from(message).unwrap_err().field;
        assert_eq!(field(csi::CreateVolumeRequest { name: String::new(), ..message() }), "name");
        let sourced = csi::CreateVolumeRequest {
            volume_content_source: Some(csi::VolumeContentSource::default()),
            ..message()
        };
        assert_eq!(field(sourced), "volume_content_source");
        let capable = csi::CreateVolumeRequest { volume_capabilities: vec![], ..message() };
        assert_eq!(field(capable), "volume_capabilities");
    }

    #[test]
    fn a_handle_that_is_none_is_well_formed_and_an_absent_one_is_not() {
        let delete = |id: &str| {
            DeleteVolume::try_from(csi::DeleteVolumeRequest {
                volume_id: id.to_owned(),
                ..Default::default()
            })
        };
        assert_eq!(delete("reallyfakevolumeid").unwrap().volume, None);
        assert_eq!(delete("").unwrap_err().field, "volume_id");
        assert!(delete("fs-92107410::fsap-01234567").unwrap().volume.is_some());
    }
}
