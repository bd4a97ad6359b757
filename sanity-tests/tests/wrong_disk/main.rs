//! The wrong disk cannot be used: on real NVMe disks in the guest every doubt is a typed refusal
//! that names disk, volume and reason, and the disk's first and last MiB stay as they are.

mod disk;

use std::io::SeekFrom;

use anyhow::{Result, ensure};
use sanity_tests::calls::block;
use sanity_tests::stand::{Settings, Stand, on_shared_stand};
use tonic::Code;

use disk::{Attached, GIB, Prepared, serial_of};

const REFUSED: Code = Code::FailedPrecondition;

fn settings() -> Settings {
    // Another disk may be the right one's predecessor, so it is waited for before it is refused.
    Settings { node_arguments: &["--device-timeout=1s"], ..Settings::quick() }
}

fn on_stand(test: impl AsyncFnOnce(&mut Stand) -> Result<()>) -> Result<()> {
    on_shared_stand(settings, test)
}

#[test]
fn a_disk_with_another_serial_is_refused_although_the_attachment_names_it() -> Result<()> {
    on_stand(async |stand| {
        let disk = Prepared::new(stand).await?.attach().await?;
        let other = "vol0fedcba9876543210";
        let device = disk.show_as(other)?;
        let words = [&*device, other, "refusing to touch it"];
        disk.is_refused(REFUSED, &words).await?;
        disk.is_refused_as_block(REFUSED, &words).await?;
        disk.end().await
    })
}

#[test]
fn a_disk_whose_serial_cannot_be_read_is_refused_although_the_attachment_names_it() -> Result<()> {
    on_stand(async |stand| {
        let disk = Prepared::new(stand).await?.attach().await?;
        let device = disk.show_as("          ")?;
        let words = [&*device, "serial", "cannot be read"];
        disk.is_refused(REFUSED, &words).await?;
        disk.is_refused_as_block(REFUSED, &words).await?;
        disk.end().await
    })
}

#[test]
fn without_a_disk_of_this_serial_nothing_is_used_and_the_unreadable_ones_are_named() -> Result<()> {
    on_stand(async |stand| {
        let mut disk = Prepared::new(stand).await?.attach().await?;
        let device = disk.show_as("          ")?;
        disk.place.publish_context.remove("devicePath");
        let serial = serial_of(&disk.place.volume);
        let words = ["no disk of this node", &serial, &device, "is it attached?"];
        disk.is_refused(Code::NotFound, &words).await?;
        disk.end().await
    })
}

#[test]
fn a_disk_that_is_smaller_than_the_attachment_said_is_refused() -> Result<()> {
    on_stand(async |stand| {
        let mut disk = Prepared::new(stand).await?.attach().await?;
        let (has, wants) = (GIB.to_string(), (GIB + 512).to_string());
        disk.place.publish_context.insert("volumeSizeBytes".to_owned(), wants.clone());
        let device = disk.device.clone();
        let words = [&*device, &has, "at least", &wants];
        disk.is_refused(REFUSED, &words).await?;
        disk.is_refused_as_block(REFUSED, &words).await?;
        disk.end().await
    })
}

/// What a test writes to a disk, and where.
type Written<'a> = &'a [(SeekFrom, &'a [u8])];

#[test]
fn a_disk_with_a_foreign_signature_is_refused_by_what_it_holds() -> Result<()> {
    // A partition table's only entry: Linux, from sector 2048 on.
    let mut table = vec![0; 66];
    table.splice(4..16, [0x83, 0, 0, 0, 0, 8, 0, 0, 0, 0, 16, 0]);
    table.splice(64..66, [0x55, 0xaa]);
    let start = SeekFrom::Start;
    let foreign: [(Written<'_>, &str); 5] = [
        (&[(start(446), &table)], "partition table"),
        (&[(start(512), b"EFI PART")], "GPT"),
        (&[(SeekFrom::End(-512), b"EFI PART")], "GPT"),
        (&[(start(0), b"LUKS\xba\xbe\0\x02")], "LUKS"),
        (&[(start(512), b"LABELONE"), (start(536), b"LVM2 001")], "LVM"),
    ];
    on_stand(async |stand| {
        for (signatures, name) in foreign {
            let prepared = Prepared::new(stand).await?;
            for (offset, bytes) in signatures {
                prepared.write(*offset, bytes)?;
            }
            let disk = prepared.attach().await?;
            let device = disk.device.clone();
            disk.is_refused(REFUSED, &[&device, "holds", name, "will not be formatted"]).await?;
            disk.end().await?;
        }
        Ok(())
    })
}

#[test]
fn a_zero_head_with_data_behind_is_refused_with_the_place_of_the_data() -> Result<()> {
    // The last place of the first half that ext4 keeps a copy of its superblock in.
    let offset = 3 * 32_768 * 4096;
    on_stand(async |stand| {
        let prepared = Prepared::new(stand).await?;
        prepared.write(SeekFrom::Start(offset), b"precious")?;
        let disk = prepared.attach().await?;
        let device = disk.device.clone();
        let words = [&*device, &format!("data at byte {offset}"), "will not be formatted"];
        disk.is_refused(REFUSED, &words).await?;
        disk.end().await
    })
}

#[test]
fn a_disk_that_the_device_mapper_holds_is_refused_by_the_holders_name() -> Result<()> {
    on_stand(async |stand| {
        let disk = Prepared::new(stand).await?.attach().await?;
        let device = disk.device.clone();
        let sectors = GIB / 512;
        let table = format!("0 {sectors} linear /dev/{device} 0");
        disk.run(&format!("modprobe dm-mod && dmsetup create held --table '{table}'"))?;
        let words = [&*device, "is held by dm-0"];
        let refused = async {
            disk.is_refused(REFUSED, &words).await?;
            disk.is_refused_as_block(REFUSED, &words).await
        };
        let refused = refused.await;
        disk.run("dmsetup remove held")?;
        refused?;
        disk.is_staged().await?;
        disk.end().await
    })
}

#[test]
fn a_volume_that_grew_since_it_was_attached_is_staged_again_and_fills_its_disk() -> Result<()> {
    on_stand(async |stand| {
        for fs in ["ext4", "xfs"] {
            let disk = Prepared::with(stand, fs).await?.attach().await?;
            disk.is_staged().await?;
            let relayed = disk.place.publish_context.get("volumeSizeBytes").cloned();
            ensure!(relayed == Some(GIB.to_string()), "the attachment said {relayed:?}");
            let bytes = i64::try_from(2 * GIB)?;
            stand.controller().expand(&disk.place.volume, bytes, &disk.place.capability).await?;
            let size = disk.is_staged().await?;
            ensure!(size > 2 * GIB * 9 / 10, "{fs} has {size} bytes on 2 GiB");
            disk.end().await?;
        }
        Ok(())
    })
}

#[test]
fn a_raw_volume_is_used_whatever_it_holds() -> Result<()> {
    on_stand(async |stand| {
        let prepared = Prepared::new(stand).await?;
        prepared.write(SeekFrom::Start(0), b"LUKS\xba\xbe\0\x02")?;
        let mut disk: Attached<'_> = prepared.attach().await?;
        disk.place.capability = block();
        stand.node().stage(&disk.place).await?;
        stand.node().publish(&disk.place).await?;
        let read = disk.run(&format!("head -c 4 {}", disk.place.target.display()))?;
        ensure!(read == "LUKS", "the pod reads {read:?}");
        stand.node().unpublish(&disk.place).await?;
        stand.node().unstage(&disk.place).await?;
        disk.end().await
    })
}
