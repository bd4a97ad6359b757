//! How late attachments and detachments are seen, and at what cost, for the spread of EC2's times.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use csi_sim::world::{Action, Delay, InstanceSeed, Settings as Pace};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::harness::{Bench, volume_id};

const VOLUMES: usize = 200;
/// As many callers at once as the attacher has workers.
const WORKERS: usize = 100;
/// `DescribeVolumes` and `DescribeInstances` for a burst.
const MOST_LOOKS: u64 = 25;

/// What a burst took: the callers' times and EC2's own, each sorted.
struct Taken {
    calls: Vec<Duration>,
    limit: Vec<Duration>,
}

impl Taken {
    /// By how much a percentile of the calls is above EC2's own.
    fn behind(&self, percent: usize) -> Duration {
        let rank = |n: usize| (n * percent).div_ceil(100).saturating_sub(1);
        let at = |times: &[Duration]| times[rank(times.len())];
        at(&self.calls).saturating_sub(at(&self.limit))
    }
}

/// Volumes and where they go.
async fn places(bench: &Bench) -> Vec<(String, String)> {
    let mut made = JoinSet::new();
    for n in 0..VOLUMES {
        let bench = bench.clone();
        made.spawn(async move { bench.made(&format!("pvc-{n}")).await });
    }
    let nodes: Vec<String> = bench.sim.with(|world, now| {
        let seed = || InstanceSeed {
            max_attachments: Some(64),
            root: false,
            ..InstanceSeed::new("m5.large", "us-east-1a")
        };
        (0..8).map(|_| world.set_instance(&seed(), now).unwrap().to_string()).collect()
    });
    let ids = made.join_all().await.into_iter().enumerate();
    ids.map(|(n, id)| (id, nodes[n % nodes.len()].clone())).collect()
}

/// Publishes or unpublishes all, while the world is watched for when each is done in truth.
async fn burst(bench: &Bench, places: &[(String, String)], attach: bool) -> Taken {
    bench.sim.with(|world, _| world.reset_history());
    let watch = tokio::spawn(watch(bench.clone(), places.to_vec(), attach));
    let workers = Arc::new(Semaphore::new(WORKERS));
    let mut calls = JoinSet::new();
    for (id, node) in places.iter().cloned() {
        let (bench, workers) = (bench.clone(), Arc::clone(&workers));
        calls.spawn(async move {
            let _worker = workers.acquire_owned().await.unwrap();
            let began = Instant::now();
            if attach {
                bench.publish(&id, &node).await.unwrap();
            } else {
                bench.unpublish(&id, &node).await.unwrap();
            }
            (id, began, began.elapsed())
        });
    }
    let done = calls.join_all().await;
    let truth = watch.await.unwrap();
    let mut limit: Vec<_> = done.iter().map(|(id, began, _took)| truth[id] - *began).collect();
    let mut calls: Vec<_> = done.into_iter().map(|(_id, _began, took)| took).collect();
    limit.sort();
    calls.sort();
    Taken { calls, limit }
}

async fn watch(
    bench: Bench,
    places: Vec<(String, String)>,
    attach: bool,
) -> HashMap<String, Instant> {
    let mut open: Vec<_> = places.iter().map(|(id, _node)| volume_id(id)).collect();
    let mut seen = HashMap::new();
    while !open.is_empty() {
        sleep(Duration::from_millis(5)).await;
        bench.sim.with(|world, now| {
            world.advance(now);
            open.retain(|id| {
                let attachments = &world.volume(id).unwrap().volume.attachments;
                let attached = |a: &csi_core::ebs::Attachment| {
                    a.state == csi_core::ebs::AttachmentState::Attached
                };
                let done =
                    if attach { attachments.iter().any(attached) } else { attachments.is_empty() };
                if done {
                    seen.insert(id.to_string(), Instant::now());
                }
                !done
            });
        });
    }
    seen
}

#[tokio::test(start_paused = true)]
async fn attachments_are_seen_soon_whatever_their_times_and_with_few_looks() {
    for seed in 1..=5 {
        let bench = Bench::with(Pace { read_lag: Delay::Zero, ..Pace::ec2() }, seed);
        let places = places(&bench).await;
        for attach in [true, false] {
            let taken = burst(&bench, &places, attach).await;
            let looks =
                bench.calls(Action::DescribeVolumes) + bench.calls(Action::DescribeInstances);
            let (median, p99) = (taken.behind(50), taken.behind(99));
            println!("seed {seed}, attach {attach}: {looks} looks, +{median:?}, p99 +{p99:?}");
            assert!(looks <= MOST_LOOKS, "seed {seed}: {looks} looks");
            assert!(median <= Duration::from_millis(120), "seed {seed}: median +{median:?}");
            assert!(p99 <= Duration::from_millis(400), "seed {seed}: p99 +{p99:?}");
        }
    }
}
