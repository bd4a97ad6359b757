//! Reads the Node service's messages into domain types. After this no message of the protocol is
//! seen. All fields are checked before the volume id: an id that is none of ours is a well-formed
//! request for a volume that does not exist.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use csi_core::id::InvalidId;
use csi_core::rpc_error::GrpcCode;
use csi_core::{Access, AccessMode, Bytes, Capability, CapacityRange, Invalid, VolumeId};
use csi_proto::csi;
use tonic::Code;

use crate::features::KernelVersion;
use crate::format::FormatOptions;
use crate::identity::Wanted;
use crate::mount_options::MountOptions;
use crate::plan::{publish, stage};

/// Key of the publish context: the device name of the attachment.
pub const DEVICE_PATH: &str = "devicePath";
/// Key of the publish context: the volume's size in bytes when it was attached.
pub const VOLUME_SIZE: &str = "volumeSizeBytes";
/// Key of the publish context: release of the oldest kernel in the cluster, which a file system that
/// is made now must suit.
pub const OLDEST_KERNEL: &str = "oldestKernel";
/// Key of the volume context: a partition to use instead of the whole disk; only 0 is supported.
const PARTITION: &str = "partition";

/// Why a request is not even tried.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// A field breaks a rule.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// No volume can have this id.
    #[error("no such volume")]
    NoSuchVolume(#[source] InvalidId),
    /// The path is relative, so nothing of ours is there.
    #[error("{path}: no volume is at a relative path")]
    NotThere {
        /// The path as it came.
        path: String,
    },
}

impl GrpcCode for RequestError {
    fn code(&self) -> Code {
        match self {
            Self::Invalid(invalid) => invalid.code(),
            Self::NoSuchVolume(_) | Self::NotThere { .. } => Code::NotFound,
        }
    }
}

/// `NodeStageVolume`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// The volume, as far as it is known.
    pub wanted: Wanted,
    /// Where.
    pub path: PathBuf,
    /// The file system; `None` for a raw device, which is only looked for.
    pub file_system: Option<stage::Stage>,
}

/// `NodePublishVolume`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// The volume, as far as it is known.
    pub wanted: Wanted,
    /// Where.
    pub target: PathBuf,
    /// What and how.
    pub publish: publish::Publish,
}

/// `NodeUnpublishVolume` or `NodeUnstageVolume`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmount {
    /// The volume, or why there can be none; what is not mounted is unmounted all the same.
    pub volume: Result<VolumeId, InvalidId>,
    /// Where.
    pub path: PathBuf,
}

/// `NodeExpandVolume`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expand {
    /// The volume.
    pub volume: VolumeId,
    /// Where it is staged or published.
    pub path: PathBuf,
    /// Least size that the disk must show, if any.
    pub at_least: Option<Bytes>,
    /// Largest size that it may have, if any.
    pub limit: Option<Bytes>,
    /// Whether the request says that this is a raw device.
    pub block: bool,
}

/// `NodeGetVolumeStats`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stats {
    /// The volume.
    pub volume: VolumeId,
    /// Where it is staged or published.
    pub path: PathBuf,
}

/// Context maps of the messages.
type Context = BTreeMap<String, String>;

impl Stage {
    /// Reads the message.
    ///
    /// # Errors
    /// The first field that breaks a rule.
    pub fn parse(
        message: &csi::NodeStageVolumeRequest,
        legacy_xfs: bool,
    ) -> Result<Self, RequestError> {
        present("volume_id", &message.volume_id)?;
        let path = absolute("staging_target_path", &message.staging_target_path)?;
        let capability = capability(message.volume_capability.as_ref())?;
        check_partition(&message.volume_context)?;
        let get = |key: &str| message.volume_context.get(key).map(String::as_str);
        let file_system = match capability.access {
            Access::Block => {
                if let Some(option) = FormatOptions::first_set(get) {
                    let rule = "a raw block volume has no file system to make";
                    return Err(Invalid::new(option, rule).into());
                }
                None
            }
            Access::Mount { fs_type: fs, flags } => Some(stage::Stage {
                fs,
                options: MountOptions::parse(flags.iter().map(String::as_str)),
                format: FormatOptions::parse(fs, get)?
                    .for_old_xfs(legacy_xfs)
                    .for_kernels_from(oldest_kernel(&message.publish_context)),
            }),
        };
        let wanted = wanted(&message.volume_id, &message.publish_context)?;
        Ok(Self { wanted, path, file_system })
    }
}

impl Publish {
    /// Reads the message.
    ///
    /// # Errors
    /// The first field that breaks a rule.
    pub fn parse(message: &csi::NodePublishVolumeRequest) -> Result<Self, RequestError> {
        present("volume_id", &message.volume_id)?;
        let target = absolute("target_path", &message.target_path)?;
        let capability = capability(message.volume_capability.as_ref())?;
        check_partition(&message.volume_context)?;
        let (source, mut options) = match capability.access {
            Access::Block => (publish::Source::Device, MountOptions::default()),
            Access::Mount { flags, .. } => {
                let staging = absolute("staging_target_path", &message.staging_target_path)?;
                let options = MountOptions::parse(flags.iter().map(String::as_str));
                (publish::Source::Directory(staging), options)
            }
        };
        if message.readonly || capability.mode == AccessMode::SingleNodeReaderOnly {
            options.flags |= nix::mount::MsFlags::MS_RDONLY;
        }
        let only_target = capability.mode == AccessMode::SingleNodeSingleWriter;
        let wanted = wanted(&message.volume_id, &message.publish_context)?;
        let publish = publish::Publish { source, flags: options.per_mount(), only_target };
        Ok(Self { wanted, target, publish })
    }
}

impl Unmount {
    /// Reads `NodeUnpublishVolume`.
    ///
    /// # Errors
    /// The first field that breaks a rule.
    pub fn unpublish(message: &csi::NodeUnpublishVolumeRequest) -> Result<Self, RequestError> {
        present("volume_id", &message.volume_id)?;
        let path = absolute("target_path", &message.target_path)?;
        Ok(Self { volume: message.volume_id.parse(), path })
    }

    /// Reads `NodeUnstageVolume`.
    ///
    /// # Errors
    /// The first field that breaks a rule.
    pub fn unstage(message: &csi::NodeUnstageVolumeRequest) -> Result<Self, RequestError> {
        present("volume_id", &message.volume_id)?;
        let path = absolute("staging_target_path", &message.staging_target_path)?;
        Ok(Self { volume: message.volume_id.parse(), path })
    }
}

impl Expand {
    /// Reads the message.
    ///
    /// # Errors
    /// The first field that breaks a rule.
    pub fn parse(message: &csi::NodeExpandVolumeRequest) -> Result<Self, RequestError> {
        present("volume_id", &message.volume_id)?;
        present("volume_path", &message.volume_path)?;
        CapacityRange::parse(message.capacity_range.as_ref())?;
        let range = message.capacity_range.unwrap_or_default();
        let end = |bytes: i64| u64::try_from(bytes).ok().filter(|&bytes| bytes > 0).map(Bytes);
        let (at_least, limit) = (end(range.required_bytes), end(range.limit_bytes));
        let block = match &message.volume_capability {
            None => false,
            Some(found) => capability(Some(found))?.access == Access::Block,
        };
        let path = existing_path(&message.volume_path)?;
        let volume = volume(&message.volume_id)?;
        Ok(Self { volume, path, at_least, limit, block })
    }
}

impl Stats {
    /// Reads the message.
    ///
    /// # Errors
    /// The first field that breaks a rule.
    pub fn parse(message: &csi::NodeGetVolumeStatsRequest) -> Result<Self, RequestError> {
        present("volume_id", &message.volume_id)?;
        present("volume_path", &message.volume_path)?;
        let path = existing_path(&message.volume_path)?;
        Ok(Self { volume: volume(&message.volume_id)?, path })
    }
}

fn present(field: &'static str, text: &str) -> Result<(), Invalid> {
    if text.is_empty() { Err(Invalid::new(field, "must be set")) } else { Ok(()) }
}

fn absolute(field: &'static str, text: &str) -> Result<PathBuf, Invalid> {
    present(field, text)?;
    let path = Path::new(text);
    let plain = |part| matches!(part, Component::RootDir | Component::Normal(_));
    if path.is_absolute() && path.file_name().is_some() && path.components().all(plain) {
        Ok(path.components().collect())
    } else {
        Err(Invalid::new(field, format!("must be an absolute path without `..`, got {text:?}")))
    }
}

/// The path of a volume that is said to be there already: at another path there is none.
fn existing_path(text: &str) -> Result<PathBuf, RequestError> {
    absolute("volume_path", text)
        .map_err(|_not_absolute| RequestError::NotThere { path: text.to_owned() })
}

fn capability(message: Option<&csi::VolumeCapability>) -> Result<Capability, Invalid> {
    let capability = Capability::parse(message)?;
    capability.check_ebs()?;
    Ok(capability)
}

fn check_partition(context: &Context) -> Result<(), Invalid> {
    match context.get(PARTITION).map(String::as_str) {
        None | Some("" | "0") => Ok(()),
        Some(other) => Err(Invalid::new(
            PARTITION,
            format!("only whole disks are supported (0 or unset), got {other:?}"),
        )),
    }
}

/// What is not known, or written in a way that we do not know, is left out: the file system is then
/// made for old kernels.
fn oldest_kernel(context: &Context) -> Option<KernelVersion> {
    context.get(OLDEST_KERNEL).and_then(|release| KernelVersion::parse(release))
}

fn volume(text: &str) -> Result<VolumeId, RequestError> {
    text.parse().map_err(RequestError::NoSuchVolume)
}

fn wanted(id: &str, context: &Context) -> Result<Wanted, RequestError> {
    let set = |key: &str| context.get(key).filter(|value| !value.is_empty());
    let at_least = match set(VOLUME_SIZE).map(|text| (text, text.parse())) {
        None => None,
        Some((_, Ok(bytes))) => Some(Bytes(bytes)),
        Some((text, Err(_))) => {
            let rule = format!("must be a number of bytes, got {text:?}");
            return Err(Invalid::new(format!("publish_context.{VOLUME_SIZE}"), rule).into());
        }
    };
    Ok(Wanted { volume: volume(id)?, device_path: set(DEVICE_PATH).cloned(), at_least })
}
