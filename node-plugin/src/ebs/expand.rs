//! `NodeExpandVolume`.
//!
//! *Flow.* Find the disk behind the path, prove its identity, wait until it shows the size that is
//! asked for, grow the mounted file system. *Guarantees.* A repeated call changes nothing.

use std::path::{Path, PathBuf};

use csi_core::rpc_error::GrpcCode;
use csi_core::{Bytes, VolumeId};
use tonic::Code;

use crate::apply::{StepFailed, apply};
use crate::ebs::request::Expand;
use crate::identity::Wanted;
use crate::kernel::{Disk, Kernel, KernelError, MountEntry, PathKind, Serial, Step};
use crate::observe::{self, FindError};
use crate::plan::Place;
use crate::plan::stage::grow_tool;
use crate::probe::Content;

/// Why a volume is not expanded.
#[derive(Debug, thiserror::Error)]
pub enum ExpandError {
    /// Nothing is mounted or bound at the path.
    #[error("{volume} is not at {}", path.display())]
    NotThere {
        /// The volume.
        volume: VolumeId,
        /// The path.
        path: PathBuf,
    },
    /// Another disk is at the path.
    #[error("{} shows {disk} with serial {serial:?}, not {volume}", path.display())]
    OtherVolume {
        /// The volume.
        volume: VolumeId,
        /// The path.
        path: PathBuf,
        /// The disk there.
        disk: String,
        /// Its serial.
        serial: Serial,
    },
    /// The disk has not grown yet.
    #[error(
        "{disk} ({volume}) still has {has} bytes and not {wants}; has the volume been modified?"
    )]
    NotGrown {
        /// The volume.
        volume: VolumeId,
        /// The disk.
        disk: String,
        /// Bytes of the disk.
        has: u64,
        /// Bytes asked for.
        wants: u64,
    },
    /// The disk is larger than allowed.
    #[error("{disk} ({volume}) has {has} bytes, more than the limit that was given")]
    TooLarge {
        /// The volume.
        volume: VolumeId,
        /// The disk.
        disk: String,
        /// Bytes of the disk.
        has: u64,
    },
    /// A raw volume's disk cannot be used.
    #[error(transparent)]
    Find(#[from] FindError),
    /// Disk or path cannot be looked at.
    #[error("cannot expand at {}", path.display())]
    Look {
        /// The path.
        path: PathBuf,
        /// What failed.
        source: KernelError,
    },
    /// A step failed.
    #[error(transparent)]
    Step(#[from] StepFailed),
}

impl GrpcCode for ExpandError {
    fn code(&self) -> Code {
        match self {
            Self::NotThere { .. } => Code::NotFound,
            Self::OtherVolume { .. } => Code::FailedPrecondition,
            // It will, once EC2 has done what the controller asked for.
            Self::NotGrown { .. } => Code::Unavailable,
            Self::TooLarge { .. } => Code::OutOfRange,
            Self::Find(error) => error.code(),
            Self::Look { source, .. } => source.code(),
            Self::Step(error) => error.code(),
        }
    }
}

impl ExpandError {
    /// Whether waiting may help.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::NotGrown { .. })
    }
}

/// Grows the file system at the path, if there is one; returns the size of the disk.
///
/// # Errors
/// [`ExpandError`].
pub fn expand<K: Kernel>(kernel: &K, request: &Expand) -> Result<Bytes, ExpandError> {
    let look = |source| ExpandError::Look { path: request.path.clone(), source };
    let place = observe::place(kernel, &request.path).map_err(look)?;
    let disk = disk_at(kernel, &place, request)?;
    let pin = kernel.pin(&disk).map_err(look)?;
    let size = kernel.size(&pin);
    check_size(request, &disk, size)?;
    if let Some(top) = mounted_from(&place, &disk) {
        let probe = kernel.probe(&pin, false).map_err(look)?;
        if let Content::FileSystem(found) = probe.content
            && found.grows_on(size)
            && !disk.read_only
            && !top.is_read_only()
        {
            let step = Step::Grow { at: place.path.clone(), fs: grow_tool(found.kind) };
            apply(kernel, Some(&pin), vec![step])?;
        }
    }
    Ok(size)
}

/// The mount of the disk's file system at the place, if it is no raw device.
fn mounted_from<'a>(place: &'a Place, disk: &Disk) -> Option<&'a MountEntry> {
    place.top().filter(|top| top.device == disk.number)
}

fn disk_at<K: Kernel>(kernel: &K, place: &Place, request: &Expand) -> Result<Disk, ExpandError> {
    let look = |source| ExpandError::Look { path: request.path.clone(), source };
    let not_there = || {
        let (volume, path) = (request.volume.clone(), request.path.clone());
        ExpandError::NotThere { volume, path }
    };
    let number = match (place.kind, place.top()) {
        (PathKind::BlockDevice(number), _) => number,
        (_, Some(top)) if top.root == Path::new("/") => top.device,
        // The device of a raw volume may be named by a folder that kubelet keeps for it.
        (PathKind::Directory | PathKind::File, None) if request.block => {
            let wanted =
                Wanted { volume: request.volume.clone(), device_path: None, at_least: None };
            return Ok(observe::find(kernel, &wanted, &request.path)?.0);
        }
        _ => return Err(not_there()),
    };
    let disks = kernel.disks().map_err(look)?;
    let disk = disks.into_iter().find(|disk| disk.number == number).ok_or_else(not_there)?;
    match &disk.serial {
        Serial::Known(serial) if *serial == request.volume.nvme_serial() => Ok(disk),
        // Xen: the path is all there is.
        Serial::Absent => Ok(disk),
        serial => Err(ExpandError::OtherVolume {
            volume: request.volume.clone(),
            path: request.path.clone(),
            disk: disk.name.clone(),
            serial: serial.clone(),
        }),
    }
}

fn check_size(request: &Expand, disk: &Disk, size: Bytes) -> Result<(), ExpandError> {
    let (volume, disk, has) = (request.volume.clone(), disk.name.clone(), size.0);
    match (request.at_least, request.limit) {
        (Some(wants), _) if size < wants => {
            Err(ExpandError::NotGrown { volume, disk, has, wants: wants.0 })
        }
        (_, Some(limit)) if size > limit => Err(ExpandError::TooLarge { volume, disk, has }),
        _ => Ok(()),
    }
}
