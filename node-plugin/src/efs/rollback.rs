//! State in the format of efs-utils for every mount of a pod, so that a rollback to the driver that
//! uses efs-utils finds its live mounts and goes on serving them. It is brought into line with the
//! mount table again and again; a mount that has none is served all the same.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use csi_core::rpc_error::Chain;
use efs_tunnel::Identity;
use efs_tunnel::upstream::{Mount, leftovers};
use tracing::{debug, warn};

use crate::kernel::MountEntry;
use crate::kernel::nfs::Tunnelled;

/// The name that efs-utils puts into certificates.
const HOST_NAME: &str = "/proc/sys/kernel/hostname";

/// The folder of the state, and whose mounts it is kept for.
#[derive(Debug)]
pub struct Rollback {
    folder: PathBuf,
    kubelet: PathBuf,
    common_name: String,
    /// Mounts whose state could not be written, so that it is said once.
    told: Mutex<BTreeSet<PathBuf>>,
}

impl Rollback {
    /// State in `folder` for mounts under `kubelet`; those of others are none of ours.
    #[must_use]
    pub fn new(folder: PathBuf, kubelet: PathBuf) -> Self {
        let name = std::fs::read_to_string(HOST_NAME).unwrap_or_default();
        // As efs-utils cuts it.
        let common_name = name.trim().chars().take(64).collect();
        Self { folder, kubelet, common_name, told: Mutex::default() }
    }

    /// Writes what is missing, and removes what is left of mounts that are gone. A state that
    /// efs-utils wrote goes when the kernel has forgotten its port too.
    pub(super) fn bring_into_line(
        &self,
        mounts: &[MountEntry],
        servers: &BTreeSet<u16>,
        whose: impl Fn(u16) -> Option<Identity>,
    ) {
        let mut live = BTreeSet::new();
        for entry in mounts {
            let Some(Tunnelled { port, .. }) = Tunnelled::of(entry) else { continue };
            live.insert((entry.at.as_path(), port));
            if let Some(identity) = whose(port).filter(|_| entry.at.starts_with(&self.kubelet)) {
                self.record(&entry.at, port, identity);
            }
        }
        let is_mounted = |path: &Path, port: u16| live.contains(&(path, port));
        for left in leftovers(&self.folder, &self.kubelet, is_mounted) {
            if left.foreign && servers.contains(&left.port) {
                continue;
            }
            if let Err(error) = left.remove(&self.folder) {
                warn!(error = %Chain(&error), "what is left of a mount stays");
            }
        }
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.retain(|path| live.iter().any(|(at, _)| at == path));
    }

    fn record(&self, mountpoint: &Path, port: u16, identity: Identity) {
        let mount = Mount {
            identity,
            port,
            mountpoint: mountpoint.to_owned(),
            mounted_at: std::time::SystemTime::now().try_into().unwrap_or_default(),
            common_name: self.common_name.clone(),
        };
        if mount.is_recorded(&self.folder) {
            return;
        }
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        match mount.record(&self.folder) {
            Ok(()) => debug!(path = %mountpoint.display(), port, "state for a rollback"),
            Err(error) if told.insert(mountpoint.to_owned()) => {
                warn!(error = %Chain(&error), "no state for a rollback; the mount works");
            }
            Err(_told_before) => {}
        }
    }
}
