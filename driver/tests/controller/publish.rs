//! `ControllerPublishVolume` and `ControllerUnpublishVolume`.

use std::collections::BTreeSet;
use std::time::Duration;

use csi_core::ebs::AttachmentState;
use csi_proto::csi::controller_server::Controller;
use csi_sim::world::{Action, Settings as Pace, Trouble};
use tokio::time::Instant;
use tonic::Code;

use crate::harness::{Bench, GIB, NODE, OTHER_NODE, code, publish, volume, volume_id};

#[tokio::test(start_paused = true)]
async fn publishing_answers_the_device_and_the_size_and_again_the_same() {
    let bench = Bench::new();
    let id = bench.made("pvc-1").await;
    let context = bench.publish(&id, NODE).await.unwrap();
    assert_eq!(context["volumeSizeBytes"], (10 * GIB).to_string());
    let [volume] = bench.volumes().try_into().unwrap();
    assert_eq!(volume.attachments[0].state, AttachmentState::Attached);
    assert_eq!(context["devicePath"], volume.attachments[0].device);

    assert_eq!(bench.publish(&id, NODE).await.unwrap(), context);
    assert_eq!(bench.another().publish(&id, NODE).await.unwrap(), context);
    // The second controller knew from the listing that it need not attach.
    assert_eq!(bench.calls(Action::AttachVolume), 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_attached_elsewhere_is_refused_with_the_other_node() {
    let bench = Bench::new();
    let id = bench.made("pvc-1").await;
    bench.publish(&id, NODE).await.unwrap();
    let status = bench.publish(&id, OTHER_NODE).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(status.message().contains(NODE), "{}", status.message());
    bench.unpublish(&id, NODE).await.unwrap();
    bench.publish(&id, OTHER_NODE).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn unknown_volumes_and_nodes_are_not_found() {
    let bench = Bench::new();
    let id = bench.made("pvc-1").await;
    assert_eq!(code(bench.publish("vol-0123456789abcdef0", NODE).await), Code::NotFound);
    assert_eq!(code(bench.publish(&id, "i-0123456789abcdef0").await), Code::NotFound);
    assert_eq!(code(bench.publish("nonsense", NODE).await), Code::NotFound);
    assert_eq!(code(bench.publish(&id, "nonsense").await), Code::NotFound);
    assert_eq!(code(bench.publish(&id, "").await), Code::InvalidArgument);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_full_is_exhausted() {
    let bench = Bench::with(Pace::instant(), 1);
    let mut taken = BTreeSet::new();
    let last = loop {
        let id = bench.made(&format!("pvc-{}", taken.len())).await;
        match bench.publish(&id, NODE).await {
            Ok(context) => assert!(taken.insert(context["devicePath"].clone()), "a name twice"),
            Err(status) => break status,
        }
    };
    assert_eq!(last.code(), Code::ResourceExhausted, "{}", last.message());
    assert!(taken.len() > 20, "{} volumes", taken.len());
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_in_use_though_no_list_shows_it_is_passed_over() {
    let bench = Bench::new();
    for device in ["/dev/xvdaa", "/dev/xvdab"] {
        let trouble =
            Trouble::HiddenDevice { instance: NODE.to_owned(), device: device.to_owned() };
        bench.trouble(trouble);
    }
    let id = bench.made("pvc-1").await;
    assert_eq!(bench.publish(&id, NODE).await.unwrap()["devicePath"], "/dev/xvdac");
}

#[tokio::test(start_paused = true)]
async fn a_stuck_attach_is_undone_and_tried_under_another_name() {
    let bench = Bench::new();
    bench.trouble(Trouble::StickAttaching { volume: None, instance: None, device: None, times: 1 });
    let id = bench.made("pvc-1").await;
    let began = Instant::now();
    assert_eq!(bench.publish(&id, NODE).await.unwrap()["devicePath"], "/dev/xvdab");
    assert!(began.elapsed() < Duration::from_secs(110), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_attach_that_is_always_stuck_is_an_error_and_leaves_nothing_behind() {
    let bench = Bench::new();
    bench.trouble(Trouble::StickAttaching { volume: None, instance: None, device: None, times: 0 });
    let id = bench.made("pvc-1").await;
    let status = bench.publish(&id, NODE).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("stuck"), "{}", status.message());
    let [volume] = bench.volumes().try_into().unwrap();
    assert_eq!(volume.attachments, []);
}

#[tokio::test(start_paused = true)]
async fn unpublishing_succeeds_for_what_is_not_attached_and_asks_no_instances() {
    let bench = Bench::new();
    let id = bench.made("pvc-1").await;
    bench.publish(&id, NODE).await.unwrap();
    let asked = bench.calls(Action::DescribeInstances);
    bench.unpublish(&id, NODE).await.unwrap();
    let [volume] = bench.volumes().try_into().unwrap();
    assert_eq!(volume.attachments, []);
    bench.unpublish(&id, NODE).await.unwrap();
    bench.unpublish(&id, OTHER_NODE).await.unwrap();
    bench.unpublish(&id, "i-0123456789abcdef0").await.unwrap();
    bench.unpublish("vol-0123456789abcdef0", NODE).await.unwrap();
    bench.unpublish("nonsense", NODE).await.unwrap();
    bench.unpublish(&id, "nonsense").await.unwrap();
    assert_eq!(code(bench.unpublish("", NODE).await), Code::InvalidArgument);
    assert_eq!(bench.calls(Action::DescribeInstances), asked);
}

#[tokio::test(start_paused = true)]
async fn no_node_means_to_detach_from_all_of_them() {
    let bench = Bench::new();
    let mut many = volume("pvc-1");
    many.parameters = crate::harness::map(&[("type", "io2"), ("iops", "100")]);
    for capability in &mut many.volume_capabilities {
        *capability = shared();
    }
    let id = bench.create(many).await.unwrap().volume_id;
    for node in [NODE, OTHER_NODE] {
        let mut request = publish(&id, node);
        request.volume_capability = Some(shared());
        bench.controller.controller_publish_volume(tonic::Request::new(request)).await.unwrap();
    }
    let attached = || bench.volumes()[0].attachments.len();
    assert_eq!(attached(), 2);
    bench.unpublish(&id, "").await.unwrap();
    assert_eq!(attached(), 0);
}

fn shared() -> csi_proto::csi::VolumeCapability {
    use csi_proto::csi::volume_capability::{AccessMode, AccessType, BlockVolume, access_mode};
    let mode = access_mode::Mode::MultiNodeMultiWriter as i32;
    csi_proto::csi::VolumeCapability {
        access_mode: Some(AccessMode { mode }),
        access_type: Some(AccessType::Block(BlockVolume {})),
    }
}

#[tokio::test(start_paused = true)]
async fn publish_unpublish_publish_in_a_row_ends_attached() {
    let bench = Bench::new();
    let id = bench.made("pvc-1").await;
    for _ in 0..3 {
        bench.publish(&id, NODE).await.unwrap();
        let truth =
            || bench.sim.with(|world, _| world.volume(&volume_id(&id)).unwrap().volume.clone());
        assert_eq!(truth().attachments[0].state, AttachmentState::Attached);
        bench.unpublish(&id, NODE).await.unwrap();
        assert_eq!(truth().attachments, []);
    }
}
