//! A node that loses its power and comes back, with its volumes still attached as EC2 keeps them.

use anyhow::Result;
use csi_bed::Root;
use tokio::task::block_in_place;

use super::{NODE_ID, Stand};

impl Stand {
    /// Ends the guest at once.
    pub fn cut_power(&self) {
        block_in_place(|| self.bed.power_cut());
    }

    /// Boots after [`Stand::cut_power`], on the root disk as it was or as another node would come
    /// up, with the volumes that EC2 has attached; returns when the node plugin is ready.
    pub async fn boot_again(&self, root: Root) -> Result<()> {
        block_in_place(|| self.bed.boot_again(root))?;
        for (id, volume) in self.admin.state().await?.volumes {
            if !volume.root && volume.attachments.iter().any(|at| at.instance == NODE_ID) {
                let serial = id.replacen('-', "", 1);
                block_in_place(|| self.guest().disks().attach(&serial, &self.disk_file(&id)))?;
            }
        }
        block_in_place(|| self.prepare_guest())?;
        self.start_node().await
    }
}
