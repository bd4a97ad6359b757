//! `NodeGetVolumeStats`: what the file system says of itself, in one call to its server. The tree is
//! never walked: EFS answers with 8 EiB in all, and the bytes in use of the whole file system.

use std::path::{Path, PathBuf};

use csi_core::efs::VolumeHandle;
use csi_core::rpc_error::GrpcCode;
use csi_proto::csi::VolumeUsage;
use csi_proto::csi::volume_usage::Unit;
use tonic::Code;

use super::ports::{PortError, Ports, Tunnel};
use crate::kernel::nfs::{Nfs, Tunnelled};
use crate::kernel::{KernelError, Usage};

/// Why a volume is not measured.
#[derive(Debug, thiserror::Error)]
pub enum StatsError {
    /// The volume is not there.
    #[error("{volume} is not at {}", path.display())]
    NotThere {
        /// The volume.
        volume: VolumeHandle,
        /// The path.
        path: PathBuf,
    },
    /// The kernel does not tell.
    #[error("cannot measure {}", path.display())]
    Kernel {
        /// The path.
        path: PathBuf,
        /// What failed.
        source: KernelError,
    },
    /// Nobody tells what is mounted there.
    #[error(transparent)]
    Port(#[from] PortError),
}

impl GrpcCode for StatsError {
    fn code(&self) -> Code {
        match self {
            Self::NotThere { .. } => Code::NotFound,
            Self::Kernel { source, .. } => source.code(),
            Self::Port(error) => error.code(),
        }
    }
}

/// Measures the file system at the path.
///
/// # Errors
/// [`StatsError`].
pub(crate) async fn stats<K: Nfs, T: Tunnel>(
    kernel: &K,
    ports: &Ports<T>,
    volume: &VolumeHandle,
    path: &Path,
) -> Result<Usage, StatsError> {
    let failed = |source| StatsError::Kernel { path: path.to_owned(), source };
    let not_there = || StatsError::NotThere { volume: volume.clone(), path: path.to_owned() };
    let resolved = kernel.resolve(path).await.map_err(failed)?;
    let mounts = kernel.mounts().map_err(failed)?;
    let top = mounts.iter().rfind(|entry| entry.at == resolved).ok_or_else(not_there)?;
    let mount = Tunnelled::of(top).ok_or_else(not_there)?;
    let identity = ports.identity_of(mount.port).await?.ok_or_else(not_there)?;
    let same_access_point = match volume.access_point() {
        // It may stand in the mount flags, which this call does not have.
        None => true,
        Some(id) => identity.access_point.as_ref().is_some_and(|own| own.as_str() == id.as_str()),
    };
    let same_file_system = identity.file_system.as_str() == volume.file_system().as_str();
    if !same_file_system || !same_access_point || mount.path != volume.path() {
        return Err(not_there());
    }
    kernel.usage(&resolved).await.map_err(failed)
}

/// The answer: bytes, and inodes if the file system counts them.
#[must_use]
pub fn answer(found: Usage) -> Vec<VolumeUsage> {
    let usage = |unit: Unit, total: u64, available: u64, used: u64| {
        let number = |value| i64::try_from(value).unwrap_or(i64::MAX);
        VolumeUsage {
            unit: unit.into(),
            total: number(total),
            available: number(available),
            used: number(used),
        }
    };
    let bytes = usage(Unit::Bytes, found.total, found.available, found.used);
    if found.inodes == 0 {
        return vec![bytes];
    }
    let used = found.inodes.saturating_sub(found.inodes_free);
    vec![bytes, usage(Unit::Inodes, found.inodes, found.inodes_free, used)]
}
