//! Node-local volumes: `local-ebs://dev/xvdbz` is whatever the pod's node has there.

use csi_controller::ebs::Settings;
use csi_proto::csi;
use csi_proto::csi::controller_server::Controller;
use csi_proto::csi::volume_capability::access_mode::Mode;
use csi_sim::world::Action;
use tonic::{Code, Request};

use crate::harness::{Bench, NODE, OTHER_NODE, capability, code, publish, range, settings};

/// A world in which EC2 has a volume at `/dev/xvdbz` of the first node; its id.
async fn bench() -> (Bench, String) {
    let plain = Bench::steady();
    let id = plain.made("pvc-1").await;
    let volume = crate::harness::volume_id(&id);
    let attach = |world: &mut csi_sim::world::World, now| {
        world.attach_volume(volume.as_str(), NODE, "/dev/xvdbz", now).unwrap();
    };
    plain.sim.with(attach);
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    (plain.another_with(Settings { node_local_volumes: true, ..settings() }), id)
}

const HANDLE: &str = "local-ebs://dev/xvdbz";

fn shared() -> csi::VolumeCapability {
    let mode = Mode::MultiNodeMultiWriter as i32;
    csi::VolumeCapability {
        access_mode: Some(csi::volume_capability::AccessMode { mode }),
        ..capability()
    }
}

#[tokio::test(start_paused = true)]
async fn publishing_answers_the_volume_behind_the_device_and_attaches_nothing() {
    let (bench, id) = bench().await;
    let context = bench.publish(HANDLE, NODE).await.unwrap();
    assert_eq!(context["volumeID"], id);
    assert_eq!(context["devicePath"], "/dev/xvdbz");
    let mut many = publish(HANDLE, NODE);
    many.volume_capability = Some(shared());
    bench.controller.controller_publish_volume(Request::new(many)).await.unwrap();
    assert_eq!(bench.calls(Action::AttachVolume), 0);
    bench.unpublish(HANDLE, NODE).await.unwrap();
    assert_eq!(bench.calls(Action::DetachVolume), 0);
    assert_eq!(bench.volumes()[0].attachments.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn absent_devices_the_root_volume_and_malformed_handles_are_refused() {
    let (bench, _id) = bench().await;
    assert_eq!(code(bench.publish(HANDLE, OTHER_NODE).await), Code::NotFound);
    assert_eq!(code(bench.publish(HANDLE, "i-0123456789abcdef0").await), Code::NotFound);
    assert_eq!(code(bench.publish("local-ebs://dev/xvda", NODE).await), Code::InvalidArgument);
    assert_eq!(code(bench.publish("local-ebs://etc/passwd", NODE).await), Code::InvalidArgument);
}

#[tokio::test(start_paused = true)]
async fn they_are_refused_unless_the_operator_asks_for_them() {
    let (on, _id) = bench().await;
    let off = on.another();
    let status = off.publish(HANDLE, NODE).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("--enable-node-local-volumes"), "{}", status.message());
    let validate = csi::ValidateVolumeCapabilitiesRequest {
        volume_id: HANDLE.to_owned(),
        volume_capabilities: vec![shared()],
        ..Default::default()
    };
    let ask = |bench: &Bench| {
        let (controller, message) = (bench.controller.clone(), validate.clone());
        async move { controller.validate_volume_capabilities(Request::new(message)).await }
    };
    assert!(ask(&on).await.unwrap().into_inner().confirmed.is_some());
    assert_eq!(code(ask(&off).await), Code::InvalidArgument);
}

#[tokio::test(start_paused = true)]
async fn they_can_be_neither_expanded_nor_modified_nor_captured() {
    let (bench, _id) = bench().await;
    let expand = csi::ControllerExpandVolumeRequest {
        volume_id: HANDLE.to_owned(),
        capacity_range: range(20, 0),
        ..Default::default()
    };
    let expand = bench.controller.controller_expand_volume(Request::new(expand)).await;
    assert_eq!(code(expand), Code::InvalidArgument);
    assert_eq!(code(bench.modify(HANDLE, &[("iops", "4000")]).await), Code::InvalidArgument);
    assert_eq!(code(bench.snapshot("snap-1", HANDLE).await), Code::InvalidArgument);
    bench.delete(HANDLE).await.unwrap();
}
