//! An NFS client in memory: a mount table, directories, servers, and system calls that hang.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use nix::errno::Errno;
use nix::mount::MsFlags;
use tokio::time::sleep;

use crate::kernel::nfs::{Nfs, NfsStep, Tunnelled};
use crate::kernel::{DeviceNumber, KernelError, MountEntry, Usage};

/// What happens to the next call of a kind.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fate {
    /// It fails.
    Fails(Errno),
    /// It takes this long, and then does its work.
    Takes(Duration),
    /// It never returns, and does nothing.
    Hangs,
    /// It does its work and never returns: an unmount that cannot write its last data.
    HangsDone,
}

/// State that can be looked at.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) mounts: Vec<MountEntry>,
    pub(crate) folders: BTreeSet<PathBuf>,
    /// Ports that the client knows without a mount.
    pub(crate) lingering: BTreeSet<u16>,
    /// Fates of the next mounts, unmounts, detachments and measurements.
    pub(crate) mount: VecDeque<Fate>,
    pub(crate) unmount: VecDeque<Fate>,
    pub(crate) detach: VecDeque<Fate>,
    pub(crate) usage: VecDeque<Fate>,
    /// Steps that were begun.
    pub(crate) steps: Vec<NfsStep>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct FakeNfs(Arc<Mutex<State>>);

impl FakeNfs {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// How often a mount was begun.
    pub(crate) fn mounted(&self) -> usize {
        let is_mount = |step: &&NfsStep| matches!(step, NfsStep::Mount { .. });
        self.state().steps.iter().filter(is_mount).count()
    }

    /// Something else is mounted.
    pub(crate) fn foreign(&self, at: &str, fs: &str, source: &str) {
        self.state().mounts.push(MountEntry {
            device: DeviceNumber { major: 0, minor: 60 },
            root: "/".into(),
            at: at.into(),
            fs: fs.to_owned(),
            source: source.to_owned(),
            options: vec!["rw".to_owned()],
            super_options: vec!["rw".to_owned()],
        });
    }

    fn do_step(&self, step: &NfsStep) -> Result<(), KernelError> {
        let mut state = self.state();
        match step {
            NfsStep::MakeDir(path) => {
                state.folders.insert(path.clone());
            }
            NfsStep::Mount { path, at, flags, data } => {
                if !state.folders.contains(at) {
                    return Err(failed("mount", at, Errno::ENOENT));
                }
                let minor = 50 + state.mounts.len() as u64;
                let ro = if flags.contains(MsFlags::MS_RDONLY) { "ro" } else { "rw" };
                state.mounts.push(MountEntry {
                    device: DeviceNumber { major: 0, minor },
                    root: "/".into(),
                    at: at.clone(),
                    fs: "nfs4".to_owned(),
                    source: format!("127.0.0.1:{path}"),
                    options: vec![ro.to_owned()],
                    super_options: data.split(',').map(str::to_owned).collect(),
                });
            }
            NfsStep::ReadAhead { .. } => {}
            NfsStep::Unmount(at) | NfsStep::Detach(at) => {
                if let Some(i) = state.mounts.iter().rposition(|entry| entry.at == *at) {
                    state.mounts.remove(i);
                }
            }
            NfsStep::Remove(path) => {
                if state.mounts.iter().any(|entry| entry.at == *path) {
                    return Err(failed("rmdir", path, Errno::EBUSY));
                }
                state.folders.remove(path);
            }
        }
        drop(state);
        Ok(())
    }
}

fn failed(call: &'static str, path: &Path, errno: Errno) -> KernelError {
    let object = path.display().to_string();
    KernelError::Call { call, object, source: io::Error::from(errno) }
}

impl Nfs for FakeNfs {
    fn mounts(&self) -> Result<Vec<MountEntry>, KernelError> {
        Ok(self.state().mounts.clone())
    }

    fn servers(&self) -> Result<BTreeSet<u16>, KernelError> {
        let state = self.state();
        let mounted = state.mounts.iter().filter_map(Tunnelled::of).map(|mount| mount.port);
        Ok(mounted.chain(state.lingering.iter().copied()).collect())
    }

    async fn resolve(&self, path: &Path) -> Result<PathBuf, KernelError> {
        Ok(path.to_owned())
    }

    async fn take(&self, step: NfsStep) -> Result<(), KernelError> {
        let fate = {
            let mut state = self.state();
            state.steps.push(step.clone());
            match &step {
                NfsStep::Mount { .. } => state.mount.pop_front(),
                NfsStep::Unmount(_) => state.unmount.pop_front(),
                NfsStep::Detach(_) => state.detach.pop_front(),
                _ => None,
            }
        };
        match fate {
            None => self.do_step(&step),
            Some(Fate::Fails(errno)) => Err(failed("call", Path::new("/"), errno)),
            Some(Fate::Takes(time)) => {
                sleep(time).await;
                self.do_step(&step)
            }
            Some(Fate::Hangs) => std::future::pending().await,
            Some(Fate::HangsDone) => {
                self.do_step(&step)?;
                std::future::pending().await
            }
        }
    }

    async fn usage(&self, path: &Path) -> Result<Usage, KernelError> {
        let fate = self.state().usage.pop_front();
        match fate {
            Some(Fate::Fails(errno)) => Err(failed("statvfs", path, errno)),
            Some(Fate::Takes(time)) => {
                sleep(time).await;
                Ok(USAGE)
            }
            Some(_) => std::future::pending().await,
            None => Ok(USAGE),
        }
    }
}

pub(crate) const USAGE: Usage =
    Usage { total: 1 << 63, available: (1 << 63) - 40, used: 40, inodes: 10, inodes_free: 7 };
