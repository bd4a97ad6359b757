//! The port to the kernel: what can be observed of disks and mounts, and the steps that change
//! them. Steps are data, so that plans can be compared, cut and printed.
//!
//! Implementations: [`linux::Linux`], and an in-memory kernel in the tests.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use csi_core::{Bytes, FsType};
use nix::mount::MsFlags;

use crate::features;
use crate::format::FormatOptions;
use crate::mount_options::MountOptions;
use crate::probe::Probe;

#[cfg(test)]
pub(crate) mod fake;
pub mod linux;
pub mod nfs;

/// A device number as `/proc/self/mountinfo` and sysfs print it, `259:3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceNumber {
    /// The driver.
    pub major: u64,
    /// The device within the driver.
    pub minor: u64,
}

impl fmt::Display for DeviceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

/// A text that is not `MAJOR:MINOR`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a device number")]
pub struct NotADeviceNumber(String);

impl FromStr for DeviceNumber {
    type Err = NotADeviceNumber;

    fn from_str(text: &str) -> Result<Self, NotADeviceNumber> {
        let parse = || {
            let (major, minor) = text.trim().split_once(':')?;
            Some(Self { major: major.parse().ok()?, minor: minor.parse().ok()? })
        };
        parse().ok_or_else(|| NotADeviceNumber(text.to_owned()))
    }
}

/// A disk's serial number as its driver shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Serial {
    /// The serial, without surrounding spaces.
    Known(String),
    /// The bus has serials, but this one is empty or cannot be read. The text says why.
    Unreadable(String),
    /// The bus has none (Xen, virtio).
    Absent,
}

/// A whole disk as sysfs shows it. Partitions are no disks here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// The kernel's name, `nvme1n1`.
    pub name: String,
    /// Its number.
    pub number: DeviceNumber,
    /// Its size.
    pub size: Bytes,
    /// Whether it refuses writes.
    pub read_only: bool,
    /// Its serial number.
    pub serial: Serial,
    /// `diskseq`: another number for each disk that ever appeared, on kernels from 5.15.
    pub sequence: Option<u64>,
    /// Subsystems that use the disk (device mapper, md, bcache), by device name.
    pub holders: Vec<String>,
    /// Numbers of its partitions.
    pub partitions: Vec<DeviceNumber>,
}

/// An entry of the mount table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountEntry {
    /// Device of the mounted file system.
    pub device: DeviceNumber,
    /// What of the file system is mounted; `/` is all of it.
    pub root: PathBuf,
    /// Where.
    pub at: PathBuf,
    /// Type of the file system.
    pub fs: String,
    /// What was mounted, as mount(2) was told: a device, or a server and its path.
    pub source: String,
    /// Options of this mount, `ro`, `nosuid`.
    pub options: Vec<String>,
    /// Options of the file system itself, the same at all its mounts.
    pub super_options: Vec<String>,
}

impl MountEntry {
    /// Whether writing through this mount is refused.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        let ro = |options: &[String]| options.iter().any(|option| option == "ro");
        ro(&self.options) || ro(&self.super_options)
    }
}

/// What a path is, without following a symbolic link at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathKind {
    /// Nothing.
    Absent,
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A block device.
    BlockDevice(DeviceNumber),
    /// A symbolic link.
    Symlink,
    /// Something else.
    Other,
    /// A mount whose device or server is gone: asking answers with this.
    Corrupted(nix::errno::Errno),
}

/// What `statvfs` says of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Bytes in all.
    pub total: u64,
    /// Bytes that unprivileged users can still fill.
    pub available: u64,
    /// Bytes in use.
    pub used: u64,
    /// Inodes in all; 0 if the file system does not count them.
    pub inodes: u64,
    /// Inodes free.
    pub inodes_free: u64,
}

/// One change. Those that name no device work on the device that is pinned for the operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Makes a directory, with its parents.
    MakeDir(PathBuf),
    /// Makes an empty file to bind a device to, with its parent directories.
    MakeFile(PathBuf),
    /// Writes and syncs the marker that says: a file system is being made here.
    WriteMarker,
    /// Makes a file system.
    MakeFs {
        /// Of which type.
        fs: FsType,
        /// How.
        options: FormatOptions,
    },
    /// Zeroes and syncs the marker.
    ClearMarker,
    /// Repairs an ext file system that is marked as damaged.
    Repair,
    /// Mounts the device.
    Mount {
        /// Where.
        at: PathBuf,
        /// File system type for mount(2); always given, since the kernel would try all.
        fs: &'static str,
        /// How.
        options: MountOptions,
    },
    /// Shows a mounted directory at a second place. The new mount has the flags of the old one.
    Bind {
        /// What.
        from: PathBuf,
        /// Where.
        to: PathBuf,
    },
    /// Shows the device's node at another place.
    BindDevice(PathBuf),
    /// Sets the flags of one mount, not of its file system.
    Remount {
        /// Which mount.
        at: PathBuf,
        /// All its flags from now on.
        flags: MsFlags,
    },
    /// Grows the mounted file system to the size of the device.
    Grow {
        /// Where it is mounted.
        at: PathBuf,
        /// Its type.
        fs: GrowTool,
    },
    /// Unmounts the topmost mount at a path.
    Unmount(PathBuf),
    /// Removes an empty directory or an empty file. Nothing there is fine.
    Remove(PathBuf),
}

/// Which tool grows a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrowTool {
    /// `resize2fs` on the device.
    Resize2fs,
    /// `xfs_growfs` on the mount point.
    XfsGrowfs,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MakeDir(at) => write!(f, "make directory {}", at.display()),
            Self::MakeFile(at) => write!(f, "make file {}", at.display()),
            Self::WriteMarker => f.write_str("mark the device as being formatted"),
            Self::MakeFs { fs, .. } => write!(f, "make {fs}"),
            Self::ClearMarker => f.write_str("clear the mark of formatting"),
            Self::Repair => f.write_str("repair the file system"),
            Self::Mount { at, fs, .. } => write!(f, "mount {fs} at {}", at.display()),
            Self::Bind { from, to } => write!(f, "bind {} to {}", from.display(), to.display()),
            Self::BindDevice(to) => write!(f, "bind the device to {}", to.display()),
            Self::Remount { at, .. } => write!(f, "set the flags of {}", at.display()),
            Self::Grow { at, .. } => write!(f, "grow the file system at {}", at.display()),
            Self::Unmount(at) => write!(f, "unmount {}", at.display()),
            Self::Remove(at) => write!(f, "remove {}", at.display()),
        }
    }
}

/// Why the kernel did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// A system call failed.
    #[error("{call} {object}")]
    Call {
        /// The call.
        call: &'static str,
        /// The path or device it was about.
        object: String,
        /// What it answered.
        source: io::Error,
    },
    /// Another opener holds the device exclusively: a mount, a tool, a subsystem.
    #[error("{0} is in use by another mount, tool or subsystem")]
    Busy(String),
    /// The device behind the name is no longer the one that was found.
    #[error("{name} changed while it was used: {what}; nothing more was done to it")]
    Changed {
        /// The kernel's name.
        name: String,
        /// What differs.
        what: String,
    },
    /// A tool could not be started.
    #[error("cannot run {tool}")]
    NoTool {
        /// The tool.
        tool: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A tool failed.
    #[error("{tool} on {device} ended with {status}: {output}")]
    Tool {
        /// The tool.
        tool: &'static str,
        /// The device's name.
        device: String,
        /// Exit status or signal.
        status: String,
        /// The last of what it printed.
        output: String,
    },
    /// A tool took too long and was killed.
    #[error("{tool} on {device} was killed after {seconds} s: {output}")]
    ToolTimedOut {
        /// The tool.
        tool: &'static str,
        /// The device's name.
        device: String,
        /// Its limit.
        seconds: u64,
        /// The last of what it printed.
        output: String,
    },
}

/// Disks and mounts of this machine. Every call may block on a device that does not answer, so
/// callers are threads that nobody waits for without a limit.
pub trait Kernel: Send + Sync + 'static {
    /// A disk that is held open: as long as this lives, its number is not given to another disk.
    type Pin: Send;

    /// Which kernel this is.
    fn version(&self) -> Result<features::Kernel, KernelError>;
    /// All whole disks, hidden paths of multipath NVMe left out.
    fn disks(&self) -> Result<Vec<Disk>, KernelError>;
    /// The mount table, oldest entry first.
    fn mounts(&self) -> Result<Vec<MountEntry>, KernelError>;
    /// What is at `path`.
    fn kind(&self, path: &Path) -> Result<PathKind, KernelError>;
    /// `path` with the links in its parent followed, as the mount table prints it.
    fn resolve(&self, path: &Path) -> Result<PathBuf, KernelError>;
    /// The kernel's name of the device at a path such as `/dev/xvdaa`, links followed; `None` if
    /// there is no such path.
    fn device_named(&self, path: &str) -> Option<String>;
    /// Opens a disk and makes sure that it is the one described.
    fn pin(&self, disk: &Disk) -> Result<Self::Pin, KernelError>;
    /// The pinned disk's size when it was pinned, from the disk itself.
    fn size(&self, pin: &Self::Pin) -> Bytes;
    /// Reads what is on the disk. With `exclusive`, [`KernelError::Busy`] if anybody uses it.
    fn probe(&self, pin: &Self::Pin, exclusive: bool) -> Result<Probe, KernelError>;
    /// Size and use of the file system mounted at `path`.
    fn usage(&self, path: &Path) -> Result<Usage, KernelError>;
    /// Does one step.
    fn apply(&self, pin: Option<&Self::Pin>, step: &Step) -> Result<(), KernelError>;
}
