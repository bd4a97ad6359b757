//! Each AWS action with one transient failure, one lost call, one lost reply and one failure after
//! the effect: the call of the CO succeeds all the same, and the world holds what it promised.

use std::time::Duration;

use csi_proto::csi;
use csi_proto::csi::controller_server::Controller;
use csi_sim::world::{Action, FaultKind, Settings as Pace, When};
use tokio::time::sleep;
use tonic::{Code, Request};

use crate::harness::{Bench, NODE, code, map, volume};

fn faults() -> Vec<FaultKind> {
    let unavailable = |after| {
        let (code, message) = ("InternalError".to_owned(), String::new());
        if after {
            FaultKind::FailAfter { code, message }
        } else {
            FaultKind::FailBefore { code, message }
        }
    };
    vec![
        FaultKind::Throttle,
        FaultKind::LoseCall,
        FaultKind::LoseReply,
        unavailable(false),
        unavailable(true),
    ]
}

/// A volume's whole life, with every action of EC2 that the driver uses.
async fn life(bench: &Bench) {
    let mut request = volume("pvc-1");
    request.accessibility_requirements = None;
    let made = bench.create(request).await.unwrap().volume_id;
    let context = bench.publish(&made, NODE).await.unwrap();
    assert_eq!(context["devicePath"], bench.volumes()[0].attachments[0].device);
    bench.expand(&made, 20).await.unwrap();
    let fast = [("fastSnapshotRestoreAvailabilityZones", "us-east-1b")];
    let snapshot = bench.snapshot_of_class("snap-1", &made, &fast).await.unwrap().snapshot_id;
    assert_eq!(bench.snapshots(), 1);
    sleep(Duration::from_mins(10)).await;
    bench.modify(&made, &[("iops", "4000"), ("tagSpecification", "a=b")]).await.unwrap();
    let [volume] = bench.volumes().try_into().unwrap();
    assert_eq!((volume.size.0, volume.iops), (20, Some(4_000)));
    assert_eq!(volume.tags["a"], "b");
    sleep(Duration::from_secs(2)).await;
    bench.modify(&made, &[("tagDeletion", "a")]).await.unwrap();

    let mut copy = crate::harness::volume("pvc-2");
    copy.capacity_range = crate::harness::range(20, 0);
    copy.volume_content_source = Some(csi::VolumeContentSource {
        r#type: Some(csi::volume_content_source::Type::Volume(
            csi::volume_content_source::VolumeSource { volume_id: made.clone() },
        )),
    });
    let copied = bench.create(copy).await.unwrap().volume_id;
    let list = csi::ListVolumesRequest::default();
    bench.controller.list_volumes(Request::new(list)).await.unwrap();
    let list = csi::ListSnapshotsRequest::default();
    bench.controller.list_snapshots(Request::new(list)).await.unwrap();

    bench.delete_snapshot(&snapshot).await.unwrap();
    bench.unpublish(&made, NODE).await.unwrap();
    bench.delete(&made).await.unwrap();
    bench.delete(&copied).await.unwrap();
    sleep(Duration::from_mins(1)).await;
    assert_eq!(bench.volumes(), []);
    assert_eq!(bench.snapshots(), 0);
}

#[tokio::test(start_paused = true)]
async fn one_fault_per_action_is_resolved_inside_the_call() {
    let actions = [
        Action::CreateVolume,
        Action::CopyVolumes,
        Action::DeleteVolume,
        Action::AttachVolume,
        Action::DetachVolume,
        Action::ModifyVolume,
        Action::CreateSnapshot,
        Action::DeleteSnapshot,
        Action::EnableFastSnapshotRestores,
        Action::CreateTags,
        Action::DeleteTags,
        Action::DescribeVolumes,
        Action::DescribeSnapshots,
        Action::DescribeInstances,
        Action::DescribeVolumesModifications,
        Action::DescribeAvailabilityZones,
    ];
    for action in actions {
        for fault in faults() {
            let bench = Bench::with(Pace::ec2(), 11);
            bench.fault(action, When::Next, fault.clone());
            life(&bench).await;
            let struck = bench.sim.with(|world, _| world.faults()[0].struck);
            assert_eq!(struck, 1, "{action:?} {fault:?} never struck");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_action_may_fail_at_once() {
    let bench = Bench::new();
    for action in Action::ALL.iter().copied() {
        bench.fault(action, When::Next, FaultKind::LoseReply);
        bench.fault(action, When::Nth(3), FaultKind::Throttle);
    }
    life(&bench).await;
}

#[tokio::test(start_paused = true)]
async fn an_outage_after_the_creating_call_is_aborted_and_the_next_try_finds_the_volume() {
    let bench = Bench::new();
    bench.fault(Action::CreateVolume, When::Times(4), FaultKind::LoseReply);
    let status = bench.create(volume("pvc-1")).await.unwrap_err();
    assert_eq!(status.code(), Code::Aborted);
    assert!(status.message().contains("pvc-1"), "{}", status.message());
    assert_eq!(bench.volumes().len(), 1);
    bench.made("pvc-1").await;
    assert_eq!(bench.volumes().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn refusals_that_did_nothing_are_final_and_say_what_to_do() {
    let cases = [
        ("UnauthorizedOperation", Code::PermissionDenied, "grant ec2:CreateVolume"),
        ("InvalidParameterValue", Code::InvalidArgument, "InvalidParameterValue"),
        ("VolumeLimitExceeded", Code::ResourceExhausted, "VolumeLimitExceeded"),
        ("ExpiredToken", Code::Unauthenticated, "role"),
    ];
    for (aws, want, text) in cases {
        let bench = Bench::new();
        let fault = FaultKind::FailBefore { code: aws.to_owned(), message: "no".to_owned() };
        bench.fault(Action::CreateVolume, When::Next, fault);
        let status = bench.create(volume("pvc-1")).await.unwrap_err();
        assert_eq!(status.code(), want, "{}", status.message());
        assert!(status.message().contains(text), "{}", status.message());
        assert!(status.message().contains("request id"), "{}", status.message());
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_after_a_lost_reply_is_not_final() {
    let bench = Bench::new();
    bench.fault(Action::CreateVolume, When::Next, FaultKind::LoseReply);
    let denied =
        FaultKind::FailBefore { code: "UnauthorizedOperation".to_owned(), message: String::new() };
    bench.fault(Action::CreateVolume, When::Nth(2), denied);
    assert_eq!(code(bench.create(volume("pvc-1")).await), Code::Aborted);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_code_is_never_final_for_a_creation() {
    let bench = Bench::new();
    let fault = FaultKind::FailAfter { code: "Surprise".to_owned(), message: String::new() };
    bench.fault(Action::CreateVolume, When::Next, fault.clone());
    assert_eq!(code(bench.create(volume("pvc-1")).await), Code::Aborted);
    let id = bench.made("pvc-1").await;
    bench.fault(Action::CreateSnapshot, When::Next, fault);
    // The snapshot is looked for at once, and found.
    bench.snapshot("snap-1", &id).await.unwrap();
    assert_eq!(bench.snapshots(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_hanging_call_ends_with_the_operations_bound_and_releases_the_name() {
    let bench = Bench::new();
    bench.fault(Action::CreateVolume, When::Next, FaultKind::HangAfter);
    let mut request = volume("pvc-1");
    request.parameters = map(&[("type", "gp3")]);
    assert_eq!(code(bench.create(request.clone()).await), Code::Aborted);
    bench.create(request).await.unwrap();
    assert_eq!(bench.volumes().len(), 1);
}
