//! Mount targets that say nothing, or are away.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use csi_sim::targets::{Behaviour, TargetScript};
use sanity_tests::pod::{Pod, Writer};
use sanity_tests::stand::{FILE_SYSTEM, OTHERS, Stand};
use tokio::task::block_in_place;
use tokio::time::{Instant, sleep};

use super::on_efs;

/// How long a pod's shell may take in a busy guest, on top of what is promised.
const SLOW: Duration = Duration::from_secs(10);

async fn behave(stand: &Stand, file_system: &str, behaviour: Behaviour) -> Result<()> {
    let file_system = Some(file_system.to_owned());
    stand.admin.script_targets(&TargetScript { file_system, address: None, behaviour }).await?;
    Ok(())
}

/// Waits until a program of the guest has ended.
async fn ended(stand: &Stand, name: &str, within: Duration) -> Result<Duration> {
    let begun = Instant::now();
    while block_in_place(|| stand.guest().is_running(name))? {
        ensure!(begun.elapsed() < within, "{name} still runs after {within:?}");
        sleep(Duration::from_millis(100)).await;
    }
    Ok(begun.elapsed())
}

#[test]
fn a_pod_whose_mount_target_is_silent_is_unpublished_in_time_and_harms_nobody() -> Result<()> {
    on_efs(async |stand, efs| {
        let silent = Pod::start(stand, efs, "pvc-silent").await?;
        let silent_too = silent.beside("pod-2").await?;
        let [other, ..] = OTHERS;
        let fine = Pod::start_on(stand, efs, "pvc-fine", other).await?;
        silent_too.run("echo before >file && sync -f file")?;
        behave(stand, FILE_SYSTEM, Behaviour::Silent).await?;
        // Data that cannot be written, by a process that cannot be killed meanwhile.
        let write = format!(
            "dd if=/dev/zero of={}/late bs=65536 count=8 conv=fsync",
            silent.target().display()
        );
        block_in_place(|| stand.guest().start("late", &write))?;
        let begun = Instant::now();
        let leaving = silent.leave();
        let writing = async {
            sleep(Duration::from_secs(1)).await;
            let begun = Instant::now();
            fine.run("echo on >file && sync -f file").map(|_| begun.elapsed())
        };
        let (left, wrote) = tokio::join!(leaving, writing);
        let (took, wrote) = (begun.elapsed(), wrote?);
        left.context("the unpublication")?;
        ensure!(took < Duration::from_secs(10 + 5) + SLOW, "it took {took:?}");
        ensure!(wrote < SLOW, "another file system waited {wrote:?}");
        behave(stand, FILE_SYSTEM, Behaviour::Normal).await?;
        let on = ended(stand, "late", Duration::from_secs(10) + SLOW).await?;
        ensure!(silent_too.run("cat file; stat -c %s late")? == "before\n524288\n");
        println!("efs: unpublished from a silent target in {took:?}, on again {on:?} after it");
        silent_too.end().await?;
        fine.end().await
    })
}

#[test]
fn a_target_that_is_away_for_twelve_seconds_is_not_stormed_and_soon_used_again() -> Result<()> {
    on_efs(async |stand, efs| {
        let pod = Pod::start(stand, efs, "pvc-away").await?;
        let writer = Writer::start(&pod)?;
        writer.goes_on(Duration::from_mins(1)).await?;
        let dials = || -> Result<u64> {
            let ports = efs.tunnel_ports(stand)?;
            ports.pointer("/0/dials").and_then(serde_json::Value::as_u64).context("no dials")
        };
        let before = dials()?;
        behave(stand, FILE_SYSTEM, Behaviour::Refuse).await?;
        sleep(Duration::from_secs(12)).await;
        let dialled = dials()? - before;
        let back = Instant::now();
        behave(stand, FILE_SYSTEM, Behaviour::Normal).await?;
        writer.goes_on(Duration::from_secs(5) + SLOW).await?;
        let on = back.elapsed();
        let count = writer.stop_and_check()?;
        println!("efs: {dialled} dials in 12 s, five writes {on:?} after it, {count} writes");
        ensure!(dialled <= 16, "{dialled} dials in 12 s");
        pod.end().await
    })
}
