//! A pod with an EFS volume, as kubelet starts it, and a writer in it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::calls::{Claim, Controller, Node, Placement, Volume, mount};
use crate::stand::{Efs, Stand};
use crate::storage_class::StorageClass;
use anyhow::{Context, Result, ensure};
use csi_bed::Guest;
use csi_proto::csi;
use tokio::task::block_in_place;
use tokio::time::{Instant, sleep};

/// A pod.
#[derive(Debug)]
pub struct Pod {
    controller: Controller,
    node: Node,
    guest: Guest,
    volume: Volume,
    capability: csi::VolumeCapability,
    place: Placement,
}

impl Pod {
    /// Provisions a volume by the class `efs-sc` and mounts it.
    pub async fn start(stand: &Stand, efs: &Efs, claim: &str) -> Result<Self> {
        let class = StorageClass::read(&class_file(), "efs.csi.aws.com")?;
        let (controller, node) = (efs.controller(stand), efs.node(stand));
        // The provisioner of EFS has no default for the file system.
        let capability = mount("");
        let claim = Claim {
            name: claim.to_owned(),
            bytes: 5 << 30,
            zone: String::new(),
            parameters: class.parameters,
            capability: capability.clone(),
            snapshot: None,
        };
        let volume = controller.create(&claim).await?;
        let guest = stand.guest().clone();
        Self::mounted(controller, node, guest, volume, capability, "pod-1").await
    }

    /// Another pod with the same volume.
    pub async fn beside(&self, name: &str) -> Result<Self> {
        let Self { controller, node, guest, volume, capability, .. } = self;
        let (controller, node, guest) = (controller.clone(), node.clone(), guest.clone());
        Self::mounted(controller, node, guest, volume.clone(), capability.clone(), name).await
    }

    async fn mounted(
        controller: Controller,
        node: Node,
        guest: Guest,
        volume: Volume,
        capability: csi::VolumeCapability,
        name: &str,
    ) -> Result<Self> {
        let mut place = Placement::new(&volume, [].into(), &capability, name);
        // Kubelet names this folder after the PersistentVolume.
        let folder = volume.id.replace(':', "-");
        place.target = format!("/var/lib/kubelet/pods/{name}/volumes/{folder}/mount").into();
        place.staging = "".into();
        node.publish(&place).await?;
        Ok(Self { controller, node, guest, volume, capability, place })
    }

    /// Runs a script in the pod's folder.
    pub fn run(&self, script: &str) -> Result<String> {
        let script = format!("cd {} && {script}", self.place.target.display());
        Ok(block_in_place(|| self.guest.run(&script))?)
    }

    /// Ends the pod, not its volume.
    pub async fn leave(self) -> Result<()> {
        self.node.unpublish(&self.place).await
    }

    /// Ends the pod and its volume.
    pub async fn end(self) -> Result<()> {
        let (controller, volume) = (self.controller.clone(), self.volume.id.clone());
        self.leave().await?;
        controller.delete(&volume).await
    }
}

/// The StorageClass as a user writes it.
#[must_use]
pub fn class_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/examples/efs-sc.yaml")
}

/// Appends records of 64 KiB, each synced and with its number, and notes how long each took.
#[derive(Debug)]
pub struct Writer<'a> {
    pod: &'a Pod,
}

const NAME: &str = "writer";

impl<'a> Writer<'a> {
    /// Starts it.
    pub fn start(pod: &'a Pod) -> Result<Self> {
        let script = format!(
            "#!/bin/bash\ncd {target} || exit 1\nlast=$(date +%s%N)\n\
             for ((i = 0; ; i++)); do\n\
             [ -e /run/writer.stop ] && {{ echo end >>/run/writer.log; exit 0; }}\n\
             printf '%-65535d\\n' $i | dd of=data bs=65536 iflag=fullblock oflag=append \
             conv=notrunc,fsync status=none || {{ echo failed $i >>/run/writer.log; exit 1; }}\n\
             now=$(date +%s%N)\n\
             echo write $i $(((now - last) / 1000000)) >>/run/writer.log\n\
             last=$now\ndone\n",
            target = pod.place.target.display()
        );
        block_in_place(|| {
            pod.guest.run("rm -f /run/writer.stop; : >/run/writer.log")?;
            pod.guest.write("/usr/local/bin/writer", script.as_bytes())?;
            pod.guest.run("chmod 755 /usr/local/bin/writer")?;
            pod.guest.start(NAME, "/usr/local/bin/writer")
        })?;
        Ok(Self { pod })
    }

    fn log(&self) -> Result<String> {
        let log = block_in_place(|| self.pod.guest.run("cat /run/writer.log"))?;
        ensure!(!log.contains("failed"), "a write failed: {log}");
        Ok(log)
    }

    fn writes(&self) -> Result<usize> {
        Ok(self.log()?.lines().filter(|line| line.starts_with("write")).count())
    }

    /// Waits until it has written five more records.
    pub async fn goes_on(&self, within: Duration) -> Result<()> {
        let (wrote, began) = (self.writes()?, Instant::now());
        while self.writes()? < wrote + 5 {
            ensure!(began.elapsed() < within, "no five writes within {within:?}");
            sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// The longest time of a write so far.
    pub fn longest_stall(&self) -> Result<Duration> {
        let log = self.log()?;
        let times = log.lines().filter_map(|line| line.split(' ').nth(2)?.parse().ok());
        times.max().map(Duration::from_millis).context("nothing was written")
    }

    /// Ends it; every record must be in the file, in order. How many there are.
    pub fn stop_and_check(self) -> Result<usize> {
        let wait = "touch /run/writer.stop; for i in $(seq 600); do \
                    grep -q end /run/writer.log && exit 0; sleep 0.1; done; exit 1";
        block_in_place(|| self.pod.guest.run(wait))?;
        let writes = self.writes()?;
        let numbers = self.pod.run("tr -s ' ' <data | tr -d ' '")?;
        let numbers: Vec<usize> =
            numbers.lines().map(|line| Ok(line.trim().parse()?)).collect::<Result<_>>()?;
        ensure!(numbers == (0..writes).collect::<Vec<_>>(), "{writes} writes left {numbers:?}");
        Ok(writes)
    }
}
