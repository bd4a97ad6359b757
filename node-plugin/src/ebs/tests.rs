//! The verbs on a kernel in memory: what they answer.

use csi_core::Bytes;
use csi_core::rpc_error::GrpcCode;
use csi_proto::csi;
use csi_proto::csi::volume_capability::access_mode::Mode;
use csi_proto::csi::volume_capability::{AccessMode, AccessType, BlockVolume, MountVolume};
use tonic::Code;

use super::request::{Expand, Publish, Stage, Stats, Unmount};
use super::{expand, publish, stage, stats, unmount};
use crate::features::Features;
use crate::identity::tests::{VOLUME, ours};
use crate::kernel::PathKind;
use crate::kernel::fake::{Fake, State};
use crate::observe;
use crate::probe::{Content, FileSystem, FsKind, Probe};

mod calls;
mod cut;
mod mounting;

const STAGING: &str = "/k/globalmount";
const TARGET: &str = "/k/pods/1/mount";

fn capability(fs: Option<&str>, flags: &[&str], mode: Mode) -> csi::VolumeCapability {
    let access_type = match fs {
        None => AccessType::Block(BlockVolume {}),
        Some(fs) => AccessType::Mount(MountVolume {
            fs_type: fs.to_owned(),
            mount_flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
            ..MountVolume::default()
        }),
    };
    csi::VolumeCapability {
        access_mode: Some(AccessMode { mode: mode.into() }),
        access_type: Some(access_type),
    }
}

fn stage_request(fs: &str, flags: &[&str]) -> Stage {
    let message = csi::NodeStageVolumeRequest {
        volume_id: VOLUME.to_owned(),
        staging_target_path: STAGING.to_owned(),
        volume_capability: Some(capability(Some(fs), flags, Mode::SingleNodeWriter)),
        ..csi::NodeStageVolumeRequest::default()
    };
    Stage::parse(&message, false).unwrap()
}

fn publish_request(fs: Option<&str>, target: &str, readonly: bool, mode: Mode) -> Publish {
    let message = csi::NodePublishVolumeRequest {
        volume_id: VOLUME.to_owned(),
        staging_target_path: STAGING.to_owned(),
        target_path: target.to_owned(),
        volume_capability: Some(capability(fs, &[], mode)),
        readonly,
        ..csi::NodePublishVolumeRequest::default()
    };
    Publish::parse(&message).unwrap()
}

fn unpublish_request(target: &str) -> Unmount {
    Unmount::unpublish(&csi::NodeUnpublishVolumeRequest {
        volume_id: VOLUME.to_owned(),
        target_path: target.to_owned(),
    })
    .unwrap()
}

fn blank() -> State {
    State { disks: vec![ours("nvme1n1", 1)], ..State::default() }
}

fn holding(content: Content, marker: bool) -> State {
    let mut state = blank();
    state.probes.insert("nvme1n1".to_owned(), Probe { content, marker });
    state
}

fn ext4(size: u64, damaged: bool) -> Content {
    Content::FileSystem(FileSystem {
        kind: FsKind::Ext4,
        size: Bytes(size),
        damaged,
        features: Features::default(),
    })
}

fn do_stage(kernel: &Fake, request: &Stage) -> Result<(), stage::StageError> {
    let found = observe::find(kernel, &request.wanted, &request.path)?;
    stage::stage(kernel, found, request)
}

fn do_publish(kernel: &Fake, request: &Publish) -> Result<(), publish::PublishError> {
    let found = observe::find(kernel, &request.wanted, &request.target)?;
    publish::publish(kernel, found, request)
}

fn formats(kernel: &Fake) -> usize {
    kernel.state().formats.values().sum()
}

#[test]
fn a_blank_disk_is_formatted_once_and_staged_again_for_nothing() {
    let kernel = Fake::new(blank());
    do_stage(&kernel, &stage_request("ext4", &[])).unwrap();
    let staged = kernel.snapshot();
    assert_eq!((staged.mounts.len(), formats(&kernel)), (1, 1));
    do_stage(&kernel, &stage_request("ext4", &[])).unwrap();
    assert_eq!(kernel.snapshot(), staged);
}

#[test]
fn a_disk_that_grew_is_grown_at_the_next_stage_and_not_again() {
    let kernel = Fake::new(blank());
    do_stage(&kernel, &stage_request("xfs", &[])).unwrap();
    kernel.state().disks[0].size = Bytes(20 << 30);
    for _ in 0..2 {
        do_stage(&kernel, &stage_request("xfs", &[])).unwrap();
        assert_eq!(kernel.state().grown, 1);
    }
}

#[test]
fn what_is_not_proved_blank_is_refused_and_left_as_it_is() {
    let foreign = Content::Foreign("LUKS".to_owned());
    for (content, marker) in [
        (foreign.clone(), false),
        (foreign, true),
        (Content::Data(5), false),
        (Content::UnfinishedXfs, false),
    ] {
        let kernel = Fake::new(holding(content, marker));
        let before = kernel.snapshot();
        let error = do_stage(&kernel, &stage_request("ext4", &[])).unwrap_err();
        assert_eq!(error.code(), Code::FailedPrecondition);
        assert_eq!(kernel.snapshot(), before);
    }
    let xfs = FileSystem {
        kind: FsKind::Xfs,
        size: Bytes(10 << 30),
        damaged: false,
        features: Features::default(),
    };
    let kernel = Fake::new(holding(Content::FileSystem(xfs), false));
    let error = do_stage(&kernel, &stage_request("ext4", &[])).unwrap_err();
    assert!(csi_core::Chain(&error).to_string().contains("holds xfs"), "{error:?}");
}

#[test]
fn a_blank_disk_that_must_not_be_written_to_or_is_in_use_is_not_formatted() {
    let error = do_stage(&Fake::new(blank()), &stage_request("ext4", &["ro"])).unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition);

    let mut state = blank();
    state.disks[0].read_only = true;
    let error = do_stage(&Fake::new(state), &stage_request("ext4", &[])).unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition);

    let mut state = blank();
    state.busy.push("nvme1n1".to_owned());
    let error = do_stage(&Fake::new(state), &stage_request("ext4", &[])).unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition);
}

#[test]
fn only_a_damaged_ext_is_repaired_and_a_disk_of_another_size_only_grown_if_writable() {
    for (damaged, flags, repairs, grown) in
        [(false, &[][..], 0, 1), (true, &[], 1, 1), (true, &["ro"], 0, 0)]
    {
        let kernel = Fake::new(holding(ext4(5 << 30, damaged), false));
        do_stage(&kernel, &stage_request("ext4", flags)).unwrap();
        let state = kernel.snapshot();
        assert_eq!((state.repairs, state.grown, formats(&kernel)), (repairs, grown, 0));
    }
}

#[test]
fn other_flags_or_another_device_at_the_staging_path_are_a_conflict() {
    let kernel = Fake::new(blank());
    do_stage(&kernel, &stage_request("ext4", &["noatime"])).unwrap();
    for flags in [&[][..], &["noatime", "ro"], &["noatime", "noexec"]] {
        let error = do_stage(&kernel, &stage_request("ext4", flags)).unwrap_err();
        assert_eq!(error.code(), Code::AlreadyExists, "{flags:?}");
    }
    let error = do_stage(&kernel, &stage_request("xfs", &["noatime"])).unwrap_err();
    assert_eq!(error.code(), Code::AlreadyExists);

    kernel.state().disks.push(ours("nvme2n1", 2));
    kernel.state().disks[0].serial = crate::kernel::Serial::Absent;
    let error = do_stage(&kernel, &stage_request("ext4", &["noatime"])).unwrap_err();
    assert_eq!(error.code(), Code::AlreadyExists);
}

#[test]
fn the_mount_of_a_disk_that_is_gone_gives_way() {
    let kernel = Fake::new(blank());
    do_stage(&kernel, &stage_request("ext4", &[])).unwrap();
    // Detached by force and attached again: another number, the same content.
    kernel.state().disks[0].number.minor = 9;
    do_stage(&kernel, &stage_request("ext4", &[])).unwrap();
    let state = kernel.snapshot();
    assert_eq!((state.mounts.len(), state.mounts[0].device.minor), (1, 9));
    assert_eq!(formats(&kernel), 1);
}

#[test]
fn publishing_again_the_same_is_success_and_otherwise_is_a_conflict() {
    let writer = Mode::SingleNodeMultiWriter;
    for fs in [Some("ext4"), None] {
        let kernel = Fake::new(blank());
        do_stage(&kernel, &stage_request("ext4", &[])).unwrap();
        for readonly in [false, true] {
            let target = format!("{TARGET}{readonly}");
            for _ in 0..2 {
                do_publish(&kernel, &publish_request(fs, &target, readonly, writer)).unwrap();
            }
            let other = publish_request(fs, &target, !readonly, writer);
            assert_eq!(do_publish(&kernel, &other).unwrap_err().code(), Code::AlreadyExists);
        }
        let state = kernel.snapshot();
        assert_eq!(state.mounts.len(), 3, "staged and published twice: {:?}", state.mounts);
        assert_eq!(state.mounts.iter().filter(|entry| entry.is_read_only()).count(), 1);
        assert_eq!(state.paths.len(), 3, "nothing is left beside the targets: {:?}", state.paths);
    }
}

#[test]
fn a_volume_for_one_pod_gets_no_second_target() {
    let single = Mode::SingleNodeSingleWriter;
    for fs in [Some("ext4"), None] {
        let kernel = Fake::new(blank());
        do_stage(&kernel, &stage_request("ext4", &[])).unwrap();
        for _ in 0..2 {
            do_publish(&kernel, &publish_request(fs, TARGET, false, single)).unwrap();
        }
        let second = publish_request(fs, "/k/pods/2/mount", false, single);
        assert_eq!(do_publish(&kernel, &second).unwrap_err().code(), Code::FailedPrecondition);
        unmount::unmount(&kernel, &unpublish_request(TARGET)).unwrap();
        do_publish(&kernel, &second).unwrap();
    }
}

#[test]
fn publishing_what_is_not_staged_is_refused() {
    let request = publish_request(Some("ext4"), TARGET, false, Mode::SingleNodeWriter);
    let error = do_publish(&Fake::new(blank()), &request).unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition);
    assert!(csi_core::Chain(&error).to_string().contains("not staged at /k/globalmount"));
}

#[test]
fn unpublishing_peels_stacked_mounts_and_is_content_with_nothing() {
    let kernel = Fake::new(blank());
    do_stage(&kernel, &stage_request("ext4", &[])).unwrap();
    let staged = kernel.snapshot();
    let request = publish_request(Some("ext4"), TARGET, true, Mode::SingleNodeWriter);
    do_publish(&kernel, &request).unwrap();
    let entry = kernel.state().mounts[1].clone();
    kernel.state().mounts.extend(std::iter::repeat_n(entry, 4));
    for _ in 0..2 {
        unmount::unmount(&kernel, &unpublish_request(TARGET)).unwrap();
        assert_eq!(kernel.snapshot(), staged);
    }
}

#[test]
fn a_symlink_and_somebody_elses_mount_are_left_alone() {
    let mut state = blank();
    state.paths.insert(TARGET.into(), PathKind::Symlink);
    let error = unmount::unmount(&Fake::new(state), &unpublish_request(TARGET)).unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition);

    let kernel = Fake::new(blank());
    do_stage(&kernel, &stage_request("ext4", &[])).unwrap();
    let foreign = |path: &str| {
        Unmount::unstage(&csi::NodeUnstageVolumeRequest {
            volume_id: "pvc-not-of-ec2".to_owned(),
            staging_target_path: path.to_owned(),
        })
        .unwrap()
    };
    let error = unmount::unmount(&kernel, &foreign(STAGING)).unwrap_err();
    assert_eq!(error.code(), Code::NotFound);
    unmount::unmount(&kernel, &foreign("/k/elsewhere")).unwrap();
}

fn expand_request(path: &str, required: i64) -> Result<Expand, super::request::RequestError> {
    Expand::parse(&csi::NodeExpandVolumeRequest {
        volume_id: VOLUME.to_owned(),
        volume_path: path.to_owned(),
        capacity_range: Some(csi::CapacityRange { required_bytes: required, limit_bytes: 0 }),
        ..csi::NodeExpandVolumeRequest::default()
    })
}

#[test]
fn expanding_works_at_both_paths_waits_for_the_disk_and_checks_whose_it_is() {
    let kernel = Fake::new(blank());
    do_stage(&kernel, &stage_request("ext4", &[])).unwrap();
    let request = publish_request(Some("ext4"), TARGET, false, Mode::SingleNodeWriter);
    do_publish(&kernel, &request).unwrap();
    let to_20 = |path| expand::expand(&kernel, &expand_request(path, 20 << 30).unwrap());

    let error = to_20(TARGET).unwrap_err();
    assert_eq!((error.code(), error.may_pass()), (Code::Unavailable, true));
    kernel.state().disks[0].size = Bytes(20 << 30);
    for path in [TARGET, STAGING] {
        assert_eq!(to_20(path).unwrap(), Bytes(20 << 30));
        assert_eq!(kernel.state().grown, 1);
    }
    assert_eq!(to_20("/k/elsewhere").unwrap_err().code(), Code::NotFound);
    assert_eq!(expand_request("some/path", 0).unwrap_err().code(), Code::NotFound);

    kernel.state().disks[0].serial = crate::kernel::Serial::Known("vol0f".to_owned());
    assert_eq!(to_20(TARGET).unwrap_err().code(), Code::FailedPrecondition);
}

#[test]
fn a_raw_volume_is_measured_and_expanded_by_its_device() {
    let kernel = Fake::new(blank());
    let block = publish_request(None, TARGET, false, Mode::SingleNodeWriter);
    do_publish(&kernel, &block).unwrap();
    let expanded = expand::expand(&kernel, &expand_request(TARGET, 0).unwrap()).unwrap();
    assert_eq!(expanded, Bytes(10 << 30));
    assert_eq!(kernel.state().grown, 0);
    let request = stats_request(VOLUME, TARGET).unwrap();
    let usage = stats::stats(&kernel, &request).unwrap();
    assert_eq!((usage.len(), usage[0].total), (1, 10 << 30));
}

fn stats_request(volume: &str, path: &str) -> Result<Stats, super::request::RequestError> {
    Stats::parse(&csi::NodeGetVolumeStatsRequest {
        volume_id: volume.to_owned(),
        volume_path: path.to_owned(),
        ..csi::NodeGetVolumeStatsRequest::default()
    })
}

#[test]
fn a_file_system_is_measured_in_bytes_and_inodes_and_a_path_without_it_is_not_found() {
    let kernel = Fake::new(blank());
    do_stage(&kernel, &stage_request("ext4", &[])).unwrap();
    let usage = stats::stats(&kernel, &stats_request(VOLUME, STAGING).unwrap()).unwrap();
    let numbers: Vec<_> = usage.iter().map(|u| (u.total, u.available, u.used)).collect();
    assert_eq!(numbers, [(100, 50, 40), (10, 7, 3)]);

    let other = stats_request("vol-0fffffffffffffff0", STAGING).unwrap();
    assert_eq!(stats::stats(&kernel, &other).unwrap_err().code(), Code::NotFound);
    for (volume, path) in [(VOLUME, "some/path"), ("pvc-1", "/k")] {
        assert_eq!(stats_request(volume, path).unwrap_err().code(), Code::NotFound);
    }
    assert_eq!(stats_request("", "/k").unwrap_err().code(), Code::InvalidArgument);
}
