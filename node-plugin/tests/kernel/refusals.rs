//! The wrong disk cannot be used: each doubt is a typed refusal, and not a byte of the disk changes.

use std::io::SeekFrom;

use tonic::Code;

use crate::bed::{Bed, Disk, GIB, Kubelet, SERIAL, in_namespace, mounts};

/// Stages, and makes sure that it is refused with these words and that nothing happened.
async fn refused(bed: &Bed, disk: &Disk, context: &[(&'static str, String)], words: &[&str]) {
    let before = disk.edges();
    for fs in ["ext4", "xfs"] {
        let mut kubelet = Kubelet::new(bed, Some(fs)).await;
        kubelet.context = context.to_vec();
        let error = kubelet.stage(&[]).await.unwrap_err();
        assert_eq!(error.code(), Code::FailedPrecondition, "{error}");
        for word in words {
            assert!(error.message().contains(word), "{word:?} is missing in {:?}", error.message());
        }
    }
    assert!(disk.edges() == before, "the disk was written to");
    assert_eq!(mounts(bed), Vec::<String>::new());
    assert_eq!(bed.runs("mkfs.ext4") + bed.runs("mkfs.xfs"), 0);
}

#[test]
fn a_disk_with_another_serial_is_refused_although_the_attachment_names_it() {
    in_namespace(
        "refusals::a_disk_with_another_serial_is_refused_although_the_attachment_names_it",
        async |bed| {
            let disk = bed.disk(GIB, Some("vol0fffffffffffffff0"));
            let context = [("devicePath", disk.node())];
            refused(&bed, &disk, &context, &["vol0fffffffffffffff0", &disk.name, "not vol-"]).await;
        },
    );
}

#[test]
fn a_disk_whose_serial_cannot_be_read_is_refused() {
    in_namespace("refusals::a_disk_whose_serial_cannot_be_read_is_refused", async |bed| {
        let disk = bed.disk(GIB, Some(SERIAL));
        disk.show_serial("  \n");
        let context = [("devicePath", disk.node())];
        refused(&bed, &disk, &context, &["serial", &disk.name, "cannot be read"]).await;
    });
}

#[test]
fn a_disk_that_is_smaller_than_relayed_is_refused() {
    in_namespace("refusals::a_disk_that_is_smaller_than_relayed_is_refused", async |bed| {
        let disk = bed.disk(GIB, Some(SERIAL));
        let wants = (GIB + 512).to_string();
        let context = [("volumeSizeBytes", wants.clone())];
        refused(&bed, &disk, &context, &[&disk.name, &wants, "at least"]).await;
    });
}

#[test]
fn a_disk_that_another_subsystem_holds_is_refused_by_the_holders_name() {
    in_namespace(
        "refusals::a_disk_that_another_subsystem_holds_is_refused_by_the_holders_name",
        async |bed| {
            let disk = bed.disk(GIB, Some(SERIAL));
            disk.show_holder("dm-7");
            refused(&bed, &disk, &[], &[&disk.name, "held by dm-7"]).await;
        },
    );
}

#[test]
fn a_foreign_signature_and_data_without_one_are_refused_by_name_or_offset() {
    in_namespace(
        "refusals::a_foreign_signature_and_data_without_one_are_refused_by_name_or_offset",
        async |bed| {
            let disk = bed.disk(GIB, Some(SERIAL));
            disk.write(SeekFrom::Start(0), b"LUKS\xba\xbe");
            refused(&bed, &disk, &[], &[&disk.name, "holds LUKS"]).await;
            disk.write(SeekFrom::Start(0), &[0; 6]);
            disk.write(SeekFrom::End(-512), b"EFI PART");
            refused(&bed, &disk, &[], &["GPT partition table"]).await;
            disk.write(SeekFrom::End(-512), &[0; 8]);
            // Where ext4 would have a backup of its superblock.
            disk.write(SeekFrom::Start(32_768 * 4096), b"precious");
            refused(&bed, &disk, &[], &["data at byte 134217728"]).await;
        },
    );
}

#[test]
fn a_blank_disk_that_somebody_has_open_exclusively_is_not_formatted() {
    in_namespace(
        "refusals::a_blank_disk_that_somebody_has_open_exclusively_is_not_formatted",
        async |bed| {
            use std::os::unix::fs::OpenOptionsExt;
            let disk = bed.disk(GIB, Some(SERIAL));
            let exclusive = nix::fcntl::OFlag::O_EXCL.bits();
            let mut options = std::fs::File::options();
            let holder = options.read(true).custom_flags(exclusive).open(disk.node()).unwrap();
            refused(&bed, &disk, &[], &[&disk.name, "in use"]).await;
            drop(holder);
        },
    );
}

/// As a tool does that is being started for another disk, until it has closed what it inherited.
#[test]
fn a_blank_disk_that_is_held_for_a_moment_only_is_formatted_after_it() {
    in_namespace(
        "refusals::a_blank_disk_that_is_held_for_a_moment_only_is_formatted_after_it",
        async |bed| {
            use std::os::unix::fs::OpenOptionsExt;
            let disk = bed.disk(GIB, Some(SERIAL));
            let exclusive = nix::fcntl::OFlag::O_EXCL.bits();
            let mut options = std::fs::File::options();
            let holder = options.read(true).custom_flags(exclusive).open(disk.node()).unwrap();
            let release = std::thread::spawn(move || {
                std::thread::sleep(std::time::Duration::from_millis(300));
                drop(holder);
            });
            let kubelet = Kubelet::new(&bed, Some("ext4")).await;
            kubelet.stage(&[]).await.unwrap();
            release.join().unwrap();
            assert_eq!(bed.runs("mkfs.ext4"), 1);
        },
    );
}
