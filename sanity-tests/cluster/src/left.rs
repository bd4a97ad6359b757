//! What is left when everything was taken back: nothing.

use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::runtime::Handle;
use tokio::task::block_in_place;

use crate::Cluster;

/// Deleting a claim ends with the attacher, the provisioner and AWS, each of which takes its time.
const PATIENCE: Duration = Duration::from_mins(2);

impl Cluster {
    /// Fails if a claim, a volume, an attachment, a snapshot, an access point, a mount or a disk of a
    /// volume is left.
    pub async fn check_nothing_is_left(&self) -> Result<()> {
        self.kubectl().until_holds(PATIENCE, || self.check_now()).await
    }

    fn check_now(&self) -> Result<()> {
        let kinds = "persistentvolumeclaim,persistentvolume,volumeattachment,volumesnapshotcontent";
        let objects = self.kubectl().run(&["get", "-A", "-o", "name", kinds])?;
        ensure!(objects.is_empty(), "objects: {objects}");
        let admin = self.admin();
        let state = block_in_place(|| Handle::current().block_on(admin.state()))?;
        let volumes: Vec<_> = state.volumes.iter().filter(|(_, volume)| !volume.root).collect();
        ensure!(volumes.is_empty(), "volumes: {volumes:?}");
        ensure!(state.snapshots.is_empty(), "snapshots: {:?}", state.snapshots);
        ensure!(state.access_points.is_empty(), "access points: {:?}", state.access_points);
        ensure!(state.device_failures.is_empty(), "the bench failed: {:?}", state.device_failures);
        let mounts = "grep -E ' nfs4? | /var/lib/kubelet/plugins/| /dev/nvme[1-9]' \
                      /proc/self/mountinfo || true";
        let mounts = block_in_place(|| self.guest().run(mounts))?;
        ensure!(mounts.is_empty(), "mounts: {mounts}");
        let disks = block_in_place(|| self.guest().disks().list())?;
        let disks: Vec<_> = disks.iter().filter(|disk| disk.serial != "node").collect();
        ensure!(disks.is_empty(), "disks: {disks:?}");
        Ok(())
    }

    /// What the pods of the drivers and the events say, for the message of a test that fails.
    #[must_use]
    pub fn last_words(&self) -> String {
        let kubectl = self.kubectl();
        let mut words = String::new();
        let said = [
            kubectl.run(&["get", "-A", "-o", "wide", "pods,pvc,pv,volumeattachments"]),
            kubectl.run(&["get", "-A", "events", "--sort-by=.lastTimestamp"]).map(|all| {
                let lines: Vec<&str> = all.lines().collect();
                lines
                    .iter()
                    .skip(lines.len().saturating_sub(40))
                    .fold(String::new(), |text, line| text + line + "\n")
            }),
        ];
        words.extend(said.into_iter().map(|said| said.unwrap_or_else(|error| error.to_string())));
        for app in ["ebs-csi-controller", "ebs-csi-node", "efs-csi-controller", "efs-csi-node"] {
            let selector = format!("app={app}");
            let arguments =
                ["-n", "kube-system", "logs", "-l", &selector, "--all-containers", "--tail=12"];
            let log = kubectl.run(&arguments).unwrap_or_else(|error| error.to_string());
            words.extend(["--- ", app, "\n", &log]);
        }
        words
    }
}
