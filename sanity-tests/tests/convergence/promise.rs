//! What calls that succeeded have promised about a volume, and whether the world keeps it.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use csi_bed::Guest;
use csi_proto::csi::volume_capability::AccessType;
use sanity_tests::calls::{Claim, Placement, Volume};
use sanity_tests::mkfs_log::MkfsLog;
use sanity_tests::stand::{NODE_ID, Stand};
use tokio::task::block_in_place;
use tokio::time::{Instant, sleep};

pub(crate) const GIB: i64 = 1 << 30;

/// How near to a pod a volume was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stay {
    Published,
    Attached,
    Detached,
}

/// A volume that is there, as calls have said.
#[derive(Debug)]
pub(crate) struct Promise {
    pub(crate) claim: Claim,
    pub(crate) volume: Volume,
    pub(crate) place: Placement,
    pub(crate) bytes: i64,
    /// The checksum of its first MiB, or of its only file.
    pub(crate) sum: String,
    /// How often it was formatted before its first stage succeeded.
    pub(crate) mkfs_runs: usize,
    /// Name and id of its snapshot.
    pub(crate) snapshot: Option<(String, String)>,
    pub(crate) stay: Stay,
}

impl Promise {
    /// The path of its data in the guest.
    pub(crate) fn data(&self) -> String {
        let target = self.place.target.display();
        match self.place.capability.access_type {
            Some(AccessType::Block(_)) => target.to_string(),
            _ => format!("{target}/data"),
        }
    }

    pub(crate) fn sum_in(&self, guest: &Guest) -> Result<String> {
        let sum = format!("head -c 1048576 {} | sha256sum", self.data());
        Ok(block_in_place(|| guest.run(&sum))?)
    }

    pub(crate) fn check_content(&self, guest: &Guest) -> Result<()> {
        let sum = self.sum_in(guest)?;
        ensure!(sum == self.sum, "{} reads {sum}, not {}", self.data(), self.sum);
        Ok(())
    }

    /// Repeats every call of its life, reads its content, and ends it.
    pub(crate) async fn check_and_end(&self, stand: &Stand, log: &MkfsLog) -> Result<()> {
        let (controller, node) = (stand.controller(), stand.node());
        let (id, capability) = (&self.volume.id, &self.place.capability);
        // The source of a restored volume may be gone by now.
        if self.claim.snapshot.is_none() {
            let again = controller.create(&self.claim).await?;
            ensure!(again.id == *id, "the name now gives {}", again.id);
        }
        let context = controller.attach(&self.volume, NODE_ID, capability).await?;
        if self.stay != Stay::Detached {
            // The size is the present one, the name is that of the one attachment.
            let name = |context: &BTreeMap<String, String>| context.get("devicePath").cloned();
            let same = name(&context) == name(&self.place.publish_context);
            ensure!(same, "attached as {context:?}");
        }
        let place = Placement { publish_context: context, ..self.place.clone() };
        node.stage(&place).await?;
        node.publish(&place).await?;
        self.check_content(stand.guest())?;
        let runs = block_in_place(|| log.runs_on(id))?;
        ensure!(runs.len() == self.mkfs_runs, "formatted after it was promised: {runs:?}");
        node.unpublish(&place).await?;
        node.unstage(&place).await?;
        controller.detach(id, NODE_ID).await?;
        if let Some((name, snapshot)) = &self.snapshot {
            let again = controller.snapshot(id, name).await?;
            ensure!(again == *snapshot, "snapshot {name} is {again}, not {snapshot}");
            controller.delete_snapshot(snapshot).await?;
        }
        controller.delete(id).await
    }
}

/// What of the world is looked at: ids, sizes and attachments of volumes, and volumes of snapshots,
/// all by name.
#[derive(Debug, PartialEq, Eq, Default)]
struct World {
    volumes: BTreeMap<String, Vec<String>>,
    snapshots: BTreeMap<String, Vec<String>>,
}

/// Whether each volume and each snapshot is there once, as promised, and nothing else.
pub(crate) async fn check_world(stand: &Stand, promises: &[Promise]) -> Result<()> {
    let mut want = World::default();
    for promise in promises {
        let at = match promise.stay {
            Stay::Detached => String::new(),
            Stay::Published | Stay::Attached => {
                let device = promise.place.publish_context.get("devicePath");
                format!("{NODE_ID} {} attached", device.context("no device name")?)
            }
        };
        let (id, size) = (&promise.volume.id, promise.bytes / GIB);
        let volume = format!("{id} {size} GiB [{at}]");
        want.volumes.entry(promise.claim.name.clone()).or_default().push(volume);
        if let Some((name, snapshot)) = &promise.snapshot {
            let snapshot = format!("{snapshot} of {id}");
            want.snapshots.entry(name.clone()).or_default().push(snapshot);
        }
    }
    // EC2 shows for a while what was deleted last.
    let started = Instant::now();
    loop {
        let found = look(stand).await?;
        if found == want {
            return Ok(());
        }
        let late = started.elapsed() > Duration::from_secs(10);
        ensure!(!late, "promised: {want:#?}\nfound: {found:#?}");
        sleep(Duration::from_millis(100)).await;
    }
}

async fn look(stand: &Stand) -> Result<World> {
    let state = stand.admin.state().await?;
    let mut found = World::default();
    for (id, dump) in state.volumes.iter().filter(|(_, dump)| !dump.root) {
        let at: Vec<String> = dump
            .attachments
            .iter()
            .map(|at| format!("{} {} {}", at.instance, at.device, at.state))
            .collect();
        let volume = format!("{id} {} GiB [{}]", dump.size_gib, at.join(", "));
        let name = dump.tags.get("CSIVolumeName").cloned().unwrap_or_default();
        found.volumes.entry(name).or_default().push(volume);
    }
    for (id, dump) in &state.snapshots {
        let snapshot = format!("{id} of {}", dump.volume.as_deref().unwrap_or("nothing"));
        let name = dump.tags.get("CSIVolumeSnapshotName").cloned().unwrap_or_default();
        found.snapshots.entry(name).or_default().push(snapshot);
    }
    Ok(found)
}
