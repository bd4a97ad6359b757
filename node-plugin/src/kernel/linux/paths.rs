//! Paths: what they are, and making and removing them with care.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;

use super::{at, number};
use crate::kernel::{DeviceNumber, KernelError, PathKind};

pub(super) fn kind(path: &Path) -> Result<PathKind, KernelError> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(PathKind::Absent),
        Err(error) => return corrupted(error).map_err(at("lstat", path)),
    };
    Ok(if found.is_dir() {
        PathKind::Directory
    } else if found.is_file() {
        PathKind::File
    } else if found.is_symlink() {
        PathKind::Symlink
    } else if found.is_block_device() {
        number_of_node(path)?.map_or(PathKind::Absent, PathKind::BlockDevice)
    } else {
        PathKind::Other
    })
}

/// What `lstat` answers at a mount whose device or server is gone. The list is that of kubelet's
/// mount library.
fn corrupted(error: io::Error) -> io::Result<PathKind> {
    match Errno::from_raw(error.raw_os_error().unwrap_or(0)) {
        errno @ (Errno::ENOTCONN
        | Errno::ESTALE
        | Errno::EIO
        | Errno::EACCES
        | Errno::EHOSTDOWN
        | Errno::EWOULDBLOCK
        | Errno::ENODEV
        | Errno::ESHUTDOWN
        | Errno::EUCLEAN) => Ok(PathKind::Corrupted(errno)),
        _ => Err(error),
    }
}

/// The number of the device node at `path`; `None` if it is none or nothing is there.
pub(super) fn number_of_node(path: &Path) -> Result<Option<DeviceNumber>, KernelError> {
    match fs::metadata(path) {
        Ok(found) if found.file_type().is_block_device() => Ok(Some(number(found.rdev()))),
        Ok(_) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(at("stat", path)(error)),
    }
}

pub(super) fn make_dir(path: &Path) -> Result<(), KernelError> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o755).create(path);
    made.map_err(at("mkdir", path))
}

pub(super) fn make_file(path: &Path) -> Result<(), KernelError> {
    if let Some(parent) = path.parent() {
        make_dir(parent)?;
    }
    let made = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o644)
        .custom_flags(OFlag::O_NOFOLLOW.bits())
        .open(path);
    made.map(drop).map_err(at("create", path))
}

/// Never removes anything that holds something.
pub(super) fn remove(path: &Path) -> Result<(), KernelError> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(at("lstat", path)(error)),
    };
    let removed = if found.is_dir() {
        fs::remove_dir(path)
    } else if found.is_file() && found.len() == 0 {
        fs::remove_file(path)
    } else {
        Err(io::Error::other("it is neither an empty directory nor an empty file"))
    };
    removed.map_err(at("remove", path))
}
