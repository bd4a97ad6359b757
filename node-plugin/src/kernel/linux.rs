//! The kernel of this machine.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::thread::sleep;
use std::time::Duration;

use csi_core::{Bytes, FsType};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::mount::{MntFlags, MsFlags};
use nix::sys::stat::{major, minor};
use nix::sys::statvfs::{Statvfs, statvfs};
use sys_mount::{Mount, MountFlags, UnmountFlags};
use tokio::time::Instant;

use self::paths::{make_dir, make_file, number_of_node, remove};
use self::tools::{DISK, Tool};
use super::{DeviceNumber, Disk, Kernel, KernelError, MountEntry, PathKind, Step, Usage};
use crate::features;
use crate::format::FormatOptions;
use crate::identity;
use crate::mount_options::MountOptions;
use crate::probe::{self, Content, MARKER, MARKER_LENGTH, Probe, TAIL};

mod grow;
mod mountinfo;
mod nfs;
mod paths;
mod sysfs;
mod tools;

/// Limits of the tools. Without discarding, making a file system writes little; the largest EBS
/// volume takes seconds. A check reads all metadata.
const MKFS_LIMIT: Duration = Duration::from_mins(10);
const FSCK_LIMIT: Duration = Duration::from_hours(1);
const GROW_LIMIT: Duration = Duration::from_mins(30);
/// udev is done with a new disk in far less.
const LOCK_LIMIT: Duration = Duration::from_secs(3);
/// Starting a tool takes milliseconds; on a machine that is short of CPU time, tenths of a second.
const BUSY_LIMIT: Duration = Duration::from_secs(1);
const LOCK_POLL: Duration = Duration::from_millis(10);

/// Type for calls that have none; the kernel ignores it (mount(2), "Creating a bind mount"). Without
/// any, the crate would try every file system that the kernel knows.
const NO_TYPE: &str = "none";
/// `UMOUNT_NOFOLLOW` of umount2(2). The crate's constant of this name is `O_NOFOLLOW`, which the
/// kernel refuses.
const UNMOUNT: UnmountFlags = UnmountFlags::from_bits_retain(MntFlags::UMOUNT_NOFOLLOW.bits());

/// This machine, or a part of it that is shown in other folders.
#[derive(Debug, Clone)]
pub struct Linux {
    sysfs: PathBuf,
    dev: PathBuf,
}

/// A disk held open, read-only and shared. Read-only, because udev probes a disk again each time a
/// writer closes it.
#[derive(Debug)]
pub struct Pinned {
    disk: Disk,
    node: PathBuf,
    file: File,
    lock: OnceLock<File>,
}

impl Pinned {
    /// A path that leads to this disk and to no other.
    fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd()))
    }

    /// Opens the disk once more. A tool that is being started for another disk has copies of all
    /// our descriptors, exclusive ones too, from its fork(2) to its exec(2); so one that seems to
    /// be in use is asked again for a while.
    fn open(&self, writable: bool, exclusive: bool) -> Result<File, KernelError> {
        let flags = if exclusive { OFlag::O_EXCL } else { OFlag::empty() };
        let mut options = OpenOptions::new();
        options.read(true).write(writable).custom_flags(flags.bits());
        let until = Instant::now() + BUSY_LIMIT;
        loop {
            let source = match options.open(self.path()) {
                Ok(file) => return Ok(file),
                Err(source) => source,
            };
            match Errno::from_raw(source.raw_os_error().unwrap_or(0)) {
                Errno::EBUSY if exclusive && Instant::now() < until => sleep(LOCK_POLL),
                Errno::EBUSY => return Err(self.busy()),
                _ => return Err(call("open", self.disk.name.as_str(), source)),
            }
        }
    }

    /// Locks the disk against other tools that know the rule, from now until this is dropped and
    /// the tools that were started have ended. Waits for udev, which takes the same lock while it
    /// looks at a new disk (systemd, "Locking Block Device Access").
    fn lock(&self) -> Result<&File, KernelError> {
        let until = Instant::now() + LOCK_LIMIT;
        while self.lock.get().is_none() {
            let file = self.open(false, false)?;
            match file.try_lock() {
                Ok(()) => return Ok(self.lock.get_or_init(|| file)),
                Err(TryLockError::WouldBlock) if Instant::now() < until => sleep(LOCK_POLL),
                Err(TryLockError::WouldBlock) => return Err(self.busy()),
                Err(TryLockError::Error(source)) => {
                    return Err(call("flock", self.disk.name.as_str(), source));
                }
            }
        }
        self.lock.get().ok_or_else(|| self.busy())
    }

    fn busy(&self) -> KernelError {
        KernelError::Busy(self.disk.name.clone())
    }

    fn read(&self, exclusive: bool) -> Result<Probe, KernelError> {
        let file = self.open(false, exclusive)?;
        let read = |offset, buffer: &mut [u8]| file.read_exact_at(buffer, offset);
        probe::probe(self.size()?, read)
            .map_err(|source| call("read", self.disk.name.as_str(), source))
    }

    fn size(&self) -> Result<Bytes, KernelError> {
        use std::io::{Seek, SeekFrom};
        let end = (&self.file).seek(SeekFrom::End(0));
        end.map(Bytes).map_err(|source| call("lseek", self.disk.name.as_str(), source))
    }
}

fn call(call: &'static str, object: impl Into<String>, source: io::Error) -> KernelError {
    KernelError::Call { call, object: object.into(), source }
}

fn at(name: &'static str, path: &Path) -> impl FnOnce(io::Error) -> KernelError {
    let object = path.display().to_string();
    move |source| KernelError::Call { call: name, object, source }
}

fn errno(name: &'static str, path: &Path) -> impl FnOnce(Errno) -> KernelError {
    let at = at(name, path);
    move |errno| at(errno.into())
}

fn number(device: u64) -> DeviceNumber {
    DeviceNumber { major: major(device), minor: minor(device) }
}

impl Linux {
    /// A machine whose sysfs and device nodes are in these folders.
    #[must_use]
    pub fn new(sysfs: PathBuf, dev: PathBuf) -> Self {
        Self { sysfs, dev }
    }

    /// Makes sure that the pinned disk is still what its name leads to: mount(2) and bind mounts
    /// take a name.
    fn verify(&self, pin: &Pinned) -> Result<(), KernelError> {
        let now = sysfs::disk_named(&self.sysfs, &pin.disk.name);
        let node = number_of_node(&pin.node)?;
        let what = identity::difference(&pin.disk, now.as_ref()).or_else(|| {
            (node != Some(pin.disk.number))
                .then(|| format!("{} is another device", pin.node.display()))
        });
        match what {
            Some(what) => Err(KernelError::Changed { name: pin.disk.name.clone(), what }),
            None => Ok(()),
        }
    }

    fn write_marker(&self, pin: &Pinned, start: &[u8]) -> Result<(), KernelError> {
        self.verify(pin)?;
        let file = pin.open(true, true)?;
        let mut block = [0; MARKER_LENGTH];
        block[..start.len()].copy_from_slice(start);
        let offset = pin.size()?.0.saturating_sub(TAIL);
        let written = file.write_all_at(&block, offset).and_then(|()| file.sync_all());
        written
            .map_err(|source| call("write the marker of mkfs to", pin.disk.name.as_str(), source))
    }

    fn make_fs(
        &self,
        pin: &Pinned,
        fs: FsType,
        options: &FormatOptions,
    ) -> Result<(), KernelError> {
        self.verify(pin)?;
        let name = match fs {
            FsType::Ext4 => "mkfs.ext4",
            FsType::Ext3 => "mkfs.ext3",
            FsType::Xfs => "mkfs.xfs",
        };
        let bytes = pin.size()?.0.saturating_sub(TAIL);
        let (mut arguments, after) = options.arguments(fs, bytes);
        arguments.push(DISK.to_owned());
        arguments.extend(after);
        let device = &pin.disk.name;
        let lock = pin.lock()?;
        Tool { name, arguments, device, limit: MKFS_LIMIT, success: &[0], lock }.run()
    }

    fn mount(
        &self,
        pin: &Pinned,
        path: &Path,
        fs: &str,
        options: &MountOptions,
    ) -> Result<(), KernelError> {
        self.verify(pin)?;
        let explain = |source| {
            let shown = [format!("{:?}", options.flags), options.data.clone()].join(" ");
            let object =
                format!("{} as {fs} ({}) at {}", pin.disk.name, shown.trim(), path.display());
            call("mount", object, source)
        };
        let mount = Mount::builder().fstype(fs).flags(mount_flags(options.flags));
        let mount = if options.data.is_empty() { mount } else { mount.data(&options.data) };
        // What is mounted stays when this handle is dropped.
        mount.mount(&pin.node, path).map_err(explain)?;
        let top = self.mounts()?.into_iter().rfind(|entry| entry.at == path);
        if top.is_some_and(|top| top.device == pin.disk.number) {
            return Ok(());
        }
        give_back(pin, path, "another disk was mounted under its name")
    }

    fn bind_device(&self, pin: &Pinned, path: &Path) -> Result<(), KernelError> {
        self.verify(pin)?;
        bind(&pin.node, path)?;
        if number_of_node(path)? == Some(pin.disk.number) {
            return Ok(());
        }
        give_back(pin, path, "another device was bound under its name")
    }
}

/// Takes away what turned out to be wrong.
fn give_back(pin: &Pinned, path: &Path, what: &str) -> Result<(), KernelError> {
    unmount(path)?;
    Err(KernelError::Changed { name: pin.disk.name.clone(), what: what.to_owned() })
}

/// The flags under the mount crate's names; both are the kernel's bits.
fn mount_flags(flags: MsFlags) -> MountFlags {
    MountFlags::from_bits_retain(flags.bits())
}

fn bind(from: &Path, to: &Path) -> Result<(), KernelError> {
    let mount = Mount::builder().fstype(NO_TYPE).flags(MountFlags::BIND);
    mount.mount(from, to).map(drop).map_err(at("bind mount to", to))
}

fn unmount(path: &Path) -> Result<(), KernelError> {
    unmount_with(path, UNMOUNT)
}

fn unmount_with(path: &Path, flags: UnmountFlags) -> Result<(), KernelError> {
    let Err(error) = sys_mount::unmount(path, flags) else { return Ok(()) };
    match Errno::from_raw(error.raw_os_error().unwrap_or(0)) {
        // Not a mount point (any more): that is what was wanted.
        Errno::EINVAL | Errno::ENOENT => Ok(()),
        _ => Err(at("umount", path)(error)),
    }
}

impl Kernel for Linux {
    type Pin = Pinned;

    fn version(&self) -> Result<features::Kernel, KernelError> {
        let path = Path::new("/proc/sys/kernel/osrelease");
        let release = fs::read_to_string(path).map_err(at("read", path))?;
        Ok(features::Kernel { release: release.trim().to_owned() })
    }

    fn disks(&self) -> Result<Vec<Disk>, KernelError> {
        sysfs::disks(&self.sysfs).map_err(at("list disks in", &self.sysfs))
    }

    fn mounts(&self) -> Result<Vec<MountEntry>, KernelError> {
        let path = Path::new("/proc/self/mountinfo");
        fs::read(path).map(|table| mountinfo::parse(&table)).map_err(at("read", path))
    }

    fn kind(&self, path: &Path) -> Result<PathKind, KernelError> {
        paths::kind(path)
    }

    fn resolve(&self, path: &Path) -> Result<PathBuf, KernelError> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Ok(path.to_owned());
        };
        match fs::canonicalize(parent) {
            Ok(parent) => Ok(parent.join(name)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(path.to_owned()),
            Err(error) => Err(at("resolve", parent)(error)),
        }
    }

    fn device_named(&self, path: &str) -> Option<String> {
        let name = path.strip_prefix("/dev/").filter(|name| !name.contains('/'))?;
        let real = fs::canonicalize(self.dev.join(name)).ok()?;
        Some(real.file_name()?.to_string_lossy().into_owned())
    }

    fn pin(&self, disk: &Disk) -> Result<Pinned, KernelError> {
        let node = self.dev.join(&disk.name);
        let file = File::open(&node).map_err(at("open", &node))?;
        let mut pin = Pinned { disk: disk.clone(), node, file, lock: OnceLock::new() };
        self.verify(&pin)?;
        pin.disk.size = pin.size()?;
        Ok(pin)
    }

    fn size(&self, pin: &Pinned) -> Bytes {
        pin.disk.size
    }

    fn probe(&self, pin: &Pinned, exclusive: bool) -> Result<Probe, KernelError> {
        let found = pin.read(false)?;
        let whole = matches!(found.content, Content::FileSystem(seen) if !seen.damaged);
        if !exclusive {
            Ok(found)
        } else if whole && !found.marker {
            pin.open(false, true)?;
            Ok(found)
        } else {
            // It is going to be written to. A tool that a killed plugin left behind may still be
            // at work, or about to begin: taking the disk from it would make it fail.
            pin.lock()?;
            pin.read(true)
        }
    }

    fn usage(&self, path: &Path) -> Result<Usage, KernelError> {
        let found = statvfs(path).map_err(errno("statvfs", path))?;
        Ok(usage_of(&found))
    }

    fn apply(&self, pin: Option<&Pinned>, step: &Step) -> Result<(), KernelError> {
        let pinned =
            || pin.ok_or_else(|| call("find the disk for", step.to_string(), Errno::ENODEV.into()));
        match step {
            Step::MakeDir(path) => make_dir(path),
            Step::MakeFile(path) => make_file(path),
            Step::WriteMarker => self.write_marker(pinned()?, MARKER),
            Step::MakeFs { fs, options } => self.make_fs(pinned()?, *fs, options),
            Step::ClearMarker => self.write_marker(pinned()?, &[]),
            Step::Repair => repair(pinned()?),
            Step::Mount { at, fs, options } => self.mount(pinned()?, at, fs, options),
            Step::Bind { from, to } => bind(from, to),
            Step::BindDevice(path) => self.bind_device(pinned()?, path),
            Step::Remount { at, flags } => remount(at, *flags),
            Step::Grow { at, fs } => grow::grow(pinned()?, at, *fs, &self.mounts()?),
            Step::Unmount(path) => unmount(path),
            Step::Remove(path) => remove(path),
        }
    }
}

fn usage_of(found: &Statvfs) -> Usage {
    let bytes = |blocks: u64| blocks.saturating_mul(found.fragment_size());
    Usage {
        total: bytes(found.blocks()),
        available: bytes(found.blocks_available()),
        used: bytes(found.blocks().saturating_sub(found.blocks_free())),
        inodes: found.files(),
        inodes_free: found.files_free(),
    }
}

fn remount(path: &Path, flags: MsFlags) -> Result<(), KernelError> {
    let flags = mount_flags(flags) | MountFlags::BIND | MountFlags::REMOUNT;
    // An empty path as source is none.
    let mount = Mount::builder().fstype(NO_TYPE).flags(flags).mount("", path);
    mount.map(drop).map_err(at("remount", path))
}

/// `-p` replays the journal and repairs what is safe; it does nothing to a clean file system.
fn repair(pin: &Pinned) -> Result<(), KernelError> {
    let arguments = vec!["-p".to_owned(), DISK.to_owned()];
    // 1: errors corrected; 2: corrected, reboot if it is the root (e2fsck(8)).
    let success = &[0, 1, 2];
    let device = &pin.disk.name;
    let lock = pin.lock()?;
    Tool { name: "e2fsck", arguments, device, limit: FSCK_LIMIT, success, lock }.run()
}
