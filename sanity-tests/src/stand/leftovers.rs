//! What is left when everything was taken back: nothing.

use anyhow::{Result, ensure};
use tokio::task::block_in_place;

use super::Stand;

impl Stand {
    /// Fails if a volume but the instance's own root, a snapshot, a mount, a disk or a formatting
    /// tool is left.
    pub async fn check_nothing_is_left(&self) -> Result<()> {
        let state = self.admin.state().await?;
        let volumes: Vec<_> = state.volumes.values().filter(|volume| !volume.root).collect();
        ensure!(volumes.is_empty(), "volumes are left: {volumes:?}");
        ensure!(state.snapshots.is_empty(), "snapshots are left: {:?}", state.snapshots);
        let mounts = "grep -E ' /var/lib/kubelet| /tmp/csi-sanity' /proc/self/mountinfo || true";
        let mounts = block_in_place(|| self.guest().run(mounts))?;
        ensure!(mounts.is_empty(), "mounts are left: {mounts}");
        ensure!(state.device_failures.is_empty(), "the bench failed: {:?}", state.device_failures);
        let disks = block_in_place(|| self.guest().disks().list())?;
        ensure!(disks.is_empty(), "disks are left: {disks:?}");
        Ok(())
    }
}
