//! What is left when everything was taken back: nothing.

use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::task::block_in_place;

use super::Stand;
use super::program::until_nothing_is_left;

/// EC2 shows what was deleted for a while.
const PATIENCE: Duration = Duration::from_secs(30);

impl Stand {
    /// Fails if a volume but the instance's own root, a snapshot, a mount or a disk is left.
    pub async fn check_nothing_is_left(&self) -> Result<()> {
        until_nothing_is_left(PATIENCE, async || self.check_now().await).await
    }

    async fn check_now(&self) -> Result<()> {
        let state = self.admin.state().await?;
        let volumes: Vec<_> = state.volumes.iter().filter(|(_, volume)| !volume.root).collect();
        ensure!(volumes.is_empty(), "volumes: {volumes:?}");
        ensure!(state.snapshots.is_empty(), "snapshots: {:?}", state.snapshots);
        ensure!(state.device_failures.is_empty(), "the bench failed: {:?}", state.device_failures);
        let mounts = "grep -E ' /var/lib/kubelet| /tmp/csi-sanity' /proc/self/mountinfo || true";
        let mounts = block_in_place(|| self.guest().run(mounts))?;
        ensure!(mounts.is_empty(), "mounts: {mounts}");
        let disks = block_in_place(|| self.guest().disks().list())?;
        ensure!(disks.is_empty(), "disks: {disks:?}");
        Ok(())
    }
}
