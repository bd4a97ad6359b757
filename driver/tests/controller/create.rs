//! `CreateVolume` and `DeleteVolume`.

use std::time::Duration;

use csi_core::ebs::VolumeState;
use csi_proto::csi;
use csi_proto::csi::volume_content_source::{SnapshotSource, Type, VolumeSource};
use csi_sim::world::{Action, Settings as Pace, SpentToken};
use tokio::time::{Instant, sleep};
use tonic::Code;

use crate::harness::{Bench, GIB, NODE, code, map, range, volume, zones};

#[tokio::test(start_paused = true)]
async fn a_volume_is_made_as_asked_for_and_answered_from_ec2() {
    let bench = Bench::new();
    let mut request = volume("pvc-1");
    request.parameters = map(&[
        ("type", "gp3"),
        ("iops", "4000"),
        ("throughput", "400"),
        ("blockSize", "4096"),
        ("csi.storage.k8s.io/pvc/name", "data"),
    ]);
    let made = bench.create(request).await.unwrap();
    assert_eq!(made.capacity_bytes, 10 * GIB);
    assert_eq!(made.volume_context, map(&[("blocksize", "4096")]));
    let topology = map(&[("topology.kubernetes.io/zone", "us-east-1a")]);
    assert_eq!(made.accessible_topology, [csi::Topology { segments: topology }]);

    let [volume] = bench.volumes().try_into().unwrap();
    assert_eq!(volume.id.as_str(), made.volume_id);
    assert_eq!(volume.state, VolumeState::Available, "answered only when it can be used");
    assert_eq!((volume.iops, volume.throughput), (Some(4_000), Some(400)));
    assert_eq!(volume.tags["CSIVolumeName"], "pvc-1");
    assert_eq!(volume.tags["kubernetes.io/created-for/pvc/name"], "data");
    assert_eq!(bench.calls(Action::CreateVolume), 1);
}

#[tokio::test(start_paused = true)]
async fn without_a_size_and_a_zone_there_are_defaults() {
    let bench = Bench::new();
    let mut request = volume("pvc-1");
    request.capacity_range = None;
    request.accessibility_requirements = None;
    let made = bench.create(request.clone()).await.unwrap();
    assert_eq!(made.capacity_bytes, 100 * GIB);
    let again = bench.create(request).await.unwrap();
    assert_eq!(again, made);
}

#[tokio::test(start_paused = true)]
async fn wrong_wishes_are_answered_without_a_call() {
    let bench = Bench::new();
    let mut request = volume("pvc-1");
    request.capacity_range = range(4, 0);
    request.parameters = map(&[("iops", "4000")]);
    let status = bench.create(request.clone()).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().starts_with("iops: "), "{}", status.message());
    assert!(status.message().contains("8 GiB or more"), "{}", status.message());

    request.parameters = map(&[("type", "standard")]);
    request.capacity_range = range(2_000, 0);
    assert_eq!(code(bench.create(request.clone()).await), Code::OutOfRange);
    request.capacity_range = range(20, 10);
    assert_eq!(code(bench.create(request.clone()).await), Code::InvalidArgument);
    request.capacity_range = Some(csi::CapacityRange { required_bytes: 1, limit_bytes: 2 });
    assert_eq!(code(bench.create(request).await), Code::OutOfRange);
    assert_eq!(bench.calls(Action::CreateVolume), 0);
}

#[tokio::test(start_paused = true)]
async fn the_same_name_gives_the_same_volume_while_the_request_is_compatible() {
    let bench = Bench::new();
    let made = bench.create(volume("pvc-1")).await.unwrap();
    let mut other_tags = volume("pvc-1");
    other_tags.parameters = map(&[("tagSpecification_1", "team=a")]);
    assert_eq!(bench.create(other_tags).await.unwrap().volume_id, made.volume_id);
    let mut other_range = volume("pvc-1");
    other_range.capacity_range = range(5, 20);
    assert_eq!(bench.create(other_range).await.unwrap(), made);

    let mut larger = volume("pvc-1");
    larger.capacity_range = range(20, 0);
    for _ in 0..2 {
        let status = bench.create(larger.clone()).await.unwrap_err();
        assert_eq!(status.code(), Code::AlreadyExists, "{}", status.message());
        assert!(status.message().contains("capacity 10 GiB"), "{}", status.message());
    }
    assert_eq!(bench.volumes().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_full_zone_moves_the_volume_to_the_next_allowed_one() {
    let bench = Bench::new();
    full(&bench, "us-east-1a");
    let mut request = volume("pvc-1");
    request.accessibility_requirements = zones(&["us-east-1a", "us-east-1b"]);
    let made = bench.create(request.clone()).await.unwrap();
    let zone = &made.accessible_topology[0].segments["topology.kubernetes.io/zone"];
    assert_eq!(zone, "us-east-1b");
    assert_eq!(bench.create(request.clone()).await.unwrap(), made);
    assert_eq!(bench.volumes().len(), 1);

    full(&bench, "us-east-1b");
    request.name = "pvc-2".to_owned();
    assert_eq!(code(bench.create(request).await), Code::ResourceExhausted);
}

fn full(bench: &Bench, zone: &str) {
    bench.sim.with(|world, _| {
        let zones = world.zones();
        let mut zone = zones.into_iter().find(|found| found.name == zone).unwrap();
        zone.exhausted.insert("gp3".to_owned());
        world.set_zone(zone);
    });
}

#[tokio::test(start_paused = true)]
async fn at_the_quota_an_existing_volume_is_still_found() {
    let bench = Bench::new();
    let made = bench.create(volume("pvc-1")).await.unwrap();
    bench.sim.with(|world, _| world.settings_mut().volume_quota = 1);
    assert_eq!(bench.create(volume("pvc-1")).await.unwrap(), made);
    assert_eq!(code(bench.create(volume("pvc-2")).await), Code::ResourceExhausted);
    assert_eq!(bench.volumes().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_unusable_key_is_named_and_the_name_works_again_when_it_is_repaired() {
    for spent_token in [SpentToken::Mismatch, SpentToken::Replay] {
        let bench = Bench::with(Pace { spent_token, ..Pace::ec2() }, 3);
        bench.sim.with(|world, _| world.set_key_unusable("k1", true));
        let mut request = volume("pvc-1");
        request.parameters = map(&[("kmsKeyId", "k1")]);
        for _ in 0..3 {
            let status = bench.create(request.clone()).await.unwrap_err();
            assert_eq!(status.code(), Code::FailedPrecondition, "{}", status.message());
            assert!(status.message().contains("kmsKeyId k1"), "{}", status.message());
            sleep(Duration::from_mins(1)).await;
        }
        assert_eq!(bench.volumes(), [], "nothing is left");
        bench.sim.with(|world, _| world.set_key_unusable("k1", false));
        let made = bench.create(request.clone()).await.unwrap();
        assert_eq!(bench.another().create(request).await.unwrap(), made);
        assert_eq!(bench.volumes().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_deleted_volume_is_not_taken_for_alive() {
    for spent_token in [SpentToken::Mismatch, SpentToken::Replay] {
        let bench = Bench::with(Pace { spent_token, ..Pace::ec2() }, 5);
        let first = bench.made("pvc-1").await;
        bench.delete(&first).await.unwrap();
        let second = bench.made("pvc-1").await;
        assert_ne!(first, second);
        assert_eq!(bench.volumes().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_or_a_volume_can_be_the_source() {
    let bench = Bench::new();
    let source = bench.made("pvc-1").await;
    let snapshot = bench.snapshot("snap-1", &source).await.unwrap();
    assert!(!snapshot.ready_to_use);
    let mut restore = volume("pvc-2");
    restore.capacity_range = range(20, 0);
    restore.volume_content_source = Some(from_snapshot(&snapshot.snapshot_id));
    let restored = bench.create(restore.clone()).await.unwrap();
    assert_eq!(restored.content_source, restore.volume_content_source);
    assert_eq!(restored.capacity_bytes, 20 * GIB);
    assert_eq!(bench.create(restore.clone()).await.unwrap(), restored);

    let mut copy = volume("pvc-3");
    copy.volume_content_source = Some(from_volume(&source));
    let copied = bench.create(copy.clone()).await.unwrap();
    assert_eq!(copied.content_source, copy.volume_content_source);
    assert_eq!(bench.another().create(copy).await.unwrap(), copied);

    restore.name = "pvc-4".to_owned();
    restore.capacity_range = range(5, 0);
    assert_eq!(code(bench.create(restore).await), Code::OutOfRange);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_does_not_exist_is_not_found() {
    let bench = Bench::new();
    for source in [
        from_snapshot("snap-0123456789abcdef0"),
        from_snapshot("nonsense"),
        from_volume("vol-0123456789abcdef0"),
        from_volume("nonsense"),
    ] {
        let mut request = volume("pvc-1");
        request.volume_content_source = Some(source);
        assert_eq!(code(bench.create(request).await), Code::NotFound);
    }
}

fn from_snapshot(id: &str) -> csi::VolumeContentSource {
    let snapshot = SnapshotSource { snapshot_id: id.to_owned() };
    csi::VolumeContentSource { r#type: Some(Type::Snapshot(snapshot)) }
}

fn from_volume(id: &str) -> csi::VolumeContentSource {
    let volume = VolumeSource { volume_id: id.to_owned() };
    csi::VolumeContentSource { r#type: Some(Type::Volume(volume)) }
}

#[tokio::test(start_paused = true)]
async fn deleting_succeeds_for_what_does_not_exist_and_fails_for_what_is_attached() {
    let bench = Bench::new();
    bench.delete("vol-0123456789abcdef0").await.unwrap();
    bench.delete("nonsense").await.unwrap();
    assert_eq!(code(bench.delete("").await), Code::InvalidArgument);
    let id = bench.made("pvc-1").await;
    bench.publish(&id, NODE).await.unwrap();
    assert_eq!(code(bench.delete(&id).await), Code::FailedPrecondition);
    bench.unpublish(&id, NODE).await.unwrap();
    bench.delete(&id).await.unwrap();
    bench.delete(&id).await.unwrap();
    assert_eq!(bench.volumes(), []);
}

#[tokio::test(start_paused = true)]
async fn creating_takes_hardly_longer_than_ec2_does() {
    let bench = Bench::steady();
    bench.sim.with(|world, _| world.settings_mut().read_lag = csi_sim::world::Delay::Zero);
    let began = Instant::now();
    bench.made("pvc-1").await;
    assert!(began.elapsed() < Duration::from_millis(1_590), "{:?}", began.elapsed());
}
