//! `NodeGetVolumeStats`.

use std::path::{Path, PathBuf};

use csi_core::VolumeId;
use csi_core::rpc_error::GrpcCode;
use csi_proto::csi::VolumeUsage;
use csi_proto::csi::volume_usage::Unit;
use tonic::Code;

use crate::ebs::request::Stats;
use crate::kernel::{Disk, Kernel, KernelError, PathKind, Serial, Usage};
use crate::observe;

/// Why a volume is not measured.
#[derive(Debug, thiserror::Error)]
pub enum StatsError {
    /// The volume is not there.
    #[error("{volume} is not at {}", path.display())]
    NotThere {
        /// The volume.
        volume: VolumeId,
        /// The path.
        path: PathBuf,
    },
    /// The kernel does not tell.
    #[error("cannot measure {}", path.display())]
    Look {
        /// The path.
        path: PathBuf,
        /// What failed.
        source: KernelError,
    },
}

impl GrpcCode for StatsError {
    fn code(&self) -> Code {
        match self {
            Self::NotThere { .. } => Code::NotFound,
            Self::Look { source, .. } => source.code(),
        }
    }
}

/// Measures the file system or the device at the path.
///
/// # Errors
/// [`StatsError`].
pub fn stats<K: Kernel>(kernel: &K, request: &Stats) -> Result<Vec<VolumeUsage>, StatsError> {
    let look = |source| StatsError::Look { path: request.path.clone(), source };
    let not_there = || {
        let (volume, path) = (request.volume.clone(), request.path.clone());
        StatsError::NotThere { volume, path }
    };
    let place = observe::place(kernel, &request.path).map_err(look)?;
    let disks = kernel.disks().map_err(look)?;
    match (place.kind, place.top()) {
        (PathKind::BlockDevice(number), _) => {
            let ours = |disk: &&Disk| disk.number == number && may_be(disk, &request.volume);
            let disk = disks.iter().find(ours).ok_or_else(not_there)?;
            Ok(vec![usage(Unit::Bytes, disk.size.0, None)])
        }
        (_, Some(top)) => {
            let ours = |disk: &Disk| disk.number == top.device && may_be(disk, &request.volume);
            if top.root != Path::new("/") || !disks.iter().any(ours) {
                return Err(not_there());
            }
            Ok(of_file_system(kernel.usage(&place.path).map_err(look)?))
        }
        _ => Err(not_there()),
    }
}

/// Whether a disk that is in its place may be the volume. Without a serial the place must do.
fn may_be(disk: &Disk, volume: &VolumeId) -> bool {
    match &disk.serial {
        Serial::Known(serial) => *serial == volume.nvme_serial(),
        Serial::Unreadable(_) => false,
        Serial::Absent => true,
    }
}

fn of_file_system(found: Usage) -> Vec<VolumeUsage> {
    let bytes = usage(Unit::Bytes, found.total, Some((found.available, found.used)));
    let used = found.inodes.saturating_sub(found.inodes_free);
    let inodes = usage(Unit::Inodes, found.inodes, Some((found.inodes_free, used)));
    if found.inodes == 0 { vec![bytes] } else { vec![bytes, inodes] }
}

fn usage(unit: Unit, total: u64, parts: Option<(u64, u64)>) -> VolumeUsage {
    let number = |value| i64::try_from(value).unwrap_or(i64::MAX);
    let (available, used) = parts.unwrap_or_default();
    VolumeUsage {
        unit: unit.into(),
        total: number(total),
        available: number(available),
        used: number(used),
    }
}
