//! Several mounts of one volume, stacks of mounts, and what they measure.

use anyhow::{Context, Result, ensure};
use csi_proto::csi;
use csi_proto::csi::volume_usage::Unit;
use sanity_tests::bare::{BareVolume, GIB};
use sanity_tests::calls::{block, mount};
use sanity_tests::stand::Stand;

use super::on_stand;

/// The volume as a second pod has it.
fn second(volume: &BareVolume) -> BareVolume {
    let mut second = volume.clone();
    let target = volume.place.target.display().to_string();
    second.place.target = target.replace("/pod-1/", "/pod-2/").into();
    second
}

async fn publish_read_only(stand: &Stand, volume: &BareVolume) -> Result<()> {
    let request =
        csi::NodePublishVolumeRequest { readonly: true, ..volume.place.publish_request() };
    stand.node().raw().node_publish_volume(request).await?;
    Ok(())
}

#[test]
fn two_pods_share_a_volume_and_a_read_only_one_reads_what_the_other_writes() -> Result<()> {
    on_stand(async |stand, _log| {
        for fs in ["ext4", "xfs"] {
            let first = BareVolume::new(stand, &mount(fs), GIB)?;
            first.plug()?;
            first.use_it().await?;
            let second = second(&first);
            publish_read_only(stand, &second).await?;
            let sum = first.write_file("shared")?;
            second.check_file("shared", &sum)?;
            let refused = second.write_file("forbidden").err().context("it could write")?;
            ensure!(format!("{refused:?}").contains("Read-only file system"), "{refused:?}");
            first.write_file("after")?;
            // The first one goes; the second keeps its mount, and its being read-only.
            stand.node().unpublish(&first.place).await?;
            second.check_file("shared", &sum)?;
            ensure!(second.write_file("forbidden").is_err(), "it could write");
            stand.node().publish(&first.place).await?;
            first.write_file("again")?;
            stand.node().unpublish(&second.place).await?;
            first.leave().await?;
            first.check_file_system()?;
            first.end()?;
        }
        Ok(())
    })
}

#[test]
fn five_stacked_mounts_are_peeled_off_a_target_and_off_a_staging_path() -> Result<()> {
    on_stand(async |stand, _log| {
        let volume = BareVolume::new(stand, &mount("ext4"), GIB)?;
        volume.plug()?;
        volume.use_it().await?;
        let (staging, target) = (&volume.place.staging, &volume.place.target);
        for (from, at) in [(staging, target), (staging, staging)] {
            let stack = format!("mount --bind {} {}", from.display(), at.display());
            volume.run(&format!("for i in 1 2 3 4; do {stack}; done"))?;
            // More than five: they propagate between the two, as kubelet's own do.
            let mounts = volume.mounts_at(at)?;
            ensure!(mounts >= 5, "{mounts} mounts at {}", at.display());
        }
        for path in [target, staging] {
            if path == target {
                stand.node().unpublish(&volume.place).await?;
            } else {
                stand.node().unstage(&volume.place).await?;
            }
            ensure!(volume.mounts_at(path)? == 0, "{} is mounted", path.display());
            volume.run(&format!("test ! -e {}", path.display()))?;
        }
        volume.check_file_system()?;
        volume.end()
    })
}

#[test]
fn a_volume_is_measured_as_df_measures_it() -> Result<()> {
    on_stand(async |stand, _log| {
        for fs in ["ext4", "xfs"] {
            let volume = BareVolume::new(stand, &mount(fs), GIB)?;
            volume.plug()?;
            volume.use_it().await?;
            volume.write_file("data")?;
            volume.run(&format!("sync -f {}", volume.place.target.display()))?;
            let columns = "size,avail,used,itotal,iavail,iused";
            let target = volume.place.target.display();
            let df = volume.run(&format!("df -B1 --output={columns} {target} | tail -n 1"))?;
            let df: Vec<i64> =
                df.split_whitespace().map(|word| Ok(word.parse()?)).collect::<Result<_>>()?;
            let mut found = Vec::new();
            let measured = volume.measure().await?;
            for (usage, unit) in measured.iter().zip([Unit::Bytes, Unit::Inodes]) {
                ensure!(usage.unit == i32::from(unit), "{usage:?}");
                found.extend([usage.total, usage.available, usage.used]);
            }
            ensure!(found == df, "{fs}: {found:?}, and df says {df:?}");
            volume.leave().await?;
            volume.end()?;
        }
        let volume = BareVolume::new(stand, &block(), GIB)?;
        volume.plug()?;
        volume.use_it().await?;
        let target = volume.place.target.display();
        let bytes: i64 = volume.run(&format!("blockdev --getsize64 {target}"))?.trim().parse()?;
        let found = volume.measure().await?;
        ensure!(found.len() == 1 && found.iter().all(|usage| usage.total == bytes), "{found:?}");
        volume.leave().await?;
        volume.end()
    })
}
