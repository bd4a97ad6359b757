//! A mkfs that was killed is made again, and only one that was ours.

use std::io::SeekFrom;

use tonic::Code;

use crate::bed::{GIB, Kubelet, SERIAL, in_namespace};

/// mke2fs writes the primary superblock last, so a killed one leaves a zero head with data behind.
const TORN_EXT4: &str = r#"
$REAL "$@" || exit
dd if=/dev/zero of=DISK bs=64K count=1 conv=notrunc,fsync 2>/dev/null
kill -9 $$
"#;

/// mkfs.xfs clears `sb_inprogress`, byte 126, last.
const TORN_XFS: &str = r#"
$REAL "$@" || exit
printf '\001' > $D/one
dd if=$D/one of=DISK bs=1 seek=126 conv=notrunc,fsync 2>/dev/null
kill -9 $$
"#;

async fn torn(bed: &crate::bed::Bed, fs: &'static str, script: &str) {
    let tool = format!("mkfs.{fs}");
    let disk = bed.disk(GIB, Some(SERIAL));
    let kubelet = Kubelet::new(bed, Some(fs)).await;
    bed.hook(&tool, &script.replace("DISK", &disk.node()));
    let error = kubelet.stage(&[]).await.unwrap_err();
    assert!(error.message().contains("signal 9"), "{error}");
    bed.unhook(&tool);

    let (head, tail) = disk.edges();
    let marker = tail.len() - (256 << 10);
    assert!(tail[marker..].starts_with(b"CSI-EBS-MKFS-UNFINISHED"), "the marker survives {tool}");

    // The same without the marker could be anybody's.
    disk.write(SeekFrom::End(-(256 << 10)), &[0; 4096]);
    let refusal = kubelet.stage(&[]).await.unwrap_err();
    assert_eq!(refusal.code(), Code::FailedPrecondition, "{refusal}");
    assert!(disk.edges().0 == head, "a refused disk is not written to");
    assert_eq!(bed.runs(&tool), 1);

    disk.write(SeekFrom::End(-(256 << 10)), &tail[marker..marker + 4096]);
    kubelet.stage(&[]).await.unwrap();
    assert_eq!(bed.runs(&tool), 2);
    assert!(
        disk.edges().1[marker..marker + 4096].iter().all(|&byte| byte == 0),
        "the marker is cleared"
    );
    kubelet.unstage().await.unwrap();
    kubelet.stage(&[]).await.unwrap();
    assert_eq!(bed.runs(&tool), 2);
    kubelet.unstage().await.unwrap();
}

#[test]
fn a_killed_mkfs_of_ext4_is_made_again_with_its_marker_and_refused_without() {
    in_namespace(
        "unfinished::a_killed_mkfs_of_ext4_is_made_again_with_its_marker_and_refused_without",
        async |bed| torn(&bed, "ext4", TORN_EXT4).await,
    );
}

#[test]
fn a_killed_mkfs_of_xfs_is_made_again_with_its_marker_and_refused_without() {
    in_namespace(
        "unfinished::a_killed_mkfs_of_xfs_is_made_again_with_its_marker_and_refused_without",
        async |bed| torn(&bed, "xfs", TORN_XFS).await,
    );
}

#[test]
fn a_mkfs_that_fails_is_quoted_and_made_again() {
    in_namespace("unfinished::a_mkfs_that_fails_is_quoted_and_made_again", async |bed| {
        let _disk = bed.disk(GIB, Some(SERIAL));
        let kubelet = Kubelet::new(&bed, Some("ext4")).await;
        bed.hook("mkfs.ext4", "echo no such luck >&2; exit 5");
        let error = kubelet.stage(&[]).await.unwrap_err();
        assert!(error.message().contains("exit code 5: no such luck"), "{error}");
        bed.unhook("mkfs.ext4");
        kubelet.stage(&[]).await.unwrap();
        kubelet.unstage().await.unwrap();
    });
}
