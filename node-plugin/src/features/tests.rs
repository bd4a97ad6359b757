//! Superblocks made by the real mkfs, and kernels that can or cannot mount them.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;

use csi_core::{Bytes, FsType};

use super::*;
use crate::format::FormatOptions;
use crate::probe::{Content, FileSystem, probe};

const SIZE: u64 = 512 << 20;

fn kernel(release: &str) -> Kernel {
    Kernel { release: release.to_owned() }
}

/// Runs mkfs on a sparse file and reads what it made; `None` if the tool is not here.
#[expect(clippy::disallowed_methods, reason = "the test runs the real tools")]
fn made(fs: FsType, arguments: &[String], after: Option<String>) -> Option<FileSystem> {
    let tool = format!("mkfs.{fs}");
    let image = tempfile::NamedTempFile::new().unwrap();
    image.as_file().set_len(SIZE).unwrap();
    let mut command = std::process::Command::new(&tool);
    let Ok(output) = command.args(arguments).arg(image.path()).args(after).output() else {
        writeln!(std::io::stderr(), "SKIPPED: {tool} is not on this machine").unwrap();
        return None;
    };
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Some(read(image.path()))
}

fn read(image: &Path) -> FileSystem {
    let file = File::open(image).unwrap();
    match probe(Bytes(SIZE), |offset, buffer| file.read_exact_at(buffer, offset)).unwrap().content {
        Content::FileSystem(found) => found,
        other => panic!("{other:?}"),
    }
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn names(found: &FileSystem, release: &str, read_only: bool) -> Vec<&'static str> {
    let missing = missing(found.kind, found.features, &kernel(release), read_only);
    missing.into_iter().map(|feature| feature.name).collect()
}

#[test]
fn what_is_made_for_a_kernel_is_mountable_there_and_modern_where_all_are() {
    for release in ["4.14.355-280.amzn2", "4.19.0", "5.4.0", "5.10.226", "5.15.0", "6.1.0", "6.6.1"]
    {
        for fs in [FsType::Ext3, FsType::Ext4, FsType::Xfs] {
            let options = FormatOptions::default().for_kernels_from(KernelVersion::parse(release));
            let (before, after) = options.arguments(fs, SIZE - (256 << 10));
            let Some(found) = made(fs, &before, after) else { return };
            assert_eq!(names(&found, release, false), Vec::<&str>::new(), "{fs} for {release}");
        }
    }
    let all = |fs, oldest: Option<&str>| {
        let oldest = oldest.and_then(KernelVersion::parse);
        let (before, after) =
            FormatOptions::default().for_kernels_from(oldest).arguments(fs, SIZE - (256 << 10));
        made(fs, &before, after)
    };
    // Everything later than 3.0, as far as the table goes.
    let modern = all(FsType::Xfs, Some("6.12.5")).unwrap();
    let on = names(&modern, "3.0.0", false);
    for name in ["bigtime", "inobtcount", "nrext64", "reflink"] {
        assert!(on.contains(&name), "{on:?}");
    }
    let unknown = all(FsType::Xfs, None).unwrap();
    assert_eq!(names(&unknown, "4.16.0", false), Vec::<&str>::new());
    assert!(names(&unknown, "3.0.0", false).contains(&"reflink"), "as it was before");
    let modern = all(FsType::Ext4, Some("6.1.0")).unwrap();
    assert_eq!(names(&modern, "4.3.9", false), ["metadata_csum_seed"]);
    let unknown = all(FsType::Ext4, None).unwrap();
    assert_eq!(names(&unknown, "3.18.0", false), Vec::<&str>::new());
}

#[test]
fn each_feature_that_a_kernel_lacks_is_named_and_only_those_for_writing_if_it_writes() {
    let wanted = "-q -f -m bigtime=1,inobtcount=1,rmapbt=1 -i nrext64=1";
    let Some(xfs) = made(FsType::Xfs, &words(wanted), None) else { return };
    assert_eq!(names(&xfs, "5.10.226-214.880.amzn2.x86_64", false), ["nrext64"]);
    assert_eq!(names(&xfs, "5.4.0", false), ["bigtime", "nrext64", "inobtcount"]);
    assert_eq!(names(&xfs, "5.4.0", true), ["bigtime", "nrext64"]);
    assert_eq!(names(&xfs, "6.1.115-126.197.amzn2023.x86_64", false), Vec::<&str>::new());

    let wanted = "-q -F -O encrypt,casefold,ea_inode,large_dir,quota,project,verity,bigalloc";
    let Some(ext) = made(FsType::Ext4, &words(wanted), None) else { return };
    assert_eq!(
        names(&ext, "4.4.0", false),
        ["ea_inode", "large_dir", "casefold", "project", "verity"]
    );
    assert_eq!(names(&ext, "4.14.0", true), ["casefold"]);
    assert_eq!(names(&ext, "5.4.0", false), Vec::<&str>::new());
}

#[test]
fn vendors_that_bring_features_into_old_kernels_and_unreadable_releases_are_left_to_mount() {
    let features = Features { incompat: u32::MAX, ro_compat: u32::MAX };
    let lacks = |release| !missing(FsKind::Xfs, features, &kernel(release), false).is_empty();
    assert!(lacks("4.18.0-80-generic") && lacks("5.14.0-1-aws"));
    for release in ["4.18.0-553.el8_10.x86_64", "5.14.21-150500.55-default", "", "odd"] {
        assert!(!lacks(release), "{release}");
    }
    assert!(!lacks("7.0.0"), "bits that the table does not have are left to mount(2)");
}

#[test]
fn releases_of_all_kinds_are_read() {
    let parse = |release| KernelVersion::parse(release).map(|version| version.to_string());
    assert_eq!(parse("5.10.226-214.880.amzn2.x86_64").as_deref(), Some("5.10"));
    assert_eq!(parse(" 6.12\n").as_deref(), Some("6.12"));
    assert_eq!(parse("6.1-rc3").as_deref(), Some("6.1"));
    assert_eq!((parse("Linux"), parse("5"), parse("")), (None, None, None));
    assert!(KernelVersion::parse("5.10") > KernelVersion::parse("5.4"));
}
