//! A disk that does not answer, and a node that shuts down with its volumes mounted.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use csi_bed::Root;
use csi_proto::csi;
use sanity_tests::bare::{BareVolume, Faulty, GIB};
use sanity_tests::calls::mount;
use sanity_tests::mkfs_log::MkfsLog;
use tokio::task::block_in_place;
use tokio::time::Instant;
use tonic::{Code, Request};

use super::on_stand;

/// The caller's deadline, and how late the answer may be on a busy machine.
const DEADLINE: Duration = Duration::from_secs(3);
const LATE: Duration = Duration::from_secs(2);

#[test]
fn an_unmount_on_a_disk_that_does_not_answer_ends_at_its_deadline_and_succeeds_when_it_does()
-> Result<()> {
    on_stand(async |stand, log| {
        for fs in ["ext4", "xfs"] {
            let disk = Faulty::plug(BareVolume::new(stand, &mount(fs), GIB)?)?;
            let volume = disk.volume.clone();
            volume.use_it().await?;
            let sum = volume.write_file("synced")?;
            let target = volume.place.target.display();
            // Unmounting has something to write.
            volume.run(&format!(
                "dd if=/dev/zero of={target}/unsynced bs=64k count=64 status=none"
            ))?;
            disk.hang()?;
            // The last mount is the one that writes.
            stand.node().unpublish(&volume.place).await?;
            for _ in 0..2 {
                let mut request = Request::new(csi::NodeUnstageVolumeRequest {
                    volume_id: volume.id().to_owned(),
                    staging_target_path: volume.place.staging.display().to_string(),
                });
                request.set_timeout(DEADLINE);
                let began = Instant::now();
                let answer = stand.node().raw().node_unstage_volume(request).await;
                let took = began.elapsed();
                let Err(status) = answer else { bail!("{fs}: it was unmounted") };
                let expected = [Code::DeadlineExceeded, Code::Aborted, Code::Cancelled];
                ensure!(expected.contains(&status.code()), "{fs}: {status}");
                ensure!(took < DEADLINE + LATE, "{fs}: it took {took:?}");
            }
            // The plugin still serves other volumes.
            let other = BareVolume::new(stand, &mount(fs), GIB)?;
            other.plug()?;
            other.use_it().await?;
            other.leave().await?;
            other.end()?;
            disk.answer()?;
            volume.leave().await?;
            volume.use_it().await?;
            volume.check_file("synced", &sum)?;
            ensure!(volume.runs(log)? == 1, "it was formatted again");
            volume.leave().await?;
            volume.check_file_system()?;
            disk.end()?;
        }
        Ok(())
    })
}

#[test]
fn a_plugin_that_ends_with_volumes_mounted_leaves_them_to_their_pods_and_to_its_successor()
-> Result<()> {
    on_stand(async |stand, log| {
        let volume = BareVolume::new(stand, &mount("ext4"), GIB)?;
        volume.plug()?;
        volume.use_it().await?;
        let before = volume.write_file("before")?;
        let status = stand.stop_node().await?;
        ensure!(status == 0, "exit status {status}");
        let between = volume.write_file("between")?;
        stand.start_node().await?;
        volume.use_it().await?;
        for path in [&volume.place.staging, &volume.place.target] {
            ensure!(volume.mounts_at(path)? == 1, "{} mounts", volume.mounts_at(path)?);
        }
        volume.check_file("before", &before)?;
        volume.check_file("between", &between)?;
        ensure!(volume.runs(log)? == 1, "it was formatted again");
        volume.leave().await?;
        volume.end()
    })
}

#[test]
fn a_node_that_is_shut_down_with_volumes_mounted_comes_back_with_everything_written() -> Result<()>
{
    on_stand(async |stand, _log| {
        let mut volumes = Vec::new();
        for fs in ["ext4", "xfs"] {
            let volume = BareVolume::new(stand, &mount(fs), GIB)?;
            volume.plug()?;
            volume.use_it().await?;
            let target = volume.place.target.display().to_string();
            // Not synced: an orderly shutdown does that.
            let sum = volume
                .run(&format!("head -c 1000000 /dev/urandom >{target}/f; sha256sum <{target}/f"))?;
            volumes.push((volume, sum));
        }
        // What a service manager does last: sync, file systems read-only (sysrq-u), power off.
        stand.guest().run("sync; echo u >/proc/sysrq-trigger; sync")?;
        stand.cut_power();
        stand.boot_again(Root::Kept).await?;
        let log = block_in_place(|| MkfsLog::install(stand.guest(), Duration::ZERO))?;
        for (volume, sum) in volumes {
            volume.plug()?;
            volume.use_it().await?;
            volume.check_file("f", &sum)?;
            ensure!(volume.runs(&log)? == 0, "it was formatted again");
            volume.leave().await?;
            volume.check_file_system()?;
            volume.end()?;
        }
        Ok(())
    })
}
