//! IOPS above what every zone grants.

use csi_proto::csi;
use csi_sim::world::{Action, FaultKind, Settings as Pace, When, ZoneRecord};
use tokio::task::JoinSet;
use tonic::Code;

use crate::harness::{Bench, code, map, range, volume, zones};

/// A world whose second zone has the newest hardware.
fn bench() -> Bench {
    let bench = Bench::with(Pace::ec2(), 1);
    bench.sim.with(|world, _| {
        world.set_zone(ZoneRecord {
            name: "us-east-1b".to_owned(),
            id: String::new(),
            newest_hardware: true,
            exhausted: [].into(),
        });
    });
    bench
}

fn fast(name: &str, zone: &str, iops: &str) -> csi::CreateVolumeRequest {
    csi::CreateVolumeRequest {
        capacity_range: range(500, 0),
        parameters: map(&[("type", "gp3"), ("iops", iops)]),
        accessibility_requirements: zones(&[zone]),
        ..volume(name)
    }
}

async fn iops(bench: &Bench, request: csi::CreateVolumeRequest) -> Option<u32> {
    let made = bench.create(request).await.unwrap().volume_id;
    let found = bench.volumes().into_iter().find(|volume| volume.id.as_str() == made);
    found.unwrap().iops
}

#[tokio::test(start_paused = true)]
async fn a_wish_is_lowered_to_what_its_zone_grants_and_a_retry_finds_the_same_volume() {
    let bench = bench();
    assert_eq!(iops(&bench, fast("pvc-1", "us-east-1a", "50000")).await, Some(16_000));
    assert_eq!(iops(&bench, fast("pvc-2", "us-east-1b", "50000")).await, Some(50_000));
    assert_eq!(iops(&bench, fast("pvc-3", "us-east-1b", "90000")).await, Some(80_000));
    for bench in [bench.clone(), bench.another()] {
        assert_eq!(iops(&bench, fast("pvc-1", "us-east-1a", "50000")).await, Some(16_000));
        assert_eq!(bench.volumes().len(), 3);
        let other = bench.create(fast("pvc-2", "us-east-1b", "40000")).await;
        assert_eq!(code(other), Code::AlreadyExists);
    }
}

#[tokio::test(start_paused = true)]
async fn many_creations_at_once_make_one_dry_run_and_modest_ones_none() {
    let bench = bench();
    let mut calls = JoinSet::new();
    for n in 0..20 {
        let bench = bench.clone();
        calls.spawn(async move {
            bench.create(fast(&format!("pvc-{n}"), "us-east-1b", "20000")).await.unwrap();
        });
    }
    calls.join_all().await;
    assert_eq!(bench.calls(Action::CreateVolume), 21);
    bench.create(fast("modest", "us-east-1b", "16000")).await.unwrap();
    assert_eq!(bench.calls(Action::CreateVolume), 22);
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_that_tells_nothing_is_not_repeated_and_a_refusal_is_left_open() {
    let bench = bench();
    let silence = FaultKind::FailBefore { code: "Odd".to_owned(), message: "?".to_owned() };
    bench.fault(Action::CreateVolume, When::Next, silence);
    let status = bench.create(fast("pvc-1", "us-east-1a", "50000")).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("maximum is 16000"), "{}", status.message());
    assert_eq!(bench.calls(Action::CreateVolume), 2);
    assert_eq!(code(bench.create(fast("pvc-1", "us-east-1a", "50000")).await), Code::Unavailable);
    assert_eq!(bench.calls(Action::CreateVolume), 3);
    tokio::time::sleep(std::time::Duration::from_mins(11)).await;
    assert_eq!(iops(&bench, fast("pvc-1", "us-east-1a", "50000")).await, Some(16_000));
}

#[tokio::test(start_paused = true)]
async fn a_modification_is_lowered_too() {
    let bench = bench();
    let made = bench.create(fast("pvc-1", "us-east-1a", "3000")).await.unwrap().volume_id;
    bench.modify(&made, &[("iops", "50000")]).await.unwrap();
    assert_eq!(bench.volumes()[0].iops, Some(16_000));
    // It has what there is, so nothing is to be done.
    bench.modify(&made, &[("iops", "50000")]).await.unwrap();
    assert_eq!(bench.calls(Action::ModifyVolume), 1);
}
