//! What a volume goes through when all is well.

use std::fs;
use std::io::SeekFrom;

use tonic::Code;

use crate::bed::{Bed, GIB, Kubelet, SERIAL, in_namespace, mounts, run};

async fn live(bed: &Bed, fs: &'static str, size: u64) {
    let disk = bed.disk(size, Some(SERIAL));
    let kubelet = Kubelet::new(bed, Some(fs)).await;
    for _ in 0..2 {
        kubelet.stage(&["noatime"]).await.unwrap();
    }
    for _ in 0..2 {
        kubelet.publish("pod1", false).await.unwrap();
        kubelet.publish("pod2", true).await.unwrap();
    }
    fs::write(bed.path("pod1/file"), "kept").unwrap();
    let error = fs::write(bed.path("pod2/file"), "lost").unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    assert_eq!(fs::read_to_string(bed.path("pod2/file")).unwrap(), "kept");
    let table = mounts(bed);
    assert_eq!(table.len(), 3, "{table:?}");
    assert!(table.iter().all(|line| line.contains(" noatime") || line.contains(",noatime")));
    assert_eq!(kubelet.publish("pod1", true).await.unwrap_err().code(), Code::AlreadyExists);

    let usage = kubelet.stats("pod2").await.unwrap();
    let df = run("df", &["-B1", "--output=size,used,avail", &bed.text("pod1")]);
    let want = format!("{} {} {}", usage[0].total, usage[0].used, usage[0].available);
    assert_eq!(df.lines().last().unwrap().split_whitespace().collect::<Vec<_>>().join(" "), want);
    assert!(usage[1].total > 1000 && usage[1].used > 0);

    for target in ["pod1", "pod2", "pod2"] {
        kubelet.unpublish(target).await.unwrap();
        assert!(!bed.path(target).exists());
    }
    assert_eq!(kubelet.stats("pod1").await.unwrap_err().code(), Code::NotFound);
    for _ in 0..2 {
        kubelet.unstage().await.unwrap();
        assert!(!bed.path("staging").exists());
    }
    assert_eq!(mounts(bed), Vec::<String>::new());

    kubelet.stage(&[]).await.unwrap();
    assert_eq!(fs::read_to_string(bed.path("staging/file")).unwrap(), "kept");
    assert_eq!(bed.runs(&format!("mkfs.{fs}")), 1, "formatted once in all this");
    assert_eq!(bed.runs("e2fsck") + bed.runs("resize2fs") + bed.runs("xfs_growfs"), 0);
    kubelet.unstage().await.unwrap();
    drop(disk);
}

#[test]
fn an_ext4_volume_lives_from_blank_to_unstaged_and_keeps_its_files() {
    in_namespace(
        "life::an_ext4_volume_lives_from_blank_to_unstaged_and_keeps_its_files",
        async |bed| live(&bed, "ext4", GIB).await,
    );
}

#[test]
fn an_ext3_volume_lives_from_blank_to_unstaged_and_keeps_its_files() {
    in_namespace(
        "life::an_ext3_volume_lives_from_blank_to_unstaged_and_keeps_its_files",
        async |bed| live(&bed, "ext3", GIB).await,
    );
}

#[test]
fn an_xfs_volume_lives_from_blank_to_unstaged_and_keeps_its_files() {
    in_namespace(
        "life::an_xfs_volume_lives_from_blank_to_unstaged_and_keeps_its_files",
        async |bed| live(&bed, "xfs", GIB).await,
    );
}

#[test]
fn a_raw_volume_is_the_device_itself_at_a_file() {
    in_namespace("life::a_raw_volume_is_the_device_itself_at_a_file", async |bed| {
        let disk = bed.disk(GIB, Some(SERIAL));
        let kubelet = Kubelet::new(&bed, None).await;
        kubelet.stage(&[]).await.unwrap();
        for _ in 0..2 {
            kubelet.publish("deep/raw", false).await.unwrap();
            kubelet.publish("deep/raw-ro", true).await.unwrap();
        }
        fs::write(bed.path("deep/raw"), b"through the target").unwrap();
        assert!(disk.edges().0.starts_with(b"through the target"));
        let usage = kubelet.stats("deep/raw").await.unwrap();
        assert_eq!((usage.len(), usage[0].total), (1, i64::try_from(GIB).unwrap()));
        disk.grow(2 * GIB);
        let grown = kubelet.expand("deep/raw", 2 * GIB).await.unwrap();
        assert_eq!(grown, i64::try_from(2 * GIB).unwrap());
        for target in ["deep/raw", "deep/raw-ro", "deep/raw"] {
            kubelet.unpublish(target).await.unwrap();
        }
        assert_eq!(fs::read_dir(bed.path("deep")).unwrap().count(), 0);
        kubelet.unstage().await.unwrap();
    });
}

#[test]
fn an_xfs_volume_that_grew_is_grown_by_expand_and_by_the_next_stage() {
    in_namespace(
        "life::an_xfs_volume_that_grew_is_grown_by_expand_and_by_the_next_stage",
        async |bed| {
            let disk = bed.disk(GIB, Some(SERIAL));
            let mut kubelet = Kubelet::new(&bed, Some("xfs")).await;
            // The relayed size stays what it was at the attach.
            kubelet.context = vec![("volumeSizeBytes", GIB.to_string())];
            kubelet.stage(&[]).await.unwrap();
            kubelet.publish("pod1", false).await.unwrap();
            let total = async || kubelet.stats("pod1").await.unwrap()[0].total;
            let first = total().await;

            let error = kubelet.expand("pod1", 2 * GIB).await.unwrap_err();
            assert_eq!(error.code(), Code::Unavailable, "{error}");
            disk.grow(2 * GIB);
            kubelet.expand("pod1", 2 * GIB).await.unwrap();
            let second = total().await;
            assert!(second > first + 900_000_000, "{first} {second}");

            disk.grow(3 * GIB);
            kubelet.stage(&[]).await.unwrap();
            assert!(total().await > second + 900_000_000);
            kubelet.unpublish("pod1").await.unwrap();
            kubelet.unstage().await.unwrap();
        },
    );
}

#[test]
fn an_ext4_volume_that_grew_is_grown_when_it_is_staged() {
    in_namespace("life::an_ext4_volume_that_grew_is_grown_when_it_is_staged", async |bed| {
        let disk = bed.disk(GIB, Some(SERIAL));
        let kubelet = Kubelet::new(&bed, Some("ext4")).await;
        kubelet.stage(&[]).await.unwrap();
        kubelet.unstage().await.unwrap();
        disk.grow(2 * GIB);
        match kubelet.stage(&[]).await {
            Err(error) if error.message().contains("Permission denied") => {
                println!("SKIPPED: this machine may not resize ext4 online ({error})");
            }
            result => {
                result.unwrap();
                let total = kubelet.stats("staging").await.unwrap()[0].total;
                assert!(total > 1_900_000_000, "{total}");
            }
        }
        assert_eq!(bed.runs("resize2fs"), 1);
        kubelet.unstage().await.unwrap();
    });
}

#[test]
fn a_damaged_ext4_is_repaired_before_it_is_mounted_and_a_clean_one_is_not_checked() {
    in_namespace(
        "life::a_damaged_ext4_is_repaired_before_it_is_mounted_and_a_clean_one_is_not_checked",
        async |bed| {
            let disk = bed.disk(GIB, Some(SERIAL));
            let kubelet = Kubelet::new(&bed, Some("ext4")).await;
            kubelet.stage(&[]).await.unwrap();
            fs::write(bed.path("staging/file"), "kept").unwrap();
            kubelet.unstage().await.unwrap();
            assert_eq!(bed.runs("e2fsck"), 0);
            // s_state: errors detected. debugfs keeps the superblock's checksum right.
            run("debugfs", &["-w", "-R", "set_super_value state 2", &disk.node()]);
            kubelet.stage(&[]).await.unwrap();
            assert_eq!(bed.runs("e2fsck"), 1);
            assert_eq!(fs::read_to_string(bed.path("staging/file")).unwrap(), "kept");
            kubelet.unstage().await.unwrap();
        },
    );
}

#[test]
fn stacked_mounts_are_all_peeled_and_files_beneath_are_not_removed() {
    in_namespace(
        "life::stacked_mounts_are_all_peeled_and_files_beneath_are_not_removed",
        async |bed| {
            let _disk = bed.disk(GIB, Some(SERIAL));
            let kubelet = Kubelet::new(&bed, Some("ext4")).await;
            kubelet.stage(&[]).await.unwrap();
            kubelet.publish("pod1", false).await.unwrap();
            for _ in 0..4 {
                run("mount", &["--bind", &bed.text("staging"), &bed.text("pod1")]);
            }
            kubelet.unpublish("pod1").await.unwrap();
            assert!(!bed.path("pod1").exists());
            assert_eq!(mounts(&bed).len(), 1);

            fs::create_dir(bed.path("pod1")).unwrap();
            fs::write(bed.path("pod1/precious"), "kept").unwrap();
            let error = kubelet.unpublish("pod1").await.unwrap_err();
            assert!(error.message().contains("remove"), "{error}");
            assert_eq!(fs::read_to_string(bed.path("pod1/precious")).unwrap(), "kept");
            kubelet.unstage().await.unwrap();
        },
    );
}

#[test]
fn two_volumes_with_one_xfs_uuid_are_mounted_side_by_side() {
    in_namespace("life::two_volumes_with_one_xfs_uuid_are_mounted_side_by_side", async |bed| {
        let disk = bed.disk(GIB, Some(SERIAL));
        let kubelet = Kubelet::new(&bed, Some("xfs")).await;
        kubelet.stage(&[]).await.unwrap();
        kubelet.unstage().await.unwrap();
        let copy = bed.disk(GIB, Some("vol0fffffffffffffff0"));
        run(
            "dd",
            &[
                &format!("if={}", disk.node()),
                &format!("of={}", copy.node()),
                "bs=1M",
                "conv=sparse,notrunc",
            ],
        );
        fs::create_dir(bed.path("copy")).unwrap();
        run("mount", &["-o", "nouuid", &copy.node(), &bed.text("copy")]);
        kubelet.stage(&[]).await.unwrap();
        kubelet.unstage().await.unwrap();
        run("umount", &[&bed.text("copy")]);
    });
}

#[test]
fn a_disk_without_serial_is_found_by_the_name_of_its_attachment() {
    in_namespace(
        "life::a_disk_without_serial_is_found_by_the_name_of_its_attachment",
        async |bed| {
            let disk = bed.disk(GIB, None);
            let mut kubelet = Kubelet::new(&bed, Some("ext4")).await;
            assert_eq!(kubelet.stage(&[]).await.unwrap_err().code(), Code::NotFound);
            kubelet.context = vec![("devicePath", disk.node())];
            kubelet.stage(&[]).await.unwrap();
            kubelet.unstage().await.unwrap();
            disk.write(SeekFrom::Start(0), &[0; 4096]);
        },
    );
}

#[test]
fn a_read_only_target_is_read_only_in_the_hosts_mount_table_too() {
    in_namespace(
        "life::a_read_only_target_is_read_only_in_the_hosts_mount_table_too",
        async |bed| {
            let _disk = bed.disk(GIB, Some(SERIAL));
            // As a pod with bidirectional propagation sees it: what is mounted below the folder
            // shows up in a second tree, the host's.
            for folder in ["node", "host"] {
                fs::create_dir(bed.path(folder)).unwrap();
            }
            run("mount", &["--bind", &bed.text("node"), &bed.text("node")]);
            run("mount", &["--make-shared", &bed.text("node")]);
            run("mount", &["--bind", &bed.text("node"), &bed.text("host")]);
            let kubelet = Kubelet::new(&bed, Some("ext4")).await;
            kubelet.stage(&[]).await.unwrap();
            for _ in 0..2 {
                kubelet.publish("node/pod", true).await.unwrap();
            }
            let error = fs::write(bed.path("host/pod/file"), "lost").unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
            kubelet.unpublish("node/pod").await.unwrap();
            assert_eq!(mounts(&bed).len(), 3, "{:?}", mounts(&bed));
            assert_eq!(fs::read_dir(bed.path("host")).unwrap().count(), 0);
            kubelet.unstage().await.unwrap();
        },
    );
}
