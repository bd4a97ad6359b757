//! How a volume is to be used: access type, access mode, file system and mount flags.

use std::fmt;
use std::str::FromStr;

use csi_proto::csi;
use csi_proto::csi::volume_capability::{AccessType, access_mode::Mode};

use crate::rpc_error::Invalid;

/// File systems that the node plugin makes and mounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum FsType {
    /// The default.
    #[default]
    Ext4,
    /// ext3.
    Ext3,
    /// XFS.
    Xfs,
}

impl FsType {
    /// The name that mount(2) and mkfs know.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Ext3 => "ext3",
            Self::Xfs => "xfs",
        }
    }
}

impl fmt::Display for FsType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for FsType {
    type Err = Invalid;

    /// Accepts any capitalisation, as the EBS driver always has; empty means ext4.
    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text.to_ascii_lowercase().as_str() {
            "" | "ext4" => Ok(Self::Ext4),
            "ext3" => Ok(Self::Ext3),
            "xfs" => Ok(Self::Xfs),
            _ => Err(Invalid::new(
                "volume_capability.mount.fs_type",
                format!("must be ext4, ext3 or xfs, got {text:?}"),
            )),
        }
    }
}

/// What the container gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// The device itself.
    Block,
    /// A directory.
    Mount {
        /// File system to make if the volume is blank.
        fs_type: FsType,
        /// Flags for mount(2), each as the user wrote it.
        flags: Vec<String>,
    },
}

/// Which nodes and pods may use the volume at once (CSI specification, `VolumeCapability.AccessMode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AccessMode {
    /// One node, read and write. Kubernetes' ReadWriteOnce.
    SingleNodeWriter,
    /// One node, read only.
    SingleNodeReaderOnly,
    /// Many nodes, read and write. Kubernetes' ReadWriteMany; for EBS only as a block device.
    MultiNodeMultiWriter,
    /// Many nodes, read only. Kubernetes' ReadOnlyMany.
    MultiNodeReaderOnly,
    /// Many nodes, one of which writes.
    MultiNodeSingleWriter,
    /// One node, one pod. Kubernetes' ReadWriteOncePod.
    SingleNodeSingleWriter,
    /// One node, many pods.
    SingleNodeMultiWriter,
}

/// One way to use a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capability {
    /// Device or directory.
    pub access: Access,
    /// By whom.
    pub mode: AccessMode,
}

impl Capability {
    /// Reads a message's capability.
    ///
    /// # Errors
    /// A missing access type or mode, an unknown mode, an unknown file system.
    pub fn parse(capability: Option<&csi::VolumeCapability>) -> Result<Self, Invalid> {
        let missing = |field: &str| Invalid::new(field, "must be set");
        let capability = capability.ok_or_else(|| missing("volume_capability"))?;
        let mode = capability
            .access_mode
            .as_ref()
            .ok_or_else(|| missing("volume_capability.access_mode"))?;
        let access = match &capability.access_type {
            None => return Err(missing("volume_capability.access_type")),
            Some(AccessType::Block(_)) => Access::Block,
            Some(AccessType::Mount(mount)) => {
                Access::Mount { fs_type: mount.fs_type.parse()?, flags: mount.mount_flags.clone() }
            }
        };
        Ok(Self { access, mode: AccessMode::parse(mode.mode)? })
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

    /// Whether EBS can serve this, and if not, why.
    ///
    /// # Errors
    /// The rule it breaks.
    pub fn check_ebs(&self) -> Result<(), Invalid> {
        let refuse = |rule: &str| Err(Invalid::new("volume_capability", rule));
        match (&self.access, self.mode) {
            (
                _,
                AccessMode::SingleNodeWriter
                | AccessMode::SingleNodeSingleWriter
                | AccessMode::SingleNodeMultiWriter
                | AccessMode::SingleNodeReaderOnly,
            )
            | (Access::Block, AccessMode::MultiNodeMultiWriter) => Ok(()),
            (Access::Mount { .. }, AccessMode::MultiNodeMultiWriter) => refuse(
                "ReadWriteMany needs volumeMode Block (and an io2 volume): a file system of one \
                 node would be corrupted by a second; use EFS for shared directories",
            ),
            (_, AccessMode::MultiNodeReaderOnly | AccessMode::MultiNodeSingleWriter) => refuse(
                "EBS volumes attach to one node, or as io2 with volumeMode Block to several \
                 writers; this access mode is not supported",
            ),
        }
    }

    /// Whether a node-local volume can serve this, and if not, why: each node has a volume of its own
    /// behind the handle, so that many nodes may write.
    ///
    /// # Errors
    /// The rule it breaks.
    pub fn check_node_local(&self) -> Result<(), Invalid> {
        match self.mode {
            AccessMode::MultiNodeMultiWriter => Ok(()),
            _ => self.check_ebs(),
        }
    }

    /// Whether a second node may use the volume at the same time.
    #[must_use]
    pub fn is_multi_attach(&self) -> bool {
        matches!(self.mode, AccessMode::MultiNodeMultiWriter)
    }
}

impl AccessMode {
    pub(crate) fn parse(mode: i32) -> Result<Self, Invalid> {
        let unknown = || {
            Invalid::new(
                "volume_capability.access_mode.mode",
                format!("{mode} is not a known mode"),
            )
        };
        match Mode::try_from(mode).map_err(|_unknown| unknown())? {
            Mode::Unknown => Err(unknown()),
            Mode::SingleNodeWriter => Ok(Self::SingleNodeWriter),
            Mode::SingleNodeReaderOnly => Ok(Self::SingleNodeReaderOnly),
            Mode::MultiNodeReaderOnly => Ok(Self::MultiNodeReaderOnly),
            Mode::MultiNodeSingleWriter => Ok(Self::MultiNodeSingleWriter),
            Mode::MultiNodeMultiWriter => Ok(Self::MultiNodeMultiWriter),
            Mode::SingleNodeSingleWriter => Ok(Self::SingleNodeSingleWriter),
            Mode::SingleNodeMultiWriter => Ok(Self::SingleNodeMultiWriter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(access_type: impl Into<Option<AccessType>>, mode: i32) -> csi::VolumeCapability {
        csi::VolumeCapability {
            access_mode: Some(csi::volume_capability::AccessMode { mode }),
            access_type: access_type.into(),
        }
    }

    fn mount(fs_type: &str) -> AccessType {
        AccessType::Mount(csi::volume_capability::MountVolume {
            fs_type: fs_type.to_owned(),
            ..Default::default()
        })
    }

    fn block() -> AccessType {
        AccessType::Block(csi::volume_capability::BlockVolume {})
    }

    #[test]
    fn an_empty_file_system_type_is_ext4_and_capitals_do_not_matter() {
        let mode = Mode::SingleNodeWriter as i32;
        for (text, want) in [("", FsType::Ext4), ("XFS", FsType::Xfs), ("ext3", FsType::Ext3)] {
            let parsed = Capability::parse(Some(&message(mount(text), mode))).unwrap();
            assert_eq!(parsed.access, Access::Mount { fs_type: want, flags: vec![] });
        }
        let error = Capability::parse(Some(&message(mount("ntfs"), mode))).unwrap_err();
        assert_eq!(error.field, "volume_capability.mount.fs_type");
    }

    #[test]
    fn unset_and_unknown_parts_are_refused_by_name() {
        assert_eq!(Capability::parse(None).unwrap_err().field, "volume_capability");
        let no_type = message(None, Mode::SingleNodeWriter as i32);
        assert_eq!(
            Capability::parse(Some(&no_type)).unwrap_err().field,
            "volume_capability.access_type"
        );
        for mode in [0, 99, -1] {
            assert_eq!(
                Capability::parse(Some(&message(block(), mode))).unwrap_err().field,
                "volume_capability.access_mode.mode"
            );
        }
    }

    #[test]
    fn many_writers_need_a_block_device() {
        let many = Mode::MultiNodeMultiWriter as i32;
        Capability::parse(Some(&message(block(), many))).unwrap().check_ebs().unwrap();
        let error = Capability::parse(Some(&message(mount(""), many))).unwrap().check_ebs();
        assert!(error.unwrap_err().rule.contains("volumeMode Block"));
    }
}
