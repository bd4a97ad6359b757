//! As many volumes at once as an instance takes.

use std::time::Duration;

use anyhow::{Result, ensure};
use sanity_tests::bare::{BareVolume, MIB};
use sanity_tests::calls::mount;
use sanity_tests::stand::Stand;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::Instant;

use super::on_stand;

const COUNT: usize = 24;
/// Disks that are plugged at a time: QEMU takes one command after the other.
const LANES: usize = 4;

async fn in_lanes(volumes: &[BareVolume], act: fn(&BareVolume) -> Result<()>) -> Result<Duration> {
    let started = Instant::now();
    let mut lanes = JoinSet::new();
    for lane in 0..LANES {
        let own: Vec<BareVolume> = volumes.iter().skip(lane).step_by(LANES).cloned().collect();
        lanes.spawn(async move { spawn_blocking(move || own.iter().try_for_each(act)).await? });
    }
    while let Some(done) = lanes.join_next().await {
        done??;
    }
    Ok(started.elapsed())
}

fn volume(stand: &Stand, number: usize) -> Result<BareVolume> {
    let fs = if number.is_multiple_of(2) { "ext4" } else { "xfs" };
    BareVolume::new(stand, &mount(fs), 320 * MIB)
}

#[test]
fn twenty_four_volumes_that_are_attached_and_staged_at_once_are_each_formatted_once() -> Result<()>
{
    on_stand(async |stand, log| {
        let volumes: Vec<_> = (0..COUNT).map(|n| volume(stand, n)).collect::<Result<_>>()?;
        // Calls come while the disks are still being plugged.
        let mut calls = JoinSet::new();
        let started = Instant::now();
        for volume in volumes.clone() {
            let patience = Duration::from_mins(5);
            calls.spawn(async move {
                let began = Instant::now();
                while let Err(status) = volume.stage_once().await {
                    let late = status.code() == tonic::Code::NotFound;
                    ensure!(late && began.elapsed() < patience, "{status}");
                }
                volume.use_it().await
            });
        }
        let plugged = in_lanes(&volumes, |volume| volume.plug().map(drop)).await?;
        while let Some(done) = calls.join_next().await {
            done??;
        }
        println!("{COUNT} disks plugged in {plugged:.1?}, staged after {:.1?}", started.elapsed());
        for volume in &volumes {
            let target = volume.place.target.display();
            volume.run(&format!("echo {} >{target}/id", volume.id()))?;
            ensure!(volume.runs(log)? == 1, "{} was formatted again", volume.id());
        }
        for volume in &volumes {
            volume.leave().await?;
        }
        for volume in &volumes {
            volume.use_it().await?;
            let found = volume.run(&format!("cat {}/id", volume.place.target.display()))?;
            ensure!(found.trim() == volume.id(), "{} holds {found}", volume.id());
            volume.leave().await?;
        }
        in_lanes(&volumes, BareVolume::unplug).await?;
        volumes.into_iter().try_for_each(BareVolume::forget)
    })
}
