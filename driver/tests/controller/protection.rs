//! Fast restore and locks of snapshots.

use csi_proto::csi;
use csi_sim::world::{Action, FaultKind, SnapshotRecord, When};
use tonic::{Code, Status};

use crate::harness::{Bench, code};

const CLASS: [(&str, &str); 3] = [
    ("fastSnapshotRestoreAvailabilityZones", "us-east-1a, us-east-1b"),
    ("lockMode", "governance"),
    ("lockDuration", "7"),
];

async fn snapshot(
    bench: &Bench,
    volume: &str,
    class: &[(&str, &str)],
) -> Result<csi::Snapshot, Status> {
    bench.snapshot_of_class("snap-1", volume, class).await
}

/// The one snapshot as it truly is.
fn only(bench: &Bench) -> SnapshotRecord {
    let [record]: [SnapshotRecord; 1] = bench
        .sim
        .with(|world, _| world.snapshots().cloned().collect::<Vec<_>>().try_into().unwrap());
    record
}

fn is_whole(record: &SnapshotRecord) -> bool {
    record.fast_restore.len() == 2 && record.lock.is_some()
}

fn failing(code: &str) -> FaultKind {
    FaultKind::FailBefore { code: code.to_owned(), message: String::new() }
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_is_made_fast_and_locked_once_and_cannot_be_deleted() {
    let bench = Bench::new();
    let volume = bench.made("pvc-1").await;
    let made = snapshot(&bench, &volume, &CLASS).await.unwrap();
    assert!(is_whole(&only(&bench)));
    let again = snapshot(&bench, &volume, &CLASS).await.unwrap();
    assert_eq!(again.snapshot_id, made.snapshot_id);
    for action in [Action::CreateSnapshot, Action::EnableFastSnapshotRestores, Action::LockSnapshot]
    {
        assert_eq!(bench.calls(action), 1, "{}", action.name());
    }
    assert_eq!(code(bench.delete_snapshot(&made.snapshot_id).await), Code::FailedPrecondition);
    assert_eq!(bench.snapshots(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_a_try_leaves_undone_the_next_one_does_also_in_another_process() {
    for action in [Action::EnableFastSnapshotRestores, Action::LockSnapshot] {
        let bench = Bench::new();
        let volume = bench.made("pvc-1").await;
        bench.fault(action, When::Times(4), failing("InternalError"));
        assert_eq!(code(snapshot(&bench, &volume, &CLASS).await), Code::Aborted);
        let left = only(&bench);
        assert!(!is_whole(&left));
        let successor = bench.another();
        let made = snapshot(&successor, &volume, &CLASS).await.unwrap();
        assert_eq!(made.snapshot_id, left.snapshot.id.to_string());
        assert!(is_whole(&only(&bench)), "{}", action.name());
    }
}

#[tokio::test(start_paused = true)]
async fn a_zone_that_there_is_not_is_refused_before_anything_is_made() {
    let bench = Bench::new();
    let volume = bench.made("pvc-1").await;
    let class = [("fastSnapshotRestoreAvailabilityZones", "us-east-1a,us-west-2a")];
    let status = snapshot(&bench, &volume, &class).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("us-west-2a is no zone"), "{}", status.message());
    assert_eq!(bench.calls(Action::CreateSnapshot), 0);

    // If the zones cannot be listed, EC2 judges them, and a refusal leaves nothing.
    bench.fault(Action::DescribeAvailabilityZones, When::Next, failing("UnauthorizedOperation"));
    assert_eq!(code(snapshot(&bench, &volume, &class).await), Code::InvalidArgument);
    tokio::time::sleep(std::time::Duration::from_mins(1)).await;
    assert_eq!((bench.calls(Action::CreateSnapshot), bench.snapshots()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_leaves_nothing_of_this_call_and_keeps_what_was_there_before() {
    let bench = Bench::new();
    let volume = bench.made("pvc-1").await;
    bench.fault(Action::LockSnapshot, When::Next, failing("UnauthorizedOperation"));
    assert_eq!(code(snapshot(&bench, &volume, &CLASS).await), Code::PermissionDenied);
    tokio::time::sleep(std::time::Duration::from_mins(1)).await;
    assert_eq!(bench.snapshots(), 0);

    let made = snapshot(&bench, &volume, &[]).await.unwrap();
    bench.fault(Action::LockSnapshot, When::Next, failing("UnauthorizedOperation"));
    assert_eq!(code(snapshot(&bench, &volume, &CLASS).await), Code::Aborted);
    assert_eq!(only(&bench).snapshot.id.to_string(), made.snapshot_id);
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_cannot_be_changed_any_more_is_as_wanted() {
    let bench = Bench::new();
    let volume = bench.made("pvc-1").await;
    snapshot(&bench, &volume, &CLASS).await.unwrap();
    let successor = bench.another();
    bench.fault(Action::LockSnapshot, When::Next, failing("SnapshotLocked"));
    snapshot(&successor, &volume, &CLASS).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn one_lost_reply_is_resolved_inside_the_call() {
    for action in [Action::EnableFastSnapshotRestores, Action::LockSnapshot] {
        let bench = Bench::new();
        let volume = bench.made("pvc-1").await;
        bench.fault(action, When::Next, FaultKind::LoseReply);
        snapshot(&bench, &volume, &CLASS).await.unwrap();
        assert!(is_whole(&only(&bench)));
        assert_eq!(bench.calls(action), 2);
    }
}
