//! What bursts cost in calls and time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use csi_core::facts::ATTACH_MEDIAN;
use csi_proto::csi;
use csi_proto::csi::controller_server::Controller;
use csi_sim::world::{Action, Delay, InstanceSeed, Settings as Pace};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tonic::{Code, Request};

use crate::harness::{Bench, volume};

/// As many callers at once as the sidecars have workers.
const WORKERS: usize = 100;

/// Runs `call` for 0..`n` with the sidecars' workers; the times of the calls, sorted.
async fn burst<F, Fut>(n: usize, call: F) -> Vec<Duration>
where
    F: Fn(usize) -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    let workers = Arc::new(Semaphore::new(WORKERS));
    let mut calls = JoinSet::new();
    for n in 0..n {
        let (workers, call) = (Arc::clone(&workers), call(n));
        calls.spawn(async move {
            let _worker = workers.acquire_owned().await.unwrap();
            let began = Instant::now();
            call.await;
            began.elapsed()
        });
    }
    let mut times = calls.join_all().await;
    times.sort();
    times
}

fn describes(bench: &Bench) -> u64 {
    bench.calls(Action::DescribeVolumes) + bench.calls(Action::DescribeInstances)
}

fn nodes(bench: &Bench) -> Vec<String> {
    bench.sim.with(|world, now| {
        let seed = || InstanceSeed {
            max_attachments: Some(64),
            root: false,
            ..InstanceSeed::new("m5.large", "us-east-1a")
        };
        (0..8).map(|_| world.set_instance(&seed(), now).unwrap().to_string()).collect()
    })
}

async fn attach_and_detach(bench: &Bench) -> (Vec<Duration>, Vec<Duration>) {
    let ids: Vec<String> = {
        let made: Vec<_> = (0..200).map(|n| (bench.clone(), format!("pvc-{n}"))).collect();
        let mut tasks = JoinSet::new();
        for (bench, name) in made {
            tasks.spawn(async move { bench.made(&name).await });
        }
        tasks.join_all().await
    };
    let nodes = nodes(bench);
    bench.sim.with(|world, _| world.reset_history());
    let attach = burst(200, |n| {
        let (bench, id, node) = (bench.clone(), ids[n].clone(), nodes[n % 8].clone());
        async move { bench.publish(&id, &node).await.map(|_| ()).unwrap() }
    })
    .await;
    assert_eq!(bench.calls(Action::AttachVolume), 200);
    let asked = describes(bench);
    println!("200 attaches: {asked} describes");
    assert!(asked <= 25, "200 attaches cost {asked} describes");

    bench.sim.with(|world, _| world.reset_history());
    let detach = burst(200, |n| {
        let (bench, id, node) = (bench.clone(), ids[n].clone(), nodes[n % 8].clone());
        async move { bench.unpublish(&id, &node).await.unwrap() }
    })
    .await;
    assert_eq!(bench.calls(Action::DescribeInstances), 0);
    let asked = describes(bench);
    println!("200 detaches: {asked} describes");
    assert!(asked <= 25, "200 detaches cost {asked} describes");
    (attach, detach)
}

#[tokio::test(start_paused = true)]
async fn two_hundred_attaches_and_detaches_of_the_same_length() {
    let bench = Bench::steady();
    bench.sim.with(|world, _| world.settings_mut().read_lag = Delay::Zero);
    let (attach, detach) = attach_and_detach(&bench).await;
    for times in [attach, detach] {
        let (median, p99) = (times[100], times[197]);
        println!("median {median:?}, p99 {p99:?}");
        assert!(median <= ATTACH_MEDIAN + Duration::from_millis(150), "median {median:?}");
        assert!(p99 <= ATTACH_MEDIAN + Duration::from_millis(400), "p99 {p99:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn two_hundred_attaches_and_detaches_spread_as_ec2s_are() {
    let bench = Bench::with(Pace { read_lag: Delay::Zero, ..Pace::ec2() }, 7);
    let (attach, detach) = attach_and_detach(&bench).await;
    for times in [attach, detach] {
        // The 95th percentile of the delays is twice their median; of 200 samples it varies.
        let (median, p95) = (times[100], times[190]);
        println!("median {median:?}, p95 {p95:?}");
        assert!(median <= ATTACH_MEDIAN + Duration::from_millis(200), "median {median:?}");
        assert!(p95 <= ATTACH_MEDIAN.mul_f64(2.0) + Duration::from_millis(800), "p95 {p95:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_creates_take_ten_waves_and_one_call_each() {
    let bench = Bench::steady();
    bench.sim.with(|world, _| world.settings_mut().read_lag = Delay::Zero);
    let began = Instant::now();
    burst(1_000, |n| {
        let bench = bench.clone();
        async move { bench.create(volume(&format!("pvc-{n}"))).await.map(|_| ()).unwrap() }
    })
    .await;
    let took = began.elapsed();
    assert!(took <= Duration::from_secs(15).mul_f64(1.06), "{took:?}");
    assert_eq!(bench.calls(Action::CreateVolume), 1_000);
    let asked = describes(&bench);
    println!("{took:?}, {asked} describes");
    assert!(asked <= 20 * took.as_secs(), "{asked} describes in {took:?}");
}

#[tokio::test(start_paused = true)]
async fn one_malformed_and_one_deleted_id_among_two_hundred_fail_alone_and_cost_nothing() {
    let bench = Bench::steady();
    let mut made = JoinSet::new();
    for n in 0..199 {
        let bench = bench.clone();
        made.spawn(async move { bench.made(&format!("pvc-{n}")).await });
    }
    let mut ids = made.join_all().await;
    ids.push("vol-xyz".to_owned());
    let deleted = ids[57].clone();
    bench.delete(&deleted).await.unwrap();
    tokio::time::sleep(Duration::from_mins(1)).await;
    // Another process, which does not know that it deleted the volume.
    let bench = bench.another();
    bench.sim.with(|world, _| world.reset_history());
    let mut asked = JoinSet::new();
    for id in ids {
        let bench = bench.clone();
        asked.spawn(async move {
            let message = csi::ControllerGetVolumeRequest { volume_id: id.clone() };
            (id, bench.controller.controller_get_volume(Request::new(message)).await)
        });
    }
    let answers = asked.join_all().await;
    let failed = answers.iter().filter_map(|(id, answer)| {
        answer.as_ref().err().map(|status| (id.as_str(), status.code()))
    });
    let failed: BTreeMap<_, _> = failed.collect();
    let expected = [(deleted.as_str(), Code::NotFound), ("vol-xyz", Code::NotFound)];
    assert_eq!(failed, BTreeMap::from(expected));
    assert_eq!(answers.len() - failed.len(), 198);
    let calls = bench.calls(Action::DescribeVolumes);
    println!("200 pending describes, two of them bad: 198 answered, {calls} call");
    assert_eq!(calls, 1);
}
