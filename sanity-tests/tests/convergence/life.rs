//! The lives of volumes, one after the other, as a claim and a pod would lead them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};
use csi_bed::Guest;
use csi_proto::csi::VolumeCapability;
use sanity_tests::calls::{Claim, Controller, Node, Placement, Volume, block, mount};
use sanity_tests::mkfs_log::MkfsLog;
use sanity_tests::random::Random;
use sanity_tests::stand::{NODE_ID, ZONE};
use tokio::task::block_in_place;

use crate::promise::{GIB, Promise, Stay};

/// Volumes that one worker leaves alive, at most.
const KEEP: usize = 3;

/// The calls to both plugins.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) controller: Calls,
    pub(crate) node: Calls,
}

/// The calls to one plugin.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    under_way: AtomicU32,
    done: AtomicU32,
}

impl Calls {
    pub(crate) fn are_under_way(&self) -> bool {
        self.under_way.load(Ordering::Relaxed) > 0
    }

    /// How many succeeded so far.
    pub(crate) fn done(&self) -> u32 {
        self.done.load(Ordering::Relaxed)
    }
}

impl Traffic {
    async fn ask_controller<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        during(&self.controller, call).await
    }

    async fn ask_node<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        during(&self.node, call).await
    }
}

async fn during<T>(calls: &Calls, call: impl Future<Output = Result<T>>) -> Result<T> {
    calls.under_way.fetch_add(1, Ordering::Relaxed);
    let answer = call.await;
    calls.under_way.fetch_sub(1, Ordering::Relaxed);
    calls.done.fetch_add(1, Ordering::Relaxed);
    answer
}

/// Leads one volume's life after the other.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) name: String,
    pub(crate) random: Random,
    pub(crate) controller: Controller,
    pub(crate) node: Node,
    pub(crate) guest: Guest,
    pub(crate) traffic: Arc<Traffic>,
    pub(crate) log: MkfsLog,
}

impl Worker {
    /// Until it is told to stop: what it left alive, and how many volumes it had.
    pub(crate) async fn run(mut self, stop: &AtomicBool) -> Result<(Vec<Promise>, u32)> {
        let (mut kept, mut lives) = (Vec::new(), 0);
        while !stop.load(Ordering::Relaxed) {
            lives += 1;
            let name = format!("{}-{lives}", self.name);
            let life = self.live(&name, kept.len() < KEEP).await;
            kept.extend(life.with_context(|| format!("the life of {name}"))?);
        }
        Ok((kept, lives))
    }

    async fn live(&mut self, name: &str, may_stay: bool) -> Result<Vec<Promise>> {
        let mut life = self.begin(name, None).await?;
        self.use_it(&mut life).await?;
        let mut all = Vec::new();
        if self.random.once_in(2) {
            all.push(self.restore(&mut life).await?);
        }
        all.push(life);
        let mut kept = Vec::new();
        for mut life in all {
            if may_stay && self.random.once_in(4) {
                self.leave(&mut life).await?;
                kept.push(life);
            } else {
                self.end(life).await?;
            }
        }
        Ok(kept)
    }

    /// Create, attach, stage, publish, and write if there is nothing to be read.
    async fn begin(&mut self, name: &str, source: Option<&Promise>) -> Result<Promise> {
        let capability = match source {
            Some(source) => source.place.capability.clone(),
            None => self.capability(),
        };
        let claim = Claim {
            name: name.to_owned(),
            bytes: source.map_or(GIB, |source| source.bytes),
            zone: ZONE.to_owned(),
            parameters: [("type".to_owned(), "gp3".to_owned())].into(),
            capability,
            snapshot: source.and_then(|source| source.snapshot.clone()).map(|(_, id)| id),
        };
        let volume = self.traffic.ask_controller(self.controller.create(&claim)).await?;
        let place = self.attach(&volume, &claim.capability).await?;
        let mut life = Promise {
            sum: String::new(),
            mkfs_runs: 0,
            bytes: claim.bytes,
            snapshot: None,
            stay: Stay::Published,
            claim,
            volume,
            place,
        };
        self.stage(&life).await?;
        life.mkfs_runs = self.mkfs_runs(&life)?;
        self.publish(&life).await?;
        match source {
            None => life.sum = self.write(&life)?,
            Some(source) => {
                life.sum.clone_from(&source.sum);
                ensure!(life.mkfs_runs == 0, "a restored volume was formatted");
                self.read(&life)?;
            }
        }
        Ok(life)
    }

    fn capability(&mut self) -> VolumeCapability {
        match self.random.below(5) {
            0 => block(),
            1 | 2 => mount("xfs"),
            _ => mount("ext4"),
        }
    }

    /// Expands it, moves it to a second pod, asks for it again: each at random.
    async fn use_it(&mut self, life: &mut Promise) -> Result<()> {
        if self.random.once_in(2) {
            let bytes = life.bytes + GIB;
            let capability = life.place.capability.clone();
            let expand = self.controller.expand(&life.volume.id, bytes, &capability);
            let size = self.traffic.ask_controller(expand).await?;
            ensure!(size == bytes, "expanded to {size} instead of {bytes}");
            life.bytes = bytes;
            self.traffic.ask_node(self.node.expand(&life.place, bytes)).await?;
        }
        if self.random.once_in(2) {
            self.unpublish(life).await?;
            self.unstage(life).await?;
            self.stage(life).await?;
            self.publish(life).await?;
            let runs = self.mkfs_runs(life)?;
            ensure!(runs == life.mkfs_runs, "formatted although it was promised: {runs} runs");
        }
        if self.random.once_in(2) {
            // Whether the provisioner asks for the first or for the present size, it is this one.
            let create = self.controller.create(&life.claim);
            let again = self.traffic.ask_controller(create).await?;
            ensure!(again.id == life.volume.id, "{} became {}", life.volume.id, again.id);
        }
        self.read(life)
    }

    async fn restore(&mut self, life: &mut Promise) -> Result<Promise> {
        let name = format!("snapshot-{}", life.claim.name);
        let snapshot = self.controller.snapshot(&life.volume.id, &name);
        let id = self.traffic.ask_controller(snapshot).await?;
        life.snapshot = Some((name, id));
        let name = format!("{}-restored", life.claim.name);
        self.begin(&name, Some(life)).await
    }

    /// Leaves it alive, more or less far from the pod.
    async fn leave(&mut self, life: &mut Promise) -> Result<()> {
        if life.stay == Stay::Published && self.random.once_in(2) {
            self.unpublish(life).await?;
            self.unstage(life).await?;
            life.stay = Stay::Attached;
        }
        if life.stay == Stay::Attached && self.random.once_in(2) {
            self.detach(life).await?;
            life.stay = Stay::Detached;
        }
        Ok(())
    }

    async fn end(&mut self, life: Promise) -> Result<()> {
        self.read(&life)?;
        self.unpublish(&life).await?;
        self.unstage(&life).await?;
        self.detach(&life).await?;
        if let Some((_, snapshot)) = &life.snapshot {
            self.traffic.ask_controller(self.controller.delete_snapshot(snapshot)).await?;
        }
        self.traffic.ask_controller(self.controller.delete(&life.volume.id)).await
    }

    async fn attach(&self, volume: &Volume, capability: &VolumeCapability) -> Result<Placement> {
        let attach = self.controller.attach(volume, NODE_ID, capability);
        let context = self.traffic.ask_controller(attach).await?;
        Ok(Placement::new(volume, context, capability, &format!("pod-{}", volume.id)))
    }

    async fn detach(&self, life: &Promise) -> Result<()> {
        self.traffic.ask_controller(self.controller.detach(&life.volume.id, NODE_ID)).await
    }

    async fn stage(&self, life: &Promise) -> Result<()> {
        self.traffic.ask_node(self.node.stage(&life.place)).await
    }

    async fn unstage(&self, life: &Promise) -> Result<()> {
        self.traffic.ask_node(self.node.unstage(&life.place)).await
    }

    async fn publish(&self, life: &Promise) -> Result<()> {
        self.traffic.ask_node(self.node.publish(&life.place)).await
    }

    async fn unpublish(&self, life: &Promise) -> Result<()> {
        self.traffic.ask_node(self.node.unpublish(&life.place)).await
    }

    fn mkfs_runs(&self, life: &Promise) -> Result<usize> {
        Ok(block_in_place(|| self.log.runs_on(&life.volume.id))?.len())
    }

    fn write(&self, life: &Promise) -> Result<String> {
        let write =
            format!("dd if=/dev/urandom of={} bs=1M count=1 conv=fsync status=none", life.data());
        block_in_place(|| self.guest.run(&write))?;
        life.sum_in(&self.guest)
    }

    fn read(&self, life: &Promise) -> Result<()> {
        life.check_content(&self.guest)
    }
}
