//! Parameters of a `StorageClass`, decided when a volume is made.

use std::collections::BTreeMap;

use super::template::VOLUME_VARIABLES;
use super::{Claim, InvalidTags, Match, Parameter, tags};
use crate::capability::{Access, Capability, FsType};
use crate::ebs::Tags;
use crate::rpc_error::Invalid;

/// What a `StorageClass` asks for. `None` is what EC2 takes by default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClassParameters {
    /// Volume type, as the user wrote it.
    pub volume_type: Option<String>,
    /// IOPS.
    pub iops: Option<u32>,
    /// IOPS for each GiB of size.
    pub iops_per_gib: Option<u32>,
    /// Whether IOPS below the type's minimum are lifted to it.
    pub lift_iops: bool,
    /// Whether a later modification may raise IOPS with the size; `None` if not said.
    pub raise_iops_on_modify: Option<bool>,
    /// Throughput in MiB/s.
    pub throughput: Option<u32>,
    /// Whether to encrypt; `None` if not said.
    pub encrypted: Option<bool>,
    /// KMS key.
    pub kms_key: Option<String>,
    /// Rate in MiB/s at which a restored volume is filled.
    pub initialization_rate: Option<u32>,
    /// Whether publishing waits until the volume is filled.
    pub block_attach_until_initialized: bool,
    /// Release of the oldest kernel that shall mount the volume.
    pub oldest_kernel: Option<String>,
    /// How to make the file system, by volume context key.
    pub format: Format,
    /// The claim that the volume is for.
    pub claim: Claim,
    /// Tags that the user adds.
    pub tags: Tags,
}

/// Options for mkfs. Keys are those of the volume context that the node reads.
pub type Format = BTreeMap<&'static str, String>;

/// Key of the volume context: `true` if publishing waits until the volume is filled.
pub const BLOCK_ATTACH: &str = "blockattachuntilinitialized";
/// Key of the volume context: release of the oldest kernel that shall mount the volume.
pub const OLDEST_KERNEL: &str = "oldestkernel";

/// A `StorageClass`'s parameters.
pub static CLASS: &[Parameter<ClassParameters>] = &[
    Parameter {
        key: "type",
        matching: Match::AnyCase,
        accepts: "a volume type of EC2, in EC2's spelling",
        default: "gp3",
        meaning: "Volume type.",
        apply: |class, given| {
            class.volume_type = given.text();
            Ok(())
        },
    },
    Parameter {
        key: "iops",
        matching: Match::AnyCase,
        accepts: "a whole number; 0 and below mean not set",
        default: "EC2's default for the type",
        meaning: "IOPS. More than the type has in the zone, or grants for the size, is lowered; fewer than its minimum is refused.",
        apply: |class, given| {
            class.iops = given.number()?;
            Ok(())
        },
    },
    Parameter {
        key: "iopsPerGB",
        matching: Match::AnyCase,
        accepts: "a whole number; 0 and below mean not set",
        default: "not set",
        meaning: "IOPS for each GiB of the volume, remembered in a tag. Limits as for iops. Not together with it.",
        apply: |class, given| {
            class.iops_per_gib = given.number()?;
            Ok(())
        },
    },
    Parameter {
        key: "allowAutoIOPSPerGBIncrease",
        matching: Match::AnyCase,
        accepts: "true or false",
        default: "false",
        meaning: "Lifts IOPS below the type's minimum to it instead of refusing them.",
        apply: |class, given| {
            class.lift_iops = given.flag()?;
            Ok(())
        },
    },
    Parameter {
        key: "allowAutoIOPSIncreaseOnModify",
        matching: Match::AnyCase,
        accepts: "true or false",
        default: "not set",
        meaning: "Keeps the ratio of iopsPerGB when the volume is expanded; remembered in a tag.",
        apply: |class, given| {
            class.raise_iops_on_modify = Some(given.flag()?);
            Ok(())
        },
    },
    Parameter {
        key: "throughput",
        matching: Match::AnyCase,
        accepts: "a whole number of MiB/s; 0 and below mean not set",
        default: "EC2's default for the type",
        meaning: "Throughput in MiB/s, gp3 only. Needs the IOPS that the type asks for it.",
        apply: |class, given| {
            class.throughput = given.number()?;
            Ok(())
        },
    },
    Parameter {
        key: "encrypted",
        matching: Match::AnyCase,
        accepts: "true or false",
        default: "false",
        meaning: "Encrypts the volume. A copy of a volume is encrypted as its source; there false is refused.",
        apply: |class, given| {
            class.encrypted = Some(given.flag()?);
            Ok(())
        },
    },
    Parameter {
        key: "kmsKeyId",
        matching: Match::AnyCase,
        accepts: "ARN, id or alias of a KMS key",
        default: "the account's default key",
        meaning: "Key to encrypt with; implies encrypted. For a copy of a volume it must be the source's.",
        apply: |class, given| {
            class.kms_key = given.text();
            Ok(())
        },
    },
    Parameter {
        key: "volumeInitializationRate",
        matching: Match::AnyCase,
        accepts: "a whole number of MiB/s; 0 and below mean not set",
        default: "not set",
        meaning: "Rate in MiB/s at which a volume made from a snapshot is filled in the background; no effect on others. EC2 takes 100 to 300.",
        apply: |class, given| {
            class.initialization_rate = given.number()?;
            Ok(())
        },
    },
    Parameter {
        key: "blockAttachUntilInitialized",
        matching: Match::AnyCase,
        accepts: "true or false",
        default: "false",
        meaning: "Pods wait until a volume that was made from a snapshot or a volume is filled, so that their first reads are not slow. It can take hours; see volumeInitializationRate.",
        apply: |class, given| {
            class.block_attach_until_initialized = given.flag()?;
            Ok(())
        },
    },
    Parameter {
        key: "oldestKernel",
        matching: Match::AnyCase,
        accepts: "a kernel's version, such as 5.10",
        default: "--oldest-kernel of the controller, or the features that every kernel since 4.16 has",
        meaning: "New file systems get features that kernels from this version on can mount.",
        apply: |class, given| {
            class.oldest_kernel = given.text();
            class
                .oldest_kernel
                .as_ref()
                .map_or(Ok(()), |kernel| super::check_kernel(given.key, kernel))
        },
    },
    option("blockSize", "Block size of the file system, in bytes.", |class, given| {
        set(&mut class.format, "blocksize", given.alphanumeric()?)
    }),
    option("inodeSize", "Size of an inode, in bytes.", |class, given| {
        set(&mut class.format, "inodesize", given.alphanumeric()?)
    }),
    option("bytesPerInode", "Bytes for each inode; ext3 and ext4 only.", |class, given| {
        set(&mut class.format, "bytesperinode", given.alphanumeric()?)
    }),
    option("numberOfInodes", "Number of inodes; ext3 and ext4 only.", |class, given| {
        set(&mut class.format, "numberofinodes", given.alphanumeric()?)
    }),
    option("ext4ClusterSize", "Cluster size in bytes; needs ext4BigAlloc.", |class, given| {
        set(&mut class.format, "ext4clustersize", given.alphanumeric()?)
    }),
    Parameter {
        key: "ext4BigAlloc",
        matching: Match::AnyCase,
        accepts: "true or false",
        default: "false",
        meaning: "Makes an ext4 with clustered allocation.",
        apply: |class, given| {
            set(&mut class.format, "ext4bigalloc", given.flag()?.then(|| "true".to_owned()))
        },
    },
    Parameter {
        key: "ext4EncryptionSupport",
        matching: Match::AnyCase,
        accepts: "true or false",
        default: "false",
        meaning: "Makes an ext4 that can encrypt folders.",
        apply: |class, given| {
            let value = given.flag()?.then(|| "true".to_owned());
            set(&mut class.format, "ext4encryptionsupport", value)
        },
    },
    Parameter {
        key: "csi.storage.k8s.io/pvc/name",
        matching: Match::AnyCase,
        accepts: "set by the provisioner",
        default: "not set",
        meaning: "Becomes the tag kubernetes.io/created-for/pvc/name.",
        apply: |class, given| {
            class.claim.pvc_name = given.text();
            Ok(())
        },
    },
    Parameter {
        key: "csi.storage.k8s.io/pvc/namespace",
        matching: Match::AnyCase,
        accepts: "set by the provisioner",
        default: "not set",
        meaning: "Becomes the tag kubernetes.io/created-for/pvc/namespace.",
        apply: |class, given| {
            class.claim.pvc_namespace = given.text();
            Ok(())
        },
    },
    Parameter {
        key: "csi.storage.k8s.io/pv/name",
        matching: Match::AnyCase,
        accepts: "set by the provisioner",
        default: "not set",
        meaning: "Becomes the tag kubernetes.io/created-for/pv/name.",
        apply: |class, given| {
            class.claim.pv_name = given.text();
            Ok(())
        },
    },
    Parameter {
        key: "tagSpecification",
        matching: Match::Prefix,
        accepts: "key=template",
        default: "not set",
        meaning: "Adds a tag. Several are told apart by what follows, tagSpecification_1.",
        apply: |class, given| {
            tags::add(&mut class.tags, given, VOLUME_VARIABLES, class.claim.values())
        },
    },
    ignored("fsType", "Read by the provisioner; csi.storage.k8s.io/fstype is its newer name."),
    ignored("blockExpress", "All io2 volumes are Block Express."),
];

const fn option(
    key: &'static str,
    meaning: &'static str,
    apply: fn(&mut ClassParameters, &super::Given<'_>) -> Result<(), Invalid>,
) -> Parameter<ClassParameters> {
    Parameter {
        key,
        matching: Match::AnyCase,
        accepts: "letters and digits",
        default: "mkfs's choice",
        meaning,
        apply,
    }
}

const fn ignored(key: &'static str, meaning: &'static str) -> Parameter<ClassParameters> {
    Parameter {
        key,
        matching: Match::AnyCase,
        accepts: "anything",
        default: "",
        meaning,
        apply: |_class, _given| Ok(()),
    }
}

#[expect(clippy::unnecessary_wraps, reason = "ends the closures of the table")]
fn set(format: &mut Format, key: &'static str, value: Option<String>) -> Result<(), Invalid> {
    if let Some(value) = value {
        format.insert(key, value);
    }
    Ok(())
}

impl ClassParameters {
    /// What the volume's context says to later calls.
    #[must_use]
    pub fn context(&self) -> BTreeMap<String, String> {
        let wait = self.block_attach_until_initialized.then(|| "true".to_owned());
        let more = [(BLOCK_ATTACH, wait), (OLDEST_KERNEL, self.oldest_kernel.clone())];
        let more = more.into_iter().filter_map(|(key, value)| Some((key, value?)));
        let format = self.format.iter().map(|(key, value)| (*key, value.clone()));
        format.chain(more).map(|(key, value)| (key.to_owned(), value)).collect()
    }

    /// Reads a `StorageClass`'s parameters.
    ///
    /// # Errors
    /// The first parameter that is unknown or breaks its rule, by name.
    pub fn parse(
        parameters: &BTreeMap<String, String>,
        invalid_tags: InvalidTags,
    ) -> Result<Self, Invalid> {
        let parsed = super::parse(CLASS, Self::default(), parameters, invalid_tags)?;
        if parsed.iops.is_some() && parsed.iops_per_gib.is_some() {
            return Err(Invalid::new("iopsPerGB", "must not be set together with iops"));
        }
        if parsed.format.contains_key("ext4clustersize")
            && !parsed.format.contains_key("ext4bigalloc")
        {
            return Err(Invalid::new("ext4ClusterSize", "needs ext4BigAlloc: \"true\""));
        }
        Ok(parsed)
    }

    /// Checks that the format options fit how the volume will be used.
    ///
    /// # Errors
    /// An option that the file system does not know, or any with block access.
    pub fn check_format(&self, capabilities: &[Capability]) -> Result<(), Invalid> {
        for key in self.format.keys() {
            for capability in capabilities {
                match &capability.access {
                    Access::Block => {
                        return Err(Invalid::new(*key, "needs a file system, not block access"));
                    }
                    Access::Mount { fs_type, .. } if !knows(*fs_type, key) => {
                        return Err(Invalid::new(*key, format!("{fs_type} has no such option")));
                    }
                    Access::Mount { .. } => {}
                }
            }
        }
        Ok(())
    }
}

/// The format options as documented, and their keys in the volume context.
pub(super) const FORMAT_OPTIONS: [(&str, &str); 7] = [
    ("blockSize", "blocksize"),
    ("inodeSize", "inodesize"),
    ("bytesPerInode", "bytesperinode"),
    ("numberOfInodes", "numberofinodes"),
    ("ext4BigAlloc", "ext4bigalloc"),
    ("ext4ClusterSize", "ext4clustersize"),
    ("ext4EncryptionSupport", "ext4encryptionsupport"),
];

/// Whether mkfs of that file system takes the option.
pub(super) fn knows(fs_type: FsType, key: &str) -> bool {
    match fs_type {
        FsType::Ext4 => true,
        FsType::Ext3 => !key.starts_with("ext4"),
        FsType::Xfs => matches!(key, "blocksize" | "inodesize"),
    }
}

#[cfg(test)]
mod tests;
