//! Disks that cannot be read or written to, in whole or in part, and are well again later.

use std::ops::Range;

use anyhow::{Result, ensure};
use sanity_tests::bare::{BareVolume, Fault, Faulty, GIB, MIB};
use sanity_tests::calls::mount;
use tonic::Code;

use super::on_stand;

const IO: &str = "Input/output error";

#[test]
fn a_disk_that_cannot_be_read_is_never_taken_for_a_blank_one() -> Result<()> {
    on_stand(async |stand, log| {
        let disk = Faulty::plug(BareVolume::new(stand, &mount("ext4"), GIB)?)?;
        let (name, volume) = (disk.device.clone(), disk.volume.clone());
        // The head, the tail, one of the places between that must be zero, and everything.
        let middle = GIB / 64 * 17;
        for part in [0..4096, GIB - 4096..GIB, middle..middle + 4096, 0..GIB] {
            disk.break_parts(Fault::All, std::slice::from_ref(&part))?;
            let before = volume.state()?;
            let answer = volume.stage_once().await;
            volume.check_refusal(answer, Code::Internal, &[&name, "read", IO])?;
            ensure!(volume.state()? == before, "{part:?}: the disk was written to");
            ensure!(volume.runs(log)? == 0, "{part:?}: it was formatted");
        }
        disk.heal()?;
        volume.use_it().await?;
        ensure!(volume.runs(log)? == 1);
        volume.leave().await?;
        disk.end()
    })
}

#[test]
fn a_disk_with_data_that_cannot_be_read_for_a_while_keeps_it() -> Result<()> {
    on_stand(async |stand, log| {
        for fs in ["ext4", "xfs"] {
            let disk = Faulty::plug(BareVolume::new(stand, &mount(fs), GIB)?)?;
            let volume = disk.volume.clone();
            volume.use_it().await?;
            let sum = volume.write_file("data")?;
            volume.leave().await?;
            disk.break_parts(Fault::All, std::slice::from_ref(&(0..MIB)))?;
            let answer = volume.stage_once().await;
            volume.check_refusal(answer, Code::Internal, &[&disk.device, "read", IO])?;
            disk.heal()?;
            volume.use_it().await?;
            volume.check_file("data", &sum)?;
            ensure!(volume.runs(log)? == 1, "it was formatted again");
            volume.leave().await?;
            disk.end()?;
        }
        Ok(())
    })
}

/// Where writes fail, and the words of the refusal.
type Broken = (&'static str, Range<u64>, &'static str);

#[test]
fn a_disk_that_fails_writes_of_mkfs_is_refused_and_formatted_when_it_is_well() -> Result<()> {
    // The marker stands 256 KiB before the end. Of the middle, everything that a mkfs may want.
    let tail = GIB - (256 << 10);
    let parts: [Broken; 4] = [
        ("the marker", tail..GIB, "marker"),
        ("the superblock", 0..4096, "mkfs"),
        ("the middle", 8 * MIB..GIB - MIB, "mkfs"),
        ("everything", 0..GIB, "marker"),
    ];
    on_stand(async |stand, log| {
        for fs in ["ext4", "xfs"] {
            for (what, part, word) in &parts {
                let disk = Faulty::plug(BareVolume::new(stand, &mount(fs), GIB)?)?;
                let volume = disk.volume.clone();
                disk.break_parts(Fault::Writes, std::slice::from_ref(part))?;
                for _ in 0..2 {
                    let answer = volume.stage_once().await;
                    let words = [&*disk.device, word, IO];
                    let refused = volume.check_refusal(answer, Code::Internal, &words);
                    refused.map_err(|error| error.context(format!("{fs}, {what}")))?;
                }
                disk.heal()?;
                volume.use_it().await?;
                let sum = volume.write_file("data")?;
                volume.leave().await?;
                let runs = volume.runs(log)?;
                volume.use_it().await?;
                volume.check_file("data", &sum)?;
                volume.leave().await?;
                ensure!(volume.runs(log)? == runs, "{fs}, {what}: it was formatted again");
                volume.check_file_system()?;
                disk.end()?;
            }
        }
        Ok(())
    })
}

#[test]
fn a_disk_that_fails_writes_while_it_is_mounted_keeps_what_was_synced_before() -> Result<()> {
    on_stand(async |stand, log| {
        for fs in ["ext4", "xfs"] {
            let disk = Faulty::plug(BareVolume::new(stand, &mount(fs), GIB)?)?;
            let volume = disk.volume.clone();
            volume.use_it().await?;
            let sum = volume.write_file("synced")?;
            disk.break_all(Fault::Writes)?;
            let lost = volume.write_file("lost");
            ensure!(lost.is_err(), "{fs}: a write to a disk that fails writes succeeded");
            volume.leave().await?;
            disk.heal()?;
            volume.use_it().await?;
            volume.goes_on(log, "synced", &sum).await?;
            disk.end()?;
        }
        Ok(())
    })
}
