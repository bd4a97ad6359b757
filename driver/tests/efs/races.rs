//! Many callers at once, callers who give up, controllers that die.

use std::collections::BTreeSet;
use std::time::Duration;

use csi_sim::world::{Action, FaultKind, Settings as Pace, When};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tonic::Code;

use crate::harness::{Bench, volume};

#[tokio::test(start_paused = true)]
async fn thirty_two_creates_of_one_name_make_one_access_point() {
    for seed in 0..10 {
        let bench = Bench::with(Pace::ec2(), seed);
        bench.fault(Action::CreateAccessPoint, When::Every(2), FaultKind::LoseReply);
        bench.fault(Action::DescribeAccessPoints, When::Every(3), FaultKind::LoseCall);
        let mut callers = JoinSet::new();
        for n in 0..32 {
            let bench = if n % 4 == 0 { bench.another() } else { bench.clone() };
            callers.spawn(async move {
                if n % 2 == 0 {
                    let call = bench.create(volume("pvc-1"));
                    let _abandoned = timeout(Duration::from_millis(20), call).await;
                }
                for _ in 0..200 {
                    match bench.create(volume("pvc-1")).await {
                        Ok(made) => return Some(made.volume_id),
                        Err(status) => {
                            let passing = [Code::Aborted, Code::Unavailable];
                            assert!(passing.contains(&status.code()), "{status:?}");
                        }
                    }
                    sleep(Duration::from_millis(400)).await;
                }
                None
            });
        }
        let got: BTreeSet<_> = callers.join_all().await.into_iter().collect();
        assert_eq!(got.len(), 1, "seed {seed}: {got:?}");
        assert!(!got.contains(&None), "seed {seed}: a caller got no answer");
        assert_eq!(bench.access_points().len(), 1, "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn work_goes_on_without_its_caller_and_a_drain_waits_for_it() {
    let bench = Bench::new();
    let abandoned = timeout(Duration::from_millis(5), bench.create(volume("pvc-1")));
    assert!(abandoned.await.is_err());
    assert_eq!(bench.controller.operations(), 1);
    let second = bench.create(volume("pvc-1")).await.unwrap_err();
    assert_eq!(second.code(), Code::Aborted, "the claim is held");
    bench.controller.drain().await;
    assert_eq!(bench.access_points().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_successor_finds_what_a_killed_controller_made() {
    for millis in [1, 16, 31, 46, 61, 100] {
        let bench = Bench::new();
        let old = bench.another();
        let cut = timeout(Duration::from_millis(millis), old.create(volume("pvc-1"))).await;
        bench.made("pvc-1").await;
        assert_eq!(bench.access_points().len(), 1, "{millis} ms: {cut:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn creations_and_deletions_of_one_name_in_turn_never_leave_two() {
    let bench = Bench::new();
    for _ in 0..10 {
        let id = bench.made("pvc-1").await;
        assert_eq!(bench.access_points().len(), 1);
        bench.delete(&id).await.unwrap();
        assert_eq!(bench.access_points().len(), 0);
    }
}
