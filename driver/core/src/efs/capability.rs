//! How an EFS volume is to be used. EFS serves directories to any number of readers and writers,
//! so only the access type, the file system's name and a few mount flags can be wrong.

use csi_proto::csi;
use csi_proto::csi::volume_capability::AccessType;

use crate::capability::AccessMode;
use crate::rpc_error::Invalid;

/// One way to use an EFS volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EfsCapability {
    /// By whom.
    pub mode: AccessMode,
    /// Mount flags, each as the user wrote it.
    pub flags: Vec<String>,
}

impl EfsCapability {
    /// Reads a message's capability.
    ///
    /// # Errors
    /// A missing or unknown part, a block volume, another file system than EFS, the mount flag
    /// `crossaccount`, which the driver sets itself.
    pub fn parse(capability: Option<&csi::VolumeCapability>) -> Result<Self, Invalid> {
        let missing = |field: &str| Invalid::new(field, "must be set");
        let capability = capability.ok_or_else(|| missing("volume_capability"))?;
        let mode = capability
            .access_mode
            .as_ref()
            .ok_or_else(|| missing("volume_capability.access_mode"))?;
        let mode = AccessMode::parse(mode.mode)?;
        let mount = match &capability.access_type {
            None => return Err(missing("volume_capability.access_type")),
            Some(AccessType::Block(_)) => {
                return Err(Invalid::new(
                    "volume_capability.access_type",
                    "EFS volumes are directories; use volumeMode Filesystem",
                ));
            }
            Some(AccessType::Mount(mount)) => mount,
        };
        check_fs_type(&mount.fs_type)?;
        if mount.mount_flags.iter().any(|flag| flag.eq_ignore_ascii_case("crossaccount")) {
            return Err(Invalid::new(
                "volume_capability.mount.mount_flags",
                "must not contain crossaccount; set it in the provisioner's Secret or in the \
                 volume attributes",
            ));
        }
        Ok(Self { mode, flags: mount.mount_flags.clone() })
    }

    /// Reads a message's list of capabilities.
    ///
    /// # Errors
    /// An empty list, or the first error of a member.
    pub fn parse_all(capabilities: &[csi::VolumeCapability]) -> Result<Vec<Self>, Invalid> {
        if capabilities.is_empty() {
            return Err(Invalid::new("volume_capabilities", "must not be empty"));
        }
        capabilities.iter().map(|capability| Self::parse(Some(capability))).collect()
    }

    /// Whether the mode only reads.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        matches!(self.mode, AccessMode::SingleNodeReaderOnly | AccessMode::MultiNodeReaderOnly)
    }
}

fn check_fs_type(fs_type: &str) -> Result<(), Invalid> {
    match fs_type {
        "" | "efs" => Ok(()),
        other => Err(Invalid::new(
            "volume_capability.mount.fs_type",
            format!("must be efs or empty, got {other:?}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use csi_proto::csi::volume_capability::{BlockVolume, MountVolume, access_mode::Mode};

    fn message(access_type: Option<AccessType>, mode: Mode) -> csi::VolumeCapability {
        csi::VolumeCapability {
            access_mode: Some(csi::volume_capability::AccessMode { mode: mode.into() }),
            access_type,
        }
    }

    fn mount(fs_type: &str, flags: &[&str]) -> AccessType {
        AccessType::Mount(MountVolume {
            fs_type: fs_type.to_owned(),
            mount_flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
            ..MountVolume::default()
        })
    }

    #[test]
    fn every_access_mode_is_served_and_flags_keep_their_capitals() {
        for mode in [
            Mode::SingleNodeWriter,
            Mode::SingleNodeReaderOnly,
            Mode::MultiNodeReaderOnly,
            Mode::MultiNodeSingleWriter,
            Mode::MultiNodeMultiWriter,
            Mode::SingleNodeSingleWriter,
            Mode::SingleNodeMultiWriter,
        ] {
            let message = message(Some(mount("efs", &["awsprofile=Me"])), mode);
            let read = EfsCapability::parse(Some(&message));
            assert_eq!(read.unwrap().flags, ["awsprofile=Me"]);
        }
    }

    #[test]
    fn what_efs_is_not_is_refused_by_name() {
        let mode = Mode::MultiNodeMultiWriter;
        for (access, field) in [
            (None, "volume_capability.access_type"),
            (Some(AccessType::Block(BlockVolume {})), "volume_capability.access_type"),
            (Some(mount("ext4", &[])), "volume_capability.mount.fs_type"),
            (Some(mount("", &["crossaccount"])), "volume_capability.mount.mount_flags"),
        ] {
            let error = EfsCapability::parse(Some(&message(access, mode))).unwrap_err();
            assert_eq!(error.field, field);
        }
        assert_eq!(EfsCapability::parse_all(&[]).unwrap_err().field, "volume_capabilities");
        assert_eq!(EfsCapability::parse(None).unwrap_err().field, "volume_capability");
    }
}
