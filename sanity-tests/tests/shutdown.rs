//! SIGTERM lets the call in flight finish: kubelet replaces plugins while they work.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use csi_proto::csi;
use csi_sim::world::Delay;
use sanity_tests::calls::{Claim, Placement, mount};
use sanity_tests::mkfs_log::MkfsLog;
use sanity_tests::stand::{NODE_ID, NODE_IN_GUEST, Settings, Stand, ZONE, on_shared_stand};
use serde_json::json;
use tokio::task::block_in_place;
use tokio::time::{Instant, sleep};

/// How long the call in flight takes, at least.
const WORK: Duration = Duration::from_secs(2);

fn claim(name: &str) -> Claim {
    Claim {
        name: name.to_owned(),
        bytes: 1 << 30,
        zone: ZONE.to_owned(),
        parameters: [].into(),
        capability: mount("ext4"),
        snapshot: None,
    }
}

/// Waits until the simulated EC2 has begun to attach the volume.
async fn attaching(stand: &Stand, volume: &str) -> Result<()> {
    let started = Instant::now();
    loop {
        let state = stand.admin.state().await?;
        let begun = state.volumes.get(volume).is_some_and(|dump| !dump.attachments.is_empty());
        if begun {
            return Ok(());
        }
        ensure!(started.elapsed() < Duration::from_secs(10), "nothing is being attached");
        sleep(Duration::from_millis(10)).await;
    }
}

#[test]
fn a_controller_that_is_asked_to_end_during_an_attach_finishes_it() -> Result<()> {
    on_shared_stand(Settings::quick, async |stand| {
        let volume = stand.controller().create(&claim("pvc-shutdown")).await?;
        let slow = json!({"attach": Delay::FixedMs(u64::try_from(WORK.as_millis())?)});
        stand.admin.change_settings(&slow).await?;
        let request = csi::ControllerPublishVolumeRequest {
            volume_id: volume.id.clone(),
            node_id: NODE_ID.to_owned(),
            volume_capability: Some(mount("ext4")),
            ..Default::default()
        };
        let mut client = stand.controller().raw();
        let call = tokio::spawn(async move { client.controller_publish_volume(request).await });
        attaching(stand, &volume.id).await?;
        let asked = Instant::now();
        let status = stand.stop_controller().await?;
        let took = asked.elapsed();
        let answer = call.await?.context("the call in flight")?.into_inner();
        println!("csi-controller ended {took:?} after SIGTERM, with status {status}");
        ensure!(answer.publish_context.contains_key("devicePath"), "{answer:?}");
        ensure!(status == 0, "exit status {status}");
        let socket = stand.bed().run_dir().join("controller.sock");
        ensure!(!socket.exists(), "{} is left", socket.display());
        let state = stand.admin.state().await?;
        let dump = state.volumes.get(&volume.id).context("the volume is gone")?;
        let attached = dump.attachments.iter().all(|attachment| attachment.state == "attached");
        ensure!(attached, "it ended before the attachment: {:?}", dump.attachments);

        stand.start_controller().await?;
        stand.admin.change_settings(&json!({"attach": Delay::FixedMs(100)})).await?;
        stand.controller().detach(&volume.id, NODE_ID).await?;
        stand.controller().delete(&volume.id).await
    })
}

#[test]
fn a_node_plugin_that_is_asked_to_end_during_a_stage_finishes_it() -> Result<()> {
    on_shared_stand(Settings::quick, async |stand| {
        let log = block_in_place(|| MkfsLog::install(stand.guest(), WORK))?;
        stand.kill_node()?;
        stand.start_node().await?;
        let capability = mount("ext4");
        let volume = stand.controller().create(&claim("pvc-shutdown-node")).await?;
        let context = stand.controller().attach(&volume, NODE_ID, &capability).await?;
        let place = Placement::new(&volume, context, &capability, "pod-1");
        let request = place.stage_request();
        let mut client = stand.node().raw();
        let call = tokio::spawn(async move { client.node_stage_volume(request).await });
        let started = Instant::now();
        while block_in_place(|| log.runs())?.is_empty() {
            ensure!(started.elapsed() < Duration::from_secs(20), "mkfs does not begin");
        }
        let asked = Instant::now();
        let status = stand.stop_node().await?;
        let took = asked.elapsed();
        call.await?.context("the call in flight")?;
        println!("csi-node ended {took:?} after SIGTERM, with status {status}");
        ensure!(status == 0, "exit status {status}");
        let guest = stand.guest().clone();
        block_in_place(|| guest.run(&format!("test ! -e {NODE_IN_GUEST}")))?;
        let staged = format!("findmnt -n -o FSTYPE {}", place.staging.display());
        let staged = block_in_place(|| guest.run(&staged))?;
        ensure!(staged.trim() == "ext4", "mounted is {staged:?}");

        stand.start_node().await?;
        stand.node().stage(&place).await?;
        let runs = block_in_place(|| log.runs_on(&volume.id))?;
        ensure!(runs.len() == 1, "{runs:?}");
        stand.node().unstage(&place).await?;
        stand.controller().detach(&volume.id, NODE_ID).await?;
        stand.controller().delete(&volume.id).await
    })
}
