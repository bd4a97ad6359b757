//! `ControllerExpandVolume`, `ControllerModifyVolume` and the older modification service.

use std::time::Duration;

use csi_core::GiB;
use csi_proto::csi::controller_server::Controller;
use csi_proto::modify::ModifyVolumePropertiesRequest;
use csi_proto::modify::modify_server::Modify;
use csi_sim::world::{Action, FaultKind, Trouble, When};
use tokio::time::sleep;
use tonic::{Code, Request};

use crate::harness::{Bench, GIB, NODE, code, map, publish, settings, volume_id};

const ABSENT: &str = "vol-0123456789abcdef0";

#[tokio::test(start_paused = true)]
async fn expanding_answers_when_the_size_may_be_used() {
    let bench = Bench::new();
    let id = bench.made("pvc-1").await;
    bench.publish(&id, NODE).await.unwrap();
    let answer = bench.expand(&id, 20).await.unwrap();
    assert_eq!(answer.capacity_bytes, 20 * GIB);
    assert!(answer.node_expansion_required);
    assert_eq!(bench.volumes()[0].size, GiB(20));
}

#[tokio::test(start_paused = true)]
async fn a_size_that_is_there_already_costs_no_modification() {
    let bench = Bench::new();
    let id = bench.made("pvc-1").await;
    for gib in [5, 10] {
        assert_eq!(bench.expand(&id, gib).await.unwrap().capacity_bytes, 10 * GIB);
    }
    assert_eq!(bench.calls(Action::ModifyVolume), 0);
}

#[tokio::test(start_paused = true)]
async fn expanding_what_cannot_be_expanded_says_why() {
    let bench = Bench::new();
    let id = bench.made("pvc-1").await;
    assert_eq!(code(bench.expand(ABSENT, 20).await), Code::NotFound);
    assert_eq!(code(bench.expand("nonsense", 20).await), Code::NotFound);
    assert_eq!(code(bench.expand("", 20).await), Code::InvalidArgument);
    assert_eq!(code(bench.expand(&id, 70_000).await), Code::OutOfRange);
    let mut shrink = csi_proto::csi::ControllerExpandVolumeRequest {
        volume_id: id,
        capacity_range: crate::harness::range(0, 5),
        ..Default::default()
    };
    let expand = |message| bench.controller.controller_expand_volume(Request::new(message));
    assert_eq!(code(expand(shrink.clone()).await), Code::OutOfRange);
    shrink.capacity_range = None;
    assert_eq!(code(expand(shrink).await), Code::InvalidArgument);
}

#[tokio::test(start_paused = true)]
async fn a_block_volume_needs_nothing_from_the_node() {
    use csi_proto::csi::volume_capability::{AccessType, BlockVolume};
    let bench = Bench::new();
    let id = bench.made("pvc-1").await;
    let mut capability = publish(&id, NODE).volume_capability.unwrap();
    capability.access_type = Some(AccessType::Block(BlockVolume {}));
    let message = csi_proto::csi::ControllerExpandVolumeRequest {
        volume_id: id,
        capacity_range: crate::harness::range(20, 0),
        volume_capability: Some(capability),
        ..Default::default()
    };
    let reply = bench.controller.controller_expand_volume(Request::new(message)).await.unwrap();
    assert!(!reply.into_inner().node_expansion_required);
}

#[tokio::test(start_paused = true)]
async fn modifying_changes_properties_and_tags_once() {
    let bench = Bench::new();
    let id = bench.made("pvc-1").await;
    let wishes = [("iops", "6000"), ("throughput", "300"), ("tagSpecification_1", "tier=hot")];
    for _ in 0..2 {
        // 6,000 IOPS need 12 GiB, so they are lowered to what 10 GiB grant.
        bench.modify(&id, &wishes).await.unwrap();
    }
    let [volume] = bench.volumes().try_into().unwrap();
    assert_eq!((volume.iops, volume.throughput), (Some(5_000), Some(300)));
    assert_eq!(volume.tags["tier"], "hot");
    assert_eq!(bench.calls(Action::ModifyVolume), 1);
    sleep(Duration::from_secs(2)).await;
    bench.modify(&id, &[("tagDeletion_1", "tier")]).await.unwrap();
    assert!(!bench.volumes()[0].tags.contains_key("tier"));
    assert_eq!(bench.calls(Action::ModifyVolume), 1, "tags are not a modification");
}

#[tokio::test(start_paused = true)]
async fn modifying_what_cannot_be_modified_says_why() {
    let bench = Bench::new();
    let id = bench.made("pvc-1").await;
    assert_eq!(code(bench.modify(ABSENT, &[]).await), Code::NotFound);
    assert_eq!(code(bench.modify("nonsense", &[]).await), Code::NotFound);
    assert_eq!(code(bench.modify("", &[]).await), Code::InvalidArgument);
    assert_eq!(code(bench.modify(&id, &[("colour", "red")]).await), Code::InvalidArgument);
    let status = bench.modify(&id, &[("throughput", "1000")]).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().starts_with("throughput: "), "{}", status.message());
    bench.modify(&id, &[]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_modification_too_soon_is_unavailable_with_the_reason() {
    let bench = Bench::new();
    let id = bench.made("pvc-1").await;
    bench.expand(&id, 20).await.unwrap();
    let status = bench.expand(&id, 30).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{}", status.message());
    assert!(status.message().contains("not completed"), "{}", status.message());

    for gib in [30, 40, 50] {
        sleep(Duration::from_mins(5)).await;
        bench.expand(&id, gib).await.unwrap();
    }
    sleep(Duration::from_mins(5)).await;
    let status = bench.expand(&id, 60).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{}", status.message());
    assert!(status.message().contains("within 24 hours"), "{}", status.message());
}

#[tokio::test(start_paused = true)]
async fn a_call_that_finds_its_modification_under_way_waits_for_it() {
    let bench = Bench::new();
    let id = bench.made("pvc-1").await;
    let abandoned = tokio::time::timeout(Duration::from_millis(500), bench.expand(&id, 20));
    assert!(abandoned.await.is_err());
    // Another process, as after a crash of the first.
    let answer = bench.another().expand(&id, 20).await.unwrap();
    assert_eq!(answer.capacity_bytes, 20 * GIB);
    assert_eq!(bench.calls(Action::ModifyVolume), 1);
}

#[tokio::test(start_paused = true)]
async fn a_modification_whose_reply_is_lost_is_found_and_not_sent_again() {
    let bench = Bench::new();
    let id = bench.made("pvc-1").await;
    bench.fault(Action::ModifyVolume, When::Next, FaultKind::LoseReply);
    assert_eq!(bench.expand(&id, 20).await.unwrap().capacity_bytes, 20 * GIB);
    assert_eq!(bench.calls(Action::ModifyVolume), 1);
}

#[tokio::test(start_paused = true)]
async fn a_modification_that_ec2_gives_up_is_internal() {
    let bench = Bench::new();
    let id = bench.made("pvc-1").await;
    bench.trouble(Trouble::FailModification { volume: None, times: 1 });
    let status = bench.expand(&id, 20).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal, "{}", status.message());
    assert_eq!(bench.expand(&id, 20).await.unwrap().capacity_bytes, 20 * GIB);
}

#[tokio::test(start_paused = true)]
async fn the_older_service_does_the_same() {
    let bench = Bench::new();
    let id = bench.made("pvc-1").await;
    let message = |id: &str, pairs| ModifyVolumePropertiesRequest {
        name: id.to_owned(),
        parameters: map(pairs),
        ..Default::default()
    };
    let good = message(&id, &[("volumeType", "io2"), ("iops", "500")]);
    bench.controller.modify_volume_properties(Request::new(good)).await.unwrap();
    let [volume] = bench.volumes().try_into().unwrap();
    assert_eq!((volume.volume_type.as_str(), volume.iops), ("io2", Some(500)));
    let absent = message(ABSENT, &[]);
    assert_eq!(
        code(bench.controller.modify_volume_properties(Request::new(absent)).await),
        Code::NotFound
    );
}

fn gathering() -> csi_controller::ebs::Settings {
    csi_controller::ebs::Settings { modify_window: Duration::from_secs(2), ..settings() }
}

#[tokio::test(start_paused = true)]
async fn a_size_and_properties_that_are_asked_for_together_are_one_modification() {
    let bench = Bench::new().another_with(gathering());
    let id = bench.made("pvc-1").await;
    let properties = [("iops", "6000"), ("throughput", "300"), ("tagSpecification_1", "tier=hot")];
    let (grown, modified) = tokio::join!(bench.expand(&id, 20), async {
        sleep(Duration::from_millis(700)).await;
        bench.modify(&id, &properties).await
    });
    assert_eq!(grown.unwrap().capacity_bytes, 20 * GIB);
    modified.unwrap();
    assert_eq!(bench.calls(Action::ModifyVolume), 1);
    let volume = &bench.volumes()[0];
    assert_eq!((volume.size, volume.iops, volume.throughput), (GiB(20), Some(6_000), Some(300)));
    assert_eq!(volume.tags.get("tier").map(String::as_str), Some("hot"));
}

#[tokio::test(start_paused = true)]
async fn of_two_changes_that_contradict_the_later_comes_after_the_first() {
    let bench = Bench::new().another_with(gathering());
    let id = bench.made("pvc-1").await;
    let (small, large) = tokio::join!(bench.expand(&id, 20), bench.expand(&id, 30));
    assert_eq!(small.unwrap().capacity_bytes, 20 * GIB);
    assert_eq!(large.unwrap_err().code(), Code::Aborted);
    assert_eq!(bench.calls(Action::ModifyVolume), 1);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_change_does_not_spoil_the_one_beside_it() {
    let bench = Bench::new().another_with(gathering());
    let id = bench.made("pvc-1").await;
    let wrong = [("type", "io9")];
    let (modified, grown) = tokio::join!(bench.modify(&id, &wrong), bench.expand(&id, 20));
    assert_eq!(modified.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(grown.unwrap().capacity_bytes, 20 * GIB);
}

#[tokio::test(start_paused = true)]
async fn a_change_that_is_made_already_waits_for_nobody() {
    let bench = Bench::new().another_with(gathering());
    let id = bench.made("pvc-1").await;
    let began = tokio::time::Instant::now();
    bench.expand(&id, 10).await.unwrap();
    bench.modify(&id, &[("tagSpecification_1", "tier=hot")]).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn tags_are_written_while_the_volume_waits_for_its_next_modification() {
    let bench = Bench::new();
    let id = bench.made("pvc-1").await;
    bench.expand(&id, 20).await.unwrap();
    // Still optimizing.
    let wishes = [("throughput", "300"), ("tagSpecification_1", "tier=hot")];
    let error = bench.modify(&id, &wishes).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    let volume = &bench.volumes()[0];
    assert_eq!(volume.tags.get("tier").map(String::as_str), Some("hot"));
    assert_eq!(volume.throughput, Some(125));
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_reads_do_not_show_yet_is_deleted_all_the_same() {
    let bench = Bench::new();
    let id = bench.made("pvc-1").await;
    bench.modify(&id, &[("tagSpecification_1", "tier=hot")]).await.unwrap();
    bench.modify(&id, &[("tagDeletion_1", "tier")]).await.unwrap();
    assert!(!bench.volumes()[0].tags.contains_key("tier"));
}

#[tokio::test(start_paused = true)]
async fn a_modification_too_many_says_when_ec2_takes_the_next() {
    let bench = Bench::new();
    let id = bench.made("pvc-1").await;
    for size in 11..=14 {
        bench.expand(&id, size).await.unwrap();
        // While it is optimised, EC2 takes no other.
        let status = bench.expand(&id, 20).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
        assert!(status.message().contains(" %, since ") || status.message().contains(" % since "));
        sleep(Duration::from_mins(10)).await;
    }
    let last = bench.sim.with(|world, _| {
        let started = world.modification(&volume_id(&id)).unwrap().started;
        world.wall_clock(started).div_euclid(1_000) + 24 * 3_600
    });
    let end = prost_types::Timestamp { seconds: last, nanos: 0 };
    let status = bench.expand(&id, 20).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    let told = format!("EC2 takes the next one at {end} at the latest");
    assert!(status.message().contains(&told), "{} lacks {told}", status.message());
    sleep(Duration::from_hours(24)).await;
    bench.expand(&id, 20).await.unwrap();
}
