//! EFS from end to end: access points of a StorageClass as a user writes it, mounted over NFSv4.1
//! through TLS by a real kernel, with the real controller, node plugin and tunnel.
#![expect(clippy::print_stdout, reason = "the figures belong into the log of a run")]

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use csi_sim::targets::has_nfs_server;
use sanity_tests::pod::{Pod, Writer};
use sanity_tests::sanity::{self, Run};
use sanity_tests::stand::{EFS_CONTROLLER_IN_GUEST, EFS_NODE_IN_GUEST, Efs, Settings, Stand};
use tokio::task::block_in_place;

/// Tests that the suite skips: a part of their name, and the capability that is not advertised.
const SKIPPED: [(&str, &str); 17] = [
    ("GroupController", "GROUP_CONTROLLER_SERVICE"),
    ("ControllerListVolumeHealth", "LIST_VOLUME_HEALTH"),
    ("ControllerGetVolumeHealth", "GET_VOLUME_HEALTH"),
    ("NodeGetVolumeHealth", "GET_VOLUME_HEALTH"),
    ("NodeGetStorageHealth", "GET_STORAGE_HEALTH"),
    ("GetCapacity", "GET_CAPACITY"),
    ("ListVolumes", "LIST_VOLUMES"),
    ("ControllerPublish", "PUBLISH_UNPUBLISH_VOLUME"),
    ("ControllerUnpublish", "PUBLISH_UNPUBLISH_VOLUME"),
    ("volume lifecycle", "PUBLISH_UNPUBLISH_VOLUME"),
    ("napshot", "CREATE_DELETE_SNAPSHOT"),
    ("source volume", "CLONE_VOLUME"),
    ("ExpandVolume", "EXPAND_VOLUME"),
    ("ModifyVolume", "MODIFY_VOLUME"),
    ("volume attribute class", "MODIFY_VOLUME"),
    ("single node single writer", "SINGLE_NODE_MULTI_WRITER"),
    ("stage", "STAGE_UNSTAGE_VOLUME"),
];

/// Runs a test on a stand of its own and checks that it leaves nothing.
async fn on_efs(test: impl AsyncFnOnce(&Stand, &Efs) -> Result<()>) -> Result<()> {
    if !has_nfs_server() {
        println!("SKIPPED: nfs-ganesha is not installed");
        return Ok(());
    }
    let stand = Stand::start(Settings { efs: true, ..Settings::quick() }).await?;
    let efs = Efs::start(&stand).await?;
    let outcome = match test(&stand, &efs).await {
        Ok(()) => efs.check_nothing_is_left(&stand).await,
        failed => failed,
    };
    outcome.with_context(|| efs.last_words(&stand))
}

#[tokio::test(flavor = "multi_thread")]
async fn two_claims_of_a_class_have_their_own_gids_and_see_only_their_own_directories() -> Result<()>
{
    on_efs(async |stand, efs| {
        let one = Pod::start(stand, efs, "pvc-one").await?;
        let two = Pod::start(stand, efs, "pvc-two").await?;
        one.run("echo one >file && sync -f file")?;
        two.run("echo two >file && sync -f file")?;
        let mut gids = BTreeSet::new();
        for (pod, word) in [(&one, "one"), (&two, "two")] {
            ensure!(pod.run("ls -A")? == "file\n", "it sees {}", pod.run("ls -lA")?);
            ensure!(pod.run("cat file")?.trim() == word, "it reads {}", pod.run("cat file")?);
            ensure!(pod.run("stat -c %a .")?.trim() == "700");
            let gid: u32 = pod.run("stat -c %g file")?.trim().parse()?;
            ensure!((1_000..=2_000).contains(&gid), "gid {gid}");
            gids.insert(gid);
        }
        ensure!(gids.len() == 2, "both have gid {gids:?}");
        one.end().await?;
        two.run("echo more >>file && sync -f file")?;
        two.end().await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_writes_on_while_the_tunnels_worker_and_then_all_of_it_are_killed() -> Result<()> {
    on_efs(async |stand, efs| {
        let pod = Pod::start(stand, efs, "pvc-writer").await?;
        let writer = Writer::start(&pod)?;
        for _ in 0..3 {
            writer.goes_on(Duration::from_secs(30)).await?;
            efs.kill_tunnel_worker(stand)?;
        }
        writer.goes_on(Duration::from_secs(30)).await?;
        let worker = writer.longest_stall()?;
        efs.kill_tunnel(stand)?;
        efs.start_tunnel(stand).await?;
        writer.goes_on(Duration::from_mins(2)).await?;
        let tunnel = writer.longest_stall()?;
        let count = writer.stop_and_check()?;
        println!(
            "efs: {count} synced writes, longest stall {worker:?} with three kills of the worker, \
             {tunnel:?} with one of the whole tunnel"
        );
        pod.end().await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_pods_on_one_volume_the_second_goes_on_when_the_first_ends() -> Result<()> {
    on_efs(async |stand, efs| {
        let first = Pod::start(stand, efs, "pvc-shared").await?;
        let second = first.beside("pod-2").await?;
        first.run("echo shared >file && sync -f file")?;
        ensure!(second.run("cat file")?.trim() == "shared");
        first.leave().await?;
        second.run("echo more >>file && sync -f file")?;
        second.end().await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_suite_passes_for_efs() -> Result<()> {
    on_efs(async |stand, _efs| {
        block_in_place(|| sanity::install(stand.guest()))?;
        let suite = Run {
            access: "mount",
            node: EFS_NODE_IN_GUEST.to_owned(),
            controller: EFS_CONTROLLER_IN_GUEST.to_owned(),
            parameters: vec![
                ("provisioningMode", "efs-ap"),
                ("fileSystemId", sanity_tests::stand::FILE_SYSTEM),
                ("directoryPerms", "700"),
            ],
            mutable: vec![],
        };
        let verdict = block_in_place(|| suite.execute(stand.guest()))?;
        println!("csi-sanity, efs: {}", verdict.summary);
        let mut unknown = Vec::new();
        for name in &verdict.skipped {
            let lower = name.to_ascii_lowercase();
            let why = SKIPPED.iter().find(|(part, _)| lower.contains(&part.to_ascii_lowercase()));
            match why {
                Some((_, why)) => println!("csi-sanity, efs: skips {name}: no {why}"),
                None => unknown.push(name),
            }
        }
        ensure!(verdict.failed.is_empty(), "failed: {:#?}\n{}", verdict.failed, verdict.output);
        ensure!(unknown.is_empty(), "skipped for no known reason: {unknown:#?}");
        Ok(())
    })
    .await
}
