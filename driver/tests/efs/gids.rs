//! Group ids: never one twice, not even by two controllers, and never more listings than needed.

use std::collections::BTreeSet;
use std::time::Duration;

use csi_sim::world::{Action, Delay, Settings as Pace};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tonic::{Code, Status};

use crate::harness::{Bench, code, volume, volume_of};

/// Creates volumes at once, each by the controller that its number decides; the results by name.
async fn burst(controllers: &[Bench], names: &[String]) -> Vec<Result<String, Status>> {
    let mut calls = JoinSet::new();
    for (n, name) in names.iter().enumerate() {
        let (bench, name) = (controllers[n % controllers.len()].clone(), name.clone());
        calls.spawn(async move {
            // As the provisioner does.
            for _ in 0..40 {
                match bench.create(volume(&name)).await {
                    Err(status) if matches!(status.code(), Code::Aborted | Code::Unavailable) => {
                        sleep(Duration::from_secs(1)).await;
                    }
                    result => return result.map(|volume| volume.volume_id),
                }
            }
            Err(Status::deadline_exceeded(name))
        });
    }
    calls.join_all().await
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("pvc-{n}")).collect()
}

/// All but 100 of the class's 1,001 numbers, and enough others that there are two pages.
fn crowd(bench: &Bench) {
    bench.occupy((1000..=2000).filter(|gid| gid % 10 != 3).take(901));
    bench.occupy(5000..5349);
    let there = bench.sim.with(|world, _| world.access_points().count());
    assert_eq!(there, 1_250);
}

#[tokio::test(start_paused = true)]
async fn the_last_hundred_gids_go_to_a_hundred_callers_and_the_next_is_refused() {
    let bench = Bench::new();
    crowd(&bench);
    sleep(Duration::from_secs(2)).await;
    let results = burst(std::slice::from_ref(&bench), &names(100)).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    let free: Vec<u32> = (1000..=2000).filter(|gid| gid % 10 == 3).collect();
    assert_eq!(bench.gids(), free);
    let status = bench.create(volume("pvc-next")).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    for part in ["1001 numbers 1000 to 2000", "fs-92107410"] {
        assert!(status.message().contains(part), "{}", status.message());
    }
    // A volume that exists is found all the same.
    bench.another().made("pvc-7").await;
    bench.made("pvc-8").await;
}

#[tokio::test(start_paused = true)]
async fn two_controllers_at_once_share_the_last_hundred_gids() {
    for seed in 0..5 {
        let bench = Bench::with(Pace::ec2(), seed);
        crowd(&bench);
        sleep(Duration::from_secs(2)).await;
        let results = burst(&[bench.clone(), bench.another()], &names(100)).await;
        let made = results.iter().filter(|result| result.is_ok()).count();
        let gids = bench.gids();
        let distinct: BTreeSet<u32> = gids.iter().copied().collect();
        assert_eq!(gids.len(), distinct.len(), "seed {seed}: {gids:?}");
        assert_eq!(gids.len(), made, "seed {seed}: nothing is left of what was refused");
        println!("seed {seed}: {made} of 100 made by two controllers");
        assert!(made >= 90, "seed {seed}: {made} of 100");
    }
}

#[tokio::test(start_paused = true)]
async fn two_controllers_that_start_at_the_same_number_never_share_it() {
    for lag in [0, 300, 2_000] {
        let pace = Pace { read_lag: Delay::UniformMs(0, lag), ..Pace::ec2() };
        let bench = Bench::with(pace, lag);
        // Only two numbers are free, so that both want the same.
        bench.occupy((1000..=2000).filter(|gid| *gid != 1500 && *gid != 1501));
        sleep(Duration::from_secs(3)).await;
        let results = burst(&[bench.clone(), bench.another()], &names(2)).await;
        let made = results.iter().filter(|result| result.is_ok()).count();
        let gids: BTreeSet<u32> = bench.gids().into_iter().collect();
        assert_eq!(gids.len(), bench.access_points().len(), "lag {lag}: {:?}", bench.gids());
        assert_eq!(gids.len(), made, "lag {lag}: {results:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_another_cluster_makes_is_seen() {
    let bench = Bench::new();
    bench.made("pvc-1").await;
    let taken = bench.gids()[0];
    bench.occupy((1000..=2000).filter(|gid| *gid != taken && *gid != 1777));
    sleep(Duration::from_secs(40)).await;
    bench.made("pvc-2").await;
    assert!(bench.gids().contains(&1777), "{:?}", bench.gids());
}

#[tokio::test(start_paused = true)]
async fn a_freed_gid_rests_before_it_is_used_again() {
    let bench = Bench::new();
    let two = [("gidRangeStart", "7"), ("gidRangeEnd", "8")];
    let first = bench.create(volume_of("pvc-1", &two)).await.unwrap().volume_id;
    bench.create(volume_of("pvc-2", &two)).await.unwrap();
    bench.delete(&first).await.unwrap();
    let status = bench.create(volume_of("pvc-3", &two)).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().contains("1 freed ones rest"), "{}", status.message());
    sleep(Duration::from_mins(5)).await;
    bench.create(volume_of("pvc-3", &two)).await.unwrap();
    assert_eq!(bench.gids(), [7, 8]);
}

#[tokio::test(start_paused = true)]
async fn a_range_of_another_class_does_not_matter() {
    let bench = Bench::new();
    let one = [("gidRangeStart", "7"), ("gidRangeEnd", "8")];
    bench.create(volume_of("pvc-1", &one)).await.unwrap();
    bench.create(volume_of("pvc-2", &one)).await.unwrap();
    assert_eq!(code(bench.create(volume_of("pvc-3", &one)).await), Code::ResourceExhausted);
    bench.made("pvc-4").await;
    bench.create(volume_of("pvc-5", &[("uid", "7")])).await.unwrap();
}

/// The provisioner works with 100 threads.
#[tokio::test(start_paused = true)]
async fn a_thousand_volumes_are_made_with_a_handful_of_listings() {
    let bench = Bench::with(Pace { read_lag: Delay::Zero, ..Pace::ec2() }, 1);
    let began = Instant::now();
    let mut workers = JoinSet::new();
    for worker in 0..100 {
        let bench = bench.clone();
        workers.spawn(async move {
            for n in 0..10 {
                bench.made(&format!("pvc-{worker}-{n}")).await;
            }
        });
    }
    workers.join_all().await;
    let took = began.elapsed();
    let gids = bench.gids();
    assert_eq!(gids.len(), 1_000);
    assert_eq!(gids.iter().collect::<BTreeSet<_>>().len(), 1_000);
    let (creates, lists) =
        (bench.calls(Action::CreateAccessPoint), bench.calls(Action::DescribeAccessPoints));
    println!(
        "1,000 creates in {took:?}: {creates} CreateAccessPoint, {lists} DescribeAccessPoints"
    );
    assert_eq!(creates, 1_000);
    assert!(lists <= 30, "{lists} listings");
    assert!(took <= Duration::from_secs(1), "{took:?}");
}
