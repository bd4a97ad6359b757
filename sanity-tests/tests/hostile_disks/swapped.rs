//! Names that lead to other disks: by chance of plugging, by stale links, by stale device nodes.

use std::time::Duration;

use anyhow::{Result, ensure};
use sanity_tests::bare::{BareVolume, GIB, until};
use sanity_tests::calls::mount;
use sanity_tests::random::{Random, seed};
use tokio::time::sleep;
use tonic::Code;

use super::on_stand;

/// How long a call may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// What a disk must not lose.
const PRECIOUS: &[u8] = b"somebody's data";

#[test]
fn a_disk_that_takes_the_place_of_another_while_that_is_staged_is_never_written_to() -> Result<()> {
    on_stand(async |stand, log| {
        let seed = seed();
        let mut random = Random::new(seed);
        for round in 0..4 {
            let wanted = BareVolume::new(stand, &mount("ext4"), GIB)?;
            // A blank one: only its identity speaks against formatting it.
            let other = BareVolume::new(stand, &mount("ext4"), GIB)?;
            let name = wanted.plug_raw()?;
            let call = tokio::spawn({
                let wanted = wanted.clone();
                async move { wanted.stage_once().await }
            });
            sleep(random.up_to_ms(400)).await;
            wanted.unplug()?;
            let same_name = other.plug_raw()? == name;
            let answer = call.await?;
            println!("CSI_SEED={seed}, round {round}: same name {same_name}, {:?}", answer.err());
            ensure!(log.runs_on(other.id())?.is_empty(), "the other disk was formatted");
            ensure!(other.state()?.1 == 0, "CSI_SEED={seed}: the other disk was written to");
            other.end()?;
            // The right disk comes back, with whatever was begun on it.
            wanted.plug_raw()?;
            wanted.use_it().await?;
            wanted.leave().await?;
            wanted.check_file_system()?;
            wanted.end()?;
        }
        Ok(())
    })
}

#[test]
fn a_disk_that_is_swapped_while_mkfs_begins_is_never_written_to() -> Result<()> {
    on_stand(async |stand, log| {
        let wanted = BareVolume::new(stand, &mount("ext4"), GIB)?;
        let other = BareVolume::new(stand, &mount("ext4"), GIB)?;
        let name = wanted.plug_raw()?;
        log.close_gate()?;
        let call = tokio::spawn({
            let wanted = wanted.clone();
            async move { wanted.stage_once().await }
        });
        until("mkfs begins", PATIENCE, async || Ok(wanted.runs(log)? == 1)).await?;
        wanted.unplug()?;
        let device = other.plug_raw()?;
        // What the kernel would do without the disk that is held open.
        other.run(&format!("ln -sf /dev/{device} /dev/{name}"))?;
        log.open_gate()?;
        wanted.check_refusal(call.await?, Code::Internal, &[&name, "mkfs.ext4"])?;
        ensure!(other.state()?.1 == 0, "the other disk was written to");
        other.run(&format!("[ {device} = {name} ] || rm -f /dev/{name}"))?;
        other.end()?;
        wanted.plug_raw()?;
        wanted.use_it().await?;
        wanted.leave().await?;
        wanted.check_file_system()?;
        wanted.end()
    })
}

#[test]
fn a_device_node_that_leads_to_another_disk_is_refused_before_anything_is_read_or_written()
-> Result<()> {
    on_stand(async |stand, log| {
        let wanted = BareVolume::new(stand, &mount("ext4"), GIB)?;
        let other = BareVolume::new(stand, &mount("ext4"), GIB)?;
        let (name, device) = (wanted.plug()?, other.plug()?);
        wanted.lead_node(&name, Some(&device))?;
        wanted.is_refused(log, Code::FailedPrecondition, &[&name, "is another device"]).await?;
        ensure!(other.state()?.1 == 0, "the other disk was written to");

        // The same between mkfs and mount(2), which takes a name.
        wanted.lead_node(&name, None)?;
        log.close_gate()?;
        let call = tokio::spawn({
            let wanted = wanted.clone();
            async move { wanted.stage_once().await }
        });
        until("mkfs begins", PATIENCE, async || Ok(wanted.runs(log)? == 1)).await?;
        wanted.lead_node(&name, Some(&device))?;
        log.open_gate()?;
        let words = [name.as_str(), "is another device"];
        wanted.check_refusal(call.await?, Code::FailedPrecondition, &words)?;
        ensure!(other.state()?.1 == 0, "the other disk was written to");

        wanted.lead_node(&name, None)?;
        wanted.use_it().await?;
        wanted.leave().await?;
        wanted.check_file_system()?;
        other.end()?;
        wanted.end()
    })
}

#[test]
fn stale_links_of_udev_to_another_disk_lead_nowhere() -> Result<()> {
    on_stand(async |stand, log| {
        let wanted = BareVolume::new(stand, &mount("ext4"), GIB)?;
        let other = BareVolume::new(stand, &mount("ext4"), GIB)?;
        let device = other.plug()?;
        let link = format!("/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_{}", wanted.serial);
        let named = wanted.place.publish_context.get("devicePath").cloned().unwrap_or_default();
        wanted.run(&format!("ln -s /dev/{device} {link}"))?;
        wanted
            .is_refused_unplugged(Code::NotFound, &["no disk of this node", &wanted.serial])
            .await?;
        wanted.run(&format!("ln -s {link} {named}"))?;
        let words = [&*device, &other.serial, "refusing to touch it"];
        wanted.is_refused_unplugged(Code::FailedPrecondition, &words).await?;
        ensure!(log.runs_on(other.id())?.is_empty(), "the other disk was formatted");

        // With the right disk there, the links are still wrong.
        let name = wanted.plug()?;
        wanted.run(&format!("ln -sf /dev/{device} {link}; ln -sf /dev/{device} {named}"))?;
        wanted.use_it().await?;
        let staging = wanted.place.staging.display();
        let mounted = wanted.run(&format!("findmnt -no SOURCE {staging}"))?;
        ensure!(mounted.trim() == format!("/dev/{name}"), "{mounted:?} is mounted");
        wanted.leave().await?;
        ensure!(other.state()?.1 == 0, "the other disk was written to");
        wanted.run(&format!("rm -f {named}"))?;
        other.end()?;
        wanted.end()
    })
}

#[test]
fn two_disks_that_swapped_their_names_are_each_used_for_their_own_volume() -> Result<()> {
    on_stand(async |stand, log| {
        let pair = [("ext4", 1), ("xfs", 2)];
        let pair = pair.map(|(fs, gib)| BareVolume::new(stand, &mount(fs), gib * GIB));
        let [first, second] = pair;
        let (first, second) = (first?, second?);
        let names = [first.plug_raw()?, second.plug_raw()?];
        let mut sums = Vec::new();
        for volume in [&first, &second] {
            volume.use_it().await?;
            sums.push(volume.write_file("data")?);
            volume.leave().await?;
            volume.unplug()?;
        }
        let swapped = [second.plug_raw()?, first.plug_raw()?];
        ensure!(names == swapped, "{names:?} became {swapped:?}");
        for (volume, sum) in [&first, &second].into_iter().zip(&sums) {
            volume.use_it().await?;
            volume.check_file("data", sum)?;
            volume.leave().await?;
            ensure!(volume.runs(log)? == 1, "it was formatted again");
        }
        first.end()?;
        second.end()
    })
}

#[test]
fn a_disk_that_appears_ten_seconds_late_is_refused_by_its_serial_and_then_staged() -> Result<()> {
    on_stand(async |stand, log| {
        let volume = BareVolume::new(stand, &mount("xfs"), GIB)?;
        let plug = tokio::spawn({
            let volume = volume.clone();
            async move {
                sleep(Duration::from_secs(10)).await;
                volume.plug()
            }
        });
        let mut refused = 0;
        until("the disk is staged", PATIENCE, async || {
            let answer = volume.stage_once().await;
            if answer.is_ok() {
                return Ok(true);
            }
            refused += 1;
            volume.check_refusal(answer, Code::NotFound, &["is it attached?", &volume.serial])?;
            Ok(false)
        })
        .await?;
        plug.await??;
        ensure!(refused > 1 && volume.runs(log)? == 1, "{refused} refusals");
        volume.leave().await?;
        volume.end()
    })
}

#[test]
fn what_another_tool_left_half_made_is_refused_and_kept() -> Result<()> {
    on_stand(async |stand, log| {
        let zeroes = vec![0; 1 << 20];
        // An XFS whose mkfs was killed (`sb_inprogress`), and an ext4 without its first MiB, as a
        // killed mke2fs leaves it: neither was begun by this driver, so neither is its own.
        for (tool, spoil, words) in [
            ("mkfs.xfs", (126, &[1_u8][..]), ["unfinished XFS", "will not be formatted"]),
            ("mkfs.ext4", (0, &zeroes[..]), ["data at byte", "will not be formatted"]),
        ] {
            let volume = BareVolume::new(stand, &mount(&tool[5..]), GIB)?;
            let (made, said) = volume.host_tool(tool, &["-q"])?;
            ensure!(made, "{said}");
            volume.write_at(spoil.0, spoil.1)?;
            volume.write_at(GIB / 2 + 512, PRECIOUS)?;
            let device = volume.plug()?;
            let words = [&device, words[0], words[1]];
            volume.is_refused(log, Code::FailedPrecondition, &words).await?;
            ensure!(volume.read_at(GIB / 2 + 512, PRECIOUS.len())? == PRECIOUS, "it is changed");
            volume.end()?;
        }
        Ok(())
    })
}
