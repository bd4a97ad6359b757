//! A kernel in memory, for tests: disks with contents, a mount table, a tree of paths.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use csi_core::{Bytes, FsType};
use nix::errno::Errno;
use nix::mount::MsFlags;

use super::*;
use crate::features::Features;
use crate::mount_options::flags_of;
use crate::probe::{Content, FileSystem, FsKind, TAIL};

/// State that can be cloned, cut and compared.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct State {
    pub(crate) kernel: features::Kernel,
    pub(crate) disks: Vec<Disk>,
    pub(crate) probes: BTreeMap<String, Probe>,
    pub(crate) mounts: Vec<MountEntry>,
    pub(crate) paths: BTreeMap<PathBuf, PathKind>,
    /// Finished runs of mkfs on each disk.
    pub(crate) formats: BTreeMap<String, usize>,
    pub(crate) repairs: usize,
    pub(crate) grown: usize,
    /// Disks that a foreign process holds.
    pub(crate) busy: Vec<String>,
    /// How long each step takes.
    pub(crate) slow: std::time::Duration,
    /// Whether the next mkfs is cut in the middle.
    pub(crate) tear_mkfs: bool,
}

/// The kernel.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fake(Arc<Mutex<State>>);

const DEVTMPFS: DeviceNumber = DeviceNumber { major: 0, minor: 6 };

impl Fake {
    pub(crate) fn new(state: State) -> Self {
        Self(Arc::new(Mutex::new(state)))
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub(crate) fn snapshot(&self) -> State {
        self.state().clone()
    }
}

fn error(call: &'static str, object: impl fmt::Display, errno: Errno) -> KernelError {
    KernelError::Call { call, object: object.to_string(), source: io::Error::from(errno) }
}

fn shown(flags: MsFlags) -> Vec<String> {
    let mut options = vec![if flags.contains(MsFlags::MS_RDONLY) { "ro" } else { "rw" }];
    for (flag, name) in [
        (MsFlags::MS_NOSUID, "nosuid"),
        (MsFlags::MS_NODEV, "nodev"),
        (MsFlags::MS_NOEXEC, "noexec"),
        (MsFlags::MS_NOATIME, "noatime"),
    ] {
        if flags.contains(flag) {
            options.push(name);
        }
    }
    if !flags.contains(MsFlags::MS_NOATIME) {
        options.push("relatime");
    }
    options.into_iter().map(str::to_owned).collect()
}

impl State {
    fn top(&self, path: &Path) -> Option<&MountEntry> {
        self.mounts.iter().rfind(|entry| entry.at == path)
    }

    fn kind(&self, path: &Path) -> PathKind {
        match self.top(path) {
            None => self.paths.get(path).copied().unwrap_or(PathKind::Absent),
            Some(top) if top.device == DEVTMPFS => {
                let named = |disk: &&Disk| top.root.ends_with(&disk.name);
                let disk = self.disks.iter().find(named);
                disk.map_or(PathKind::Other, |disk| PathKind::BlockDevice(disk.number))
            }
            Some(_) => PathKind::Directory,
        }
    }

    fn disk(&self, name: &str) -> Result<&Disk, KernelError> {
        let found = self.disks.iter().find(|disk| disk.name == name);
        found.ok_or_else(|| error("open", name, Errno::ENOENT))
    }

    fn probe_mut(&mut self, name: &str) -> &mut Probe {
        let blank = Probe { content: Content::Blank, marker: false };
        self.probes.entry(name.to_owned()).or_insert(blank)
    }

    fn held(&self, disk: &Disk) -> bool {
        self.busy.contains(&disk.name) || self.mounts.iter().any(|m| m.device == disk.number)
    }

    fn make_fs(&mut self, name: &str, fs: FsType) -> Result<(), KernelError> {
        let disk = self.disk(name)?.clone();
        assert!(!self.held(&disk) && !disk.read_only, "mkfs on a disk in use or read-only");
        let size = Bytes(disk.size.0 - TAIL);
        if std::mem::take(&mut self.tear_mkfs) {
            self.probe_mut(name).content = match fs {
                FsType::Xfs => Content::UnfinishedXfs,
                FsType::Ext3 | FsType::Ext4 => Content::Data(8193 << 10),
            };
            return Err(error("mkfs", name, Errno::EINTR));
        }
        let kind = match fs {
            FsType::Ext3 => FsKind::Ext3,
            FsType::Ext4 => FsKind::Ext4,
            FsType::Xfs => FsKind::Xfs,
        };
        self.probe_mut(name).content = Content::FileSystem(FileSystem {
            kind,
            size,
            damaged: false,
            features: Features::default(),
        });
        *self.formats.entry(name.to_owned()).or_default() += 1;
        Ok(())
    }

    fn mount(
        &mut self,
        name: &str,
        at: &Path,
        fs: &str,
        flags: MsFlags,
    ) -> Result<(), KernelError> {
        let device = self.disk(name)?.number;
        let probe = self.probes.get(name).cloned();
        let mountable = probe.is_some_and(|probe| {
            let Content::FileSystem(found) = probe.content else { return false };
            assert!(!probe.marker, "mounted with the marker of an unfinished mkfs");
            fs == found.kind.as_str() || (fs == "ext4" && found.kind != FsKind::Xfs)
        });
        if !mountable || self.kind(at) != PathKind::Directory {
            return Err(error("mount", at.display(), Errno::EINVAL));
        }
        self.mounts.push(MountEntry {
            device,
            root: "/".into(),
            at: at.to_owned(),
            fs: fs.to_owned(),
            source: format!("/dev/{name}"),
            options: shown(flags),
            super_options: shown(flags & MsFlags::MS_RDONLY)[..1].to_vec(),
        });
        Ok(())
    }

    fn bind(&mut self, from: &Path, to: &Path) -> Result<(), KernelError> {
        let Some(source) = self.top(from).cloned() else {
            return Err(error("bind", from.display(), Errno::EINVAL));
        };
        if self.kind(to) == PathKind::Absent {
            return Err(error("bind", to.display(), Errno::ENOENT));
        }
        self.mounts.push(MountEntry { at: to.to_owned(), ..source });
        Ok(())
    }

    fn bind_device(&mut self, name: &str, to: &Path) -> Result<(), KernelError> {
        if self.kind(to) != PathKind::File {
            return Err(error("bind", to.display(), Errno::ENOTDIR));
        }
        self.mounts.push(MountEntry {
            device: DEVTMPFS,
            root: Path::new("/").join(name),
            at: to.to_owned(),
            fs: "devtmpfs".to_owned(),
            source: "udev".to_owned(),
            options: shown(MsFlags::empty()),
            super_options: vec!["rw".to_owned()],
        });
        Ok(())
    }

    fn remount(&mut self, at: &Path, flags: MsFlags) -> Result<(), KernelError> {
        let entry = self.mounts.iter_mut().rfind(|entry| entry.at == at);
        let entry = entry.ok_or_else(|| error("remount", at.display(), Errno::EINVAL))?;
        entry.options = shown(flags | (flags_of(&entry.options) & MsFlags::MS_NOATIME));
        Ok(())
    }

    fn grow(&mut self, name: &str, at: &Path) -> Result<(), KernelError> {
        let disk = self.disk(name)?.clone();
        assert!(self.top(at).is_some_and(|top| top.device == disk.number && !top.is_read_only()));
        if let Content::FileSystem(found) = &mut self.probe_mut(name).content {
            found.size = disk.size;
            self.grown += 1;
        }
        Ok(())
    }

    fn remove(&mut self, path: &Path) -> Result<(), KernelError> {
        if self.top(path).is_some() {
            return Err(error("remove", path.display(), Errno::EBUSY));
        }
        match self.paths.get(path) {
            Some(PathKind::Directory | PathKind::File) => {
                self.paths.remove(path);
                Ok(())
            }
            None => Ok(()),
            Some(_) => Err(error("remove", path.display(), Errno::EPERM)),
        }
    }
}

impl Kernel for Fake {
    type Pin = Disk;

    fn version(&self) -> Result<features::Kernel, KernelError> {
        Ok(self.state().kernel.clone())
    }

    fn disks(&self) -> Result<Vec<Disk>, KernelError> {
        Ok(self.state().disks.clone())
    }

    fn mounts(&self) -> Result<Vec<MountEntry>, KernelError> {
        Ok(self.state().mounts.clone())
    }

    fn kind(&self, path: &Path) -> Result<PathKind, KernelError> {
        Ok(self.state().kind(path))
    }

    fn resolve(&self, path: &Path) -> Result<PathBuf, KernelError> {
        Ok(path.to_owned())
    }

    fn device_named(&self, path: &str) -> Option<String> {
        path.strip_prefix("/dev/").map(str::to_owned)
    }

    fn pin(&self, disk: &Disk) -> Result<Disk, KernelError> {
        Ok(self.state().disk(&disk.name)?.clone())
    }

    fn size(&self, pin: &Disk) -> Bytes {
        pin.size
    }

    fn probe(&self, pin: &Disk, exclusive: bool) -> Result<Probe, KernelError> {
        let mut state = self.state();
        if exclusive && state.held(pin) {
            return Err(KernelError::Busy(pin.name.clone()));
        }
        Ok(state.probe_mut(&pin.name).clone())
    }

    fn usage(&self, _path: &Path) -> Result<Usage, KernelError> {
        Ok(Usage { total: 100, available: 50, used: 40, inodes: 10, inodes_free: 7 })
    }

    fn apply(&self, pin: Option<&Disk>, step: &Step) -> Result<(), KernelError> {
        let slow = self.state().slow;
        std::thread::sleep(slow);
        let mut state = self.state();
        let name = pin.map(|disk| disk.name.clone()).unwrap_or_default();
        match step {
            Step::MakeDir(path) => {
                let kind = state.paths.entry(path.clone()).or_insert(PathKind::Directory);
                assert_eq!(*kind, PathKind::Directory);
                Ok(())
            }
            Step::MakeFile(path) => {
                let kind = state.paths.entry(path.clone()).or_insert(PathKind::File);
                assert_eq!(*kind, PathKind::File);
                Ok(())
            }
            Step::WriteMarker => {
                state.probe_mut(&name).marker = true;
                Ok(())
            }
            Step::ClearMarker => {
                state.probe_mut(&name).marker = false;
                Ok(())
            }
            Step::MakeFs { fs, .. } => state.make_fs(&name, *fs),
            Step::Repair => {
                state.repairs += 1;
                if let Content::FileSystem(found) = &mut state.probe_mut(&name).content {
                    found.damaged = false;
                }
                Ok(())
            }
            Step::Mount { at, fs, options } => state.mount(&name, at, fs, options.flags),
            Step::Bind { from, to } => state.bind(from, to),
            Step::BindDevice(to) => state.bind_device(&name, to),
            Step::Remount { at, flags } => state.remount(at, *flags),
            Step::Grow { at, .. } => state.grow(&name, at),
            Step::Unmount(at) => {
                if let Some(i) = state.mounts.iter().rposition(|entry| entry.at == *at) {
                    state.mounts.remove(i);
                }
                Ok(())
            }
            Step::Remove(path) => state.remove(path),
        }
    }
}
