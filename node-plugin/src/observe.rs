//! Looks: what the plans need to know of paths, mounts and disks.

use std::path::{Path, PathBuf};

use csi_core::VolumeId;
use tracing::info;

use crate::identity::{self, NoDevice, Wanted};
use crate::kernel::{DeviceNumber, Disk, Kernel, KernelError, MountEntry, PathKind, Serial};
use crate::plan::{Place, publish, stage};
use crate::probe::Probe;

/// Why a volume's disk cannot be used now.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// No disk is proved to be the volume.
    #[error(transparent)]
    NoDevice(#[from] NoDevice),
    /// The kernel could not be asked.
    #[error("cannot look for the disk of {volume}")]
    Kernel {
        /// The volume.
        volume: VolumeId,
        /// What failed.
        source: KernelError,
    },
}

impl FindError {
    /// Whether waiting may help.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::NoDevice(why) => why.may_pass(),
            // udev makes the node after sysfs shows the disk.
            Self::Kernel { source: KernelError::Call { source, .. }, .. } => {
                source.kind() == std::io::ErrorKind::NotFound
            }
            Self::Kernel { source, .. } => matches!(source, KernelError::Changed { .. }),
        }
    }
}

/// Finds the volume's disk and pins it. `path` is where the volume is to be used.
///
/// # Errors
/// [`FindError`].
pub fn find<K: Kernel>(
    kernel: &K,
    wanted: &Wanted,
    path: &Path,
) -> Result<(Disk, K::Pin), FindError> {
    let failed = |source| FindError::Kernel { volume: wanted.volume.clone(), source };
    let disks = kernel.disks().map_err(failed)?;
    let mounts = kernel.mounts().map_err(failed)?;
    let named = wanted.device_path.as_deref().and_then(|path| kernel.device_named(path));
    let own_files = own_files(&mounts, path);
    let found = identity::identify(&disks, wanted, named.as_deref(), &own_files)?;
    if found.serial == Serial::Absent {
        info!(volume = %wanted.volume, disk = found.name, "a disk without serial is taken by its name");
    }
    let pin = kernel.pin(found).map_err(failed)?;
    // The disk's own size: sysfs may lag.
    let disk = Disk { size: kernel.size(&pin), ..found.clone() };
    identity::check_size(&disk, wanted)?;
    Ok((disk, pin))
}

/// Devices that hold the node's own files: the root, and what the path itself lies on.
fn own_files(mounts: &[MountEntry], path: &Path) -> Vec<DeviceNumber> {
    let below = path.parent().unwrap_or(path);
    let holds_path = mounts
        .iter()
        .filter(|entry| below.starts_with(&entry.at))
        .max_by_key(|entry| entry.at.as_os_str().len());
    let root = mounts.iter().filter(|entry| entry.at == Path::new("/"));
    root.chain(holds_path).map(|entry| entry.device).collect()
}

/// Looks at a path.
///
/// # Errors
/// If the kernel does not tell.
pub fn place<K: Kernel>(kernel: &K, path: &Path) -> Result<Place, KernelError> {
    let path = kernel.resolve(path)?;
    let mounts = kernel.mounts()?.into_iter().filter(|entry| entry.at == path).collect();
    let kind = kernel.kind(&path)?;
    Ok(Place { path, mounts, kind })
}

/// Whether the place shows a disk that is gone: its number belongs to no disk of this node.
fn is_stale<K: Kernel>(kernel: &K, place: &Place) -> Result<bool, KernelError> {
    let Some(top) = place.top() else { return Ok(false) };
    if matches!(place.kind, PathKind::Corrupted(_)) {
        return Ok(true);
    }
    // Major 0 is for file systems without a disk, whose owner is not known.
    let known = |disk: &Disk| disk.number == top.device || disk.partitions.contains(&top.device);
    Ok(top.device.major != 0 && !kernel.disks()?.iter().any(known))
}

/// Looks at what `NodeStageVolume` needs to know.
///
/// # Errors
/// If the kernel does not tell. A disk that cannot be read is such a case.
pub fn stage<K: Kernel>(
    kernel: &K,
    disk: Disk,
    pin: &K::Pin,
    path: &Path,
) -> Result<stage::Seen, KernelError> {
    let place = place(kernel, path)?;
    let stale = is_stale(kernel, &place)?;
    let mounted = kernel.mounts()?.iter().any(|entry| entry.device == disk.number);
    let (probe, in_use) = read(kernel, pin, mounted)?;
    let kernel = kernel.version()?;
    Ok(stage::Seen { place, disk, stale, probe, in_use, kernel })
}

/// Reads the disk exclusively, which proves that nobody else uses it, or says that somebody does.
fn read<K: Kernel>(kernel: &K, pin: &K::Pin, mounted: bool) -> Result<(Probe, bool), KernelError> {
    if !mounted {
        match kernel.probe(pin, true) {
            Err(KernelError::Busy(_)) => {}
            result => return Ok((result?, false)),
        }
    }
    Ok((kernel.probe(pin, false)?, true))
}

/// Looks at what `NodePublishVolume` needs to know.
///
/// # Errors
/// If the kernel does not tell.
pub fn publish<K: Kernel>(
    kernel: &K,
    disk: &Disk,
    source: &publish::Source,
    target: &Path,
) -> Result<publish::Seen, KernelError> {
    let target = place(kernel, target)?;
    let antechamber = place(kernel, &crate::plan::antechamber(&target.path))?;
    let staged = match source {
        publish::Source::Directory(path) => place(kernel, path)?.mounts.pop(),
        publish::Source::Device => None,
    };
    let stale = *source != publish::Source::Device && is_stale(kernel, &target)?;
    let shows = |entry: &MountEntry| match &staged {
        Some(staged) => {
            entry.device == disk.number && entry.root == Path::new("/") && entry.at != staged.at
        }
        None => entry.root.file_name().is_some_and(|name| name == disk.name.as_str()),
    };
    let mut elsewhere: Vec<PathBuf> = Vec::new();
    for entry in kernel.mounts()?.into_iter().filter(shows) {
        let own = entry.at == target.path || entry.at == antechamber.path;
        let device = || kernel.kind(&entry.at).ok() == Some(PathKind::BlockDevice(disk.number));
        if !own && (staged.is_some() || device()) {
            elsewhere.push(entry.at);
        }
    }
    Ok(publish::Seen { target, antechamber, staged, device: disk.number, stale, elsewhere })
}
