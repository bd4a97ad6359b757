//! What staging tells mkfs and mount(2): features by kernels, and `SELinux` contexts.

use csi_core::Chain;

use super::*;
use crate::features::{Features, Kernel};
use crate::kernel::Step;
use crate::plan::stage::plan;

/// The steps on a blank disk of a node with this kernel.
fn steps(fs: &str, flags: &[&str], oldest: Option<&str>, kernel: &str) -> Vec<Step> {
    let oldest = oldest.map(|oldest| ("oldestKernel".to_owned(), oldest.to_owned()));
    let message = csi::NodeStageVolumeRequest {
        volume_id: VOLUME.to_owned(),
        publish_context: oldest.into_iter().collect(),
        staging_target_path: STAGING.to_owned(),
        volume_capability: Some(capability(Some(fs), flags, Mode::SingleNodeWriter)),
        ..csi::NodeStageVolumeRequest::default()
    };
    let request = Stage::parse(&message, false).unwrap();
    let kernel = Fake::new(State { kernel: Kernel { release: kernel.to_owned() }, ..blank() });
    let (disk, pin) = observe::find(&kernel, &request.wanted, &request.path).unwrap();
    let seen = observe::stage(&kernel, disk, &pin, &request.path).unwrap();
    plan(&seen, &request.file_system.unwrap()).unwrap()
}

fn mkfs(fs: &str, oldest: Option<&str>, kernel: &str) -> String {
    let made = steps(fs, &[], oldest, kernel).into_iter().find_map(|step| match step {
        Step::MakeFs { fs, options } => Some(options.arguments(fs, 1 << 30).0.join(" ")),
        _ => None,
    });
    made.unwrap()
}

#[test]
fn a_file_system_gets_the_features_of_the_oldest_kernel_that_is_relayed_and_of_this_one() {
    let conservative = mkfs("xfs", None, "6.12.5");
    assert!(conservative.starts_with("-m bigtime=0,inobtcount=0 -i nrext64=0 "), "{conservative}");
    assert_eq!(mkfs("xfs", Some("who knows"), "6.12.5"), conservative);
    for (oldest, own, start) in [
        ("4.14.355-280.amzn2", "6.12.5", "-m bigtime=0,inobtcount=0,reflink=0 -i nrext64=0 "),
        ("5.10.226", "6.12.5", "-m bigtime=0,inobtcount=0 -i nrext64=0 "),
        ("6.1.115", "6.12.5", "-m bigtime=1,inobtcount=1 -i nrext64=0 "),
        ("6.12.5", "6.12.5", "-m bigtime=1,inobtcount=1 -i nrext64=1 "),
        ("6.12.5", "5.10.226", "-m bigtime=0,inobtcount=0 -i nrext64=0 "),
    ] {
        let arguments = mkfs("xfs", Some(oldest), own);
        assert!(arguments.starts_with(start), "{oldest} {own}: {arguments}");
    }
    assert!(mkfs("ext4", None, "6.1.0").starts_with("-O ^orphan_file,^metadata_csum_seed "));
    assert!(mkfs("ext4", Some("6.1.0"), "6.1.0").starts_with("-O orphan_file,metadata_csum_seed "));
}

#[test]
fn a_file_system_that_this_kernel_cannot_mount_is_refused_by_the_features_name() {
    let xfs = FileSystem {
        kind: FsKind::Xfs,
        size: Bytes(10 << 30),
        damaged: false,
        features: Features { incompat: 0x2b, ro_compat: 0xd },
    };
    let on = |release: &str| {
        let state = holding(Content::FileSystem(xfs), false);
        Fake::new(State { kernel: Kernel { release: release.to_owned() }, ..state })
    };
    let kernel = on("5.10.226-214.880.amzn2.x86_64");
    let before = kernel.snapshot();
    let error = do_stage(&kernel, &stage_request("xfs", &[])).unwrap_err();
    assert_eq!((error.code(), kernel.snapshot()), (Code::FailedPrecondition, before));
    let said = Chain(&error).to_string();
    let says = "nvme1n1 holds xfs with nrext64 (Linux 5.19), which the kernel of this node \
                (5.10.226-214.880.amzn2.x86_64) cannot mount";
    assert!(said.contains(says), "{said}");
    do_stage(&on("6.1.115"), &stage_request("xfs", &[])).unwrap();
    // Without `inobtcount`, which is for writing, but with the two that are for mounting.
    let said =
        Chain(&do_stage(&on("5.4.0"), &stage_request("xfs", &["ro"])).unwrap_err()).to_string();
    assert!(said.contains("with bigtime (Linux 5.10), nrext64 (Linux 5.19), which"), "{said}");
}

#[test]
fn selinux_contexts_reach_mount_as_they_are_given() {
    let quoted = r#"context="system_u:object_r:container_file_t:s0:c12,c345""#;
    let others = "rootcontext=system_u:object_r:root_t:s0,fscontext=system_u:object_r:fs_t:s0";
    for (fs, end) in [("ext4", ""), ("xfs", ",nouuid")] {
        let mut steps = steps(fs, &["noatime", quoted, others], None, "6.1.0").into_iter();
        let mount = steps.find_map(|step| match step {
            Step::Mount { options, .. } => Some(options),
            _ => None,
        });
        let mount = mount.unwrap();
        assert_eq!(mount.data, format!("{quoted},{others}{end}"));
        assert_eq!(mount.flags, nix::mount::MsFlags::MS_NOATIME);
    }
}
