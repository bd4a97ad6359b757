//! `CreateSnapshot`, `DeleteSnapshot`, `GetSnapshot`.

use std::time::Duration;

use csi_proto::csi;
use csi_proto::csi::controller_server::Controller;
use csi_sim::world::{Action, Settings as Pace};
use tokio::time::sleep;
use tonic::{Code, Request};

use crate::harness::{Bench, GIB, code};

#[tokio::test(start_paused = true)]
async fn a_snapshot_is_made_once_and_becomes_ready() {
    let bench = Bench::new();
    let id = bench.made("pvc-1").await;
    let first = bench.snapshot("snap-1", &id).await.unwrap();
    assert_eq!(first.source_volume_id, id);
    assert_eq!(first.size_bytes, 10 * GIB);
    assert!(first.creation_time.as_ref().unwrap().seconds > 1_700_000_000);
    sleep(Duration::from_mins(1)).await;
    let again = bench.snapshot("snap-1", &id).await.unwrap();
    assert_eq!(again, csi::Snapshot { ready_to_use: true, ..first });
    assert_eq!(bench.calls(Action::CreateSnapshot), 1);
}

#[tokio::test(start_paused = true)]
async fn a_name_belongs_to_one_volume() {
    let bench = Bench::new();
    let [one, two] = [bench.made("pvc-1").await, bench.made("pvc-2").await];
    bench.snapshot("snap-1", &one).await.unwrap();
    let status = bench.snapshot("snap-1", &two).await.unwrap_err();
    assert_eq!(status.code(), Code::AlreadyExists);
    assert!(status.message().contains(&one), "{}", status.message());
    assert_eq!(bench.snapshots(), 1);
}

#[tokio::test(start_paused = true)]
async fn unknown_volumes_and_missing_fields_are_told_apart() {
    let bench = Bench::new();
    assert_eq!(code(bench.snapshot("s", "vol-0123456789abcdef0").await), Code::NotFound);
    assert_eq!(code(bench.snapshot("s", "nonsense").await), Code::NotFound);
    assert_eq!(code(bench.snapshot("s", "").await), Code::InvalidArgument);
    assert_eq!(code(bench.snapshot("", "vol-0123456789abcdef0").await), Code::InvalidArgument);
}

#[tokio::test(start_paused = true)]
async fn of_two_snapshots_made_at_once_one_stays() {
    for seed in 0..20 {
        let bench = Bench::with(Pace::ec2(), seed);
        let id = bench.made("pvc-1").await;
        let other = bench.another();
        // Both have been there for a while.
        sleep(Duration::from_secs(20)).await;
        let (a, b) = tokio::join!(bench.snapshot("snap-1", &id), other.snapshot("snap-1", &id));
        // One of them may have to come again; what both then have is the same.
        sleep(Duration::from_secs(20)).await;
        let settled = bench.snapshot("snap-1", &id).await.unwrap().snapshot_id;
        for result in [a, b] {
            assert!(result.is_ok_and(|made| made.snapshot_id == settled), "seed {seed}");
        }
        assert_eq!(bench.snapshots(), 1, "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_process_that_just_started_finds_what_its_predecessor_made_at_the_last_moment() {
    for seed in 0..20 {
        let bench = Bench::with(Pace::ec2(), seed);
        let id = bench.made("pvc-1").await;
        sleep(Duration::from_secs(20)).await;
        let killed = tokio::time::timeout(Duration::from_millis(60), bench.snapshot("snap-1", &id));
        assert!(killed.await.is_err());
        bench.another().snapshot("snap-1", &id).await.unwrap();
        assert_eq!(bench.snapshots(), 1, "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn deleting_succeeds_also_for_what_does_not_exist() {
    let bench = Bench::new();
    let id = bench.made("pvc-1").await;
    let made = bench.snapshot("snap-1", &id).await.unwrap().snapshot_id;
    for id in [made.as_str(), made.as_str(), "snap-0123456789abcdef0", "nonsense"] {
        bench.delete_snapshot(id).await.unwrap();
    }
    assert_eq!(code(bench.delete_snapshot("").await), Code::InvalidArgument);
    sleep(Duration::from_mins(1)).await;
    assert_eq!(bench.snapshots(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_can_be_asked_for_by_id() {
    let bench = Bench::new();
    let id = bench.made("pvc-1").await;
    let made = bench.snapshot("snap-1", &id).await.unwrap();
    let get = |id: &str| {
        let message = csi::GetSnapshotRequest { snapshot_id: id.to_owned(), ..Default::default() };
        bench.controller.get_snapshot(Request::new(message))
    };
    let found = get(&made.snapshot_id).await.unwrap().into_inner().snapshot.unwrap();
    assert_eq!(found.snapshot_id, made.snapshot_id);
    bench.delete_snapshot(&made.snapshot_id).await.unwrap();
    assert_eq!(code(get(&made.snapshot_id).await), Code::NotFound);
    assert_eq!(code(get("nonsense").await), Code::NotFound);
    assert_eq!(code(get("").await), Code::InvalidArgument);
}
