//! The node plugin as a process of the guest.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::task::block_in_place;

use super::program::until;
use super::{NODE_IN_GUEST, Stand};
use crate::calls;
use crate::mkfs_log::kill_session;

pub(super) const PROGRAM: &str = "/usr/local/bin/csi-node";
const NAME: &str = "csi-node";

impl Stand {
    /// Starts the node plugin in the guest and waits until it is ready.
    pub async fn start_node(&self) -> Result<()> {
        // The outer shell notes how the plugin ended; the inner one becomes the plugin, whose
        // number takes the place of the outer one's.
        let command = format!(
            "sh -c 'rm -f /run/bed/{NAME}.status; \
             sh -c \"echo \\$\\$ >/run/bed/{NAME}.pid; exec env PATH=$PATH \
             AWS_EC2_METADATA_SERVICE_ENDPOINT={imds} CSI_NODE_NAME=guest {PROGRAM} ebs \
             --endpoint=unix://{NODE_IN_GUEST} --metadata-sources=imds --v={verbosity} {more}\"; \
             echo $? >/run/bed/{NAME}.status'",
            imds = self.imds,
            verbosity = self.settings.verbosity,
            more = self.settings.node_arguments.join(" "),
        );
        block_in_place(|| self.guest().start(NAME, &command))?;
        let ready = calls::ready(&self.node().0, Duration::from_secs(20)).await;
        ready.with_context(|| self.node_log().unwrap_or_default())?;
        Ok(())
    }

    /// Kills the node plugin as the kernel's OOM killer does: tools that it started go on.
    pub fn kill_node(&self) -> Result<()> {
        Ok(block_in_place(|| self.guest().kill(NAME))?)
    }

    /// Kills the node plugin with the tools that it started, as the death of a container does.
    pub fn kill_node_and_tools(&self) -> Result<()> {
        let script = format!(
            "set -- $(cat /proc/\"$(cat /run/bed/{NAME}.pid)\"/stat); sid=$6; {}",
            kill_session()
        );
        block_in_place(|| self.guest().run(&script))?;
        Ok(())
    }

    /// Asks the node plugin to end, as kubelet does, and waits for it: its exit status.
    pub async fn stop_node(&self) -> Result<i32> {
        block_in_place(|| self.guest().signal(NAME, "TERM"))?;
        let status = format!("/run/bed/{NAME}.status");
        let read = || {
            let text = block_in_place(|| self.guest().read(&status)).ok()?;
            String::from_utf8_lossy(&text).trim().parse().ok()
        };
        until(Duration::from_secs(40), read).await.context("csi-node does not end")
    }

    /// The node plugin's log.
    pub fn node_log(&self) -> Result<String> {
        Ok(block_in_place(|| self.guest().log(NAME))?)
    }

    /// The file with a volume's or snapshot's bytes, on the host.
    #[must_use]
    pub fn disk_file(&self, id: &str) -> PathBuf {
        self.bed.run_dir().join("disks").join(id)
    }
}
