//! Volumes as loop devices of this machine, shown as NVMe namespaces in folders shaped as sysfs
//! and /dev: `ROOT/sys/class/block/nvme1n1`, `ROOT/dev/nvme1n1`, `ROOT/dev/disk/by-id/…`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use csi_core::VolumeId;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};

use super::{DeviceError, Place, command, files};

/// EBS user guide, "Identify the EBS device".
const MODEL: &str = "Amazon Elastic Block Store";

/// A folder in which the devices of an instance appear.
#[derive(Debug)]
pub struct LoopPlace {
    sys: PathBuf,
    dev: PathBuf,
    attached: Mutex<BTreeMap<VolumeId, Attached>>,
}

#[derive(Debug, Clone)]
struct Attached {
    /// `/dev/loop3`.
    device: String,
    /// `nvme1n1`.
    name: String,
}

impl LoopPlace {
    /// Devices will appear below `root`, which exists.
    ///
    /// # Errors
    /// The folders cannot be made.
    pub fn open(root: &Path) -> Result<Self, DeviceError> {
        let place = Self {
            sys: root.join("sys/class/block"),
            dev: root.join("dev"),
            attached: Mutex::default(),
        };
        for folder in [&place.sys, &place.by_id()] {
            fs::create_dir_all(folder).map_err(DeviceError::file("make", folder))?;
        }
        Ok(place)
    }

    fn by_id(&self) -> PathBuf {
        self.dev.join("disk/by-id")
    }

    fn with<T>(&self, act: impl FnOnce(&mut BTreeMap<VolumeId, Attached>) -> T) -> T {
        act(&mut self.attached.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn find(&self, volume: &VolumeId) -> Result<Attached, DeviceError> {
        let found = self.with(|all| all.get(volume).cloned());
        found.ok_or_else(|| DeviceError::NoDevice(volume.clone()))
    }

    /// Takes the first free name; 0 is the root disk's, as on EC2.
    fn take_name(&self, volume: &VolumeId, device: String) -> Attached {
        self.with(|all| {
            let free = |name: &String| !all.values().any(|attached| attached.name == *name);
            let mut names = (1..).map(|n: u32| format!("nvme{n}n1"));
            let name = names.find(free).unwrap_or_default();
            let attached = Attached { device, name };
            all.insert(volume.clone(), attached.clone());
            attached
        })
    }

    fn show(&self, volume: &VolumeId, attached: &Attached) -> Result<(), DeviceError> {
        let node = self.dev.join(&attached.name);
        let kernel = kernel_folder(&attached.device);
        let (major, minor) = device_number(&kernel)?;
        mknod(&node, SFlag::S_IFBLK, Mode::S_IRUSR | Mode::S_IWUSR, makedev(major, minor))
            .map_err(|errno| DeviceError::file("make node", &node)(errno.into()))?;
        let serial = volume.nvme_serial();
        let target = Path::new("../..").join(&attached.name);
        for link in self.links(&serial) {
            symlink(&target, &link).map_err(DeviceError::file("link", &link))?;
        }
        // The kernel pads what the device reports: 20 bytes of serial, 40 of model.
        let folder = self.sys.join(&attached.name);
        write(&folder.join("device/serial"), &format!("{serial:<20}"))?;
        write(&folder.join("device/model"), &format!("{MODEL:<40}"))?;
        fs::create_dir_all(folder.join("holders"))
            .map_err(DeviceError::file("make", &folder.join("holders")))?;
        for attribute in ["dev", "diskseq", "ro"] {
            write(&folder.join(attribute), &read(&kernel.join(attribute))?)?;
        }
        // A disk is complete once it has a size.
        write(&folder.join("size"), &read(&kernel.join("size"))?)
    }

    fn hide(&self, volume: &VolumeId, attached: &Attached) -> Result<(), DeviceError> {
        let folder = self.sys.join(&attached.name);
        let mut removed = vec![(folder.clone(), fs::remove_dir_all(&folder))];
        for file in
            self.links(&volume.nvme_serial()).into_iter().chain([self.dev.join(&attached.name)])
        {
            let result = fs::remove_file(&file);
            removed.push((file, result));
        }
        for (path, result) in removed {
            match result {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other.map_err(DeviceError::file("remove", &path))?,
            }
        }
        Ok(())
    }

    /// As udev makes them on EC2.
    fn links(&self, serial: &str) -> [PathBuf; 2] {
        let name = format!("nvme-{}_{serial}", MODEL.replace(' ', "_"));
        [self.by_id().join(&name), self.by_id().join(format!("{name}-ns-1"))]
    }
}

impl Place for LoopPlace {
    fn attach(&self, volume: &VolumeId, file: &Path) -> Result<(), DeviceError> {
        if self.with(|all| all.contains_key(volume)) {
            return Ok(());
        }
        let file = file.to_string_lossy();
        let device = command::run("losetup", &["--find", "--show", "--nooverlap", &file])?;
        let attached = self.take_name(volume, device);
        self.show(volume, &attached).inspect_err(|_| {
            // The error of showing it is the one to report.
            let _ = self.hide(volume, &attached);
            let _ = command::run("losetup", &["--detach", &attached.device]);
            self.with(|all| all.remove(volume));
        })
    }

    fn detach(&self, volume: &VolumeId) -> Result<(), DeviceError> {
        let attached = self.find(volume)?;
        if is_held(&attached.device) {
            return Err(DeviceError::InUse(volume.clone()));
        }
        self.hide(volume, &attached)?;
        command::run("losetup", &["--detach", &attached.device])?;
        self.with(|all| all.remove(volume));
        Ok(())
    }

    fn grow(&self, volume: &VolumeId, file: &Path, bytes: u64) -> Result<(), DeviceError> {
        let attached = self.find(volume)?;
        files::set_size(file, bytes)?;
        command::run("losetup", &["--set-capacity", &attached.device])?;
        let size = read(&kernel_folder(&attached.device).join("size"))?;
        write(&self.sys.join(&attached.name).join("size"), &size)
    }
}

/// Whether somebody keeps the device: losetup would only promise to detach it later. Probes by
/// others, and children of this process that have not yet closed what they inherited, pass.
fn is_held(device: &str) -> bool {
    let flags = OFlag::O_RDONLY | OFlag::O_EXCL | OFlag::O_CLOEXEC;
    (0..20).all(|_| {
        let busy = matches!(open(device, flags, Mode::empty()), Err(Errno::EBUSY));
        if busy {
            std::thread::sleep(Duration::from_millis(20));
        }
        busy
    })
}

fn kernel_folder(device: &str) -> PathBuf {
    Path::new("/sys/class/block").join(device.trim_start_matches("/dev/"))
}

fn device_number(kernel: &Path) -> Result<(u64, u64), DeviceError> {
    let path = kernel.join("dev");
    let text = read(&path)?;
    let parse = || {
        let (major, minor) = text.trim().split_once(':')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    };
    parse().ok_or_else(|| {
        let broken = io::Error::new(io::ErrorKind::InvalidData, format!("{text:?} is no number"));
        DeviceError::file("read", &path)(broken)
    })
}

fn read(path: &Path) -> Result<String, DeviceError> {
    fs::read_to_string(path).map_err(DeviceError::file("read", path))
}

fn write(path: &Path, text: &str) -> Result<(), DeviceError> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(DeviceError::file("make", parent))?;
    }
    fs::write(path, format!("{}\n", text.trim_end_matches('\n')))
        .map_err(DeviceError::file("write", path))
}
