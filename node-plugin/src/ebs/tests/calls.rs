//! The service as a CO calls it: deadlines, claims, waiting for disks, information.

use std::time::Duration;

use csi_proto::csi::node_server::Node;
use csi_serve::Deadline;
use tokio::time::sleep;
use tonic::{Request, Status};

use super::*;
use crate::ebs::info::{InfoSource, LimitFlags};
use crate::ebs::service::{CAPABILITIES, EbsNode, Settings};
use crate::metadata::{SourceName, SourceSettings, Sources};

async fn node(kernel: &Fake) -> EbsNode<Fake> {
    let sources = Sources::new(SourceSettings {
        order: vec![SourceName::Flags],
        imds: csi_imds::ImdsEndpoint::default(),
        imds_disabled: true,
        node_name: None,
        kubeconfig: None,
        instance: Some("i-0123456789abcdef0".parse().unwrap()),
        instance_type: Some("m5.large".to_owned()),
        zone: Some("us-east-1a".to_owned()),
        region: None,
    });
    let info = InfoSource::start(sources, LimitFlags::default()).await.unwrap();
    let settings = Settings { device_wait: Duration::from_secs(5), legacy_xfs: false };
    EbsNode::new(kernel.clone(), info, settings)
}

async fn call_stage(node: &EbsNode<Fake>, volume: &str, limit: Duration) -> Result<(), Status> {
    let mut request = Request::new(csi::NodeStageVolumeRequest {
        volume_id: volume.to_owned(),
        staging_target_path: STAGING.to_owned(),
        volume_capability: Some(capability(Some("ext4"), &[], Mode::SingleNodeWriter)),
        ..csi::NodeStageVolumeRequest::default()
    });
    request.extensions_mut().insert(Deadline::after(limit));
    node.node_stage_volume(request).await.map(drop)
}

#[tokio::test]
async fn a_call_that_is_given_up_goes_on_keeps_its_claim_and_its_result_is_found() {
    let kernel = Fake::new(blank());
    kernel.state().slow = Duration::from_millis(100);
    let node = node(&kernel).await;
    let late = call_stage(&node, VOLUME, Duration::from_millis(50)).await.unwrap_err();
    assert_eq!(late.code(), Code::DeadlineExceeded);
    assert!(late.message().contains("staging vol-0123456789abcdef0 still goes on"), "{late}");
    let second = call_stage(&node, VOLUME, Duration::from_secs(9)).await.unwrap_err();
    assert_eq!(second.code(), Code::Aborted);

    node.operations().drain().await;
    kernel.state().slow = Duration::ZERO;
    call_stage(&node, VOLUME, Duration::from_secs(9)).await.unwrap();
    assert_eq!((formats(&kernel), kernel.state().mounts.len()), (1, 1));
}

#[tokio::test]
async fn a_disk_that_appears_late_is_waited_for() {
    let kernel = Fake::new(State::default());
    let node = node(&kernel).await;
    let appear = async {
        sleep(Duration::from_millis(200)).await;
        kernel.state().disks.push(ours("nvme1n1", 1));
    };
    let stage = call_stage(&node, VOLUME, Duration::from_secs(9));
    let ((), staged) = tokio::join!(appear, stage);
    staged.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_never_appears_is_not_found_after_the_wait() {
    let node = node(&Fake::new(State::default())).await;
    let error = call_stage(&node, VOLUME, Duration::from_mins(1)).await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound);
    assert!(error.message().contains("vol0123456789abcdef0"), "{error}");
}

#[tokio::test]
async fn a_malformed_volume_id_is_not_found_but_a_missing_field_is_told_first() {
    let node = node(&Fake::new(blank())).await;
    let error = call_stage(&node, "pvc-1", Duration::from_secs(9)).await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound);
    let request = csi::NodeStageVolumeRequest {
        volume_id: "pvc-1".to_owned(),
        ..csi::NodeStageVolumeRequest::default()
    };
    let error = node.node_stage_volume(Request::new(request)).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    assert!(error.message().starts_with("staging_target_path"), "{error}");
}

#[tokio::test]
async fn the_node_says_who_it_is_and_what_it_can_and_never_claims_to_apply_fs_groups() {
    let node = node(&Fake::new(blank())).await;
    let info = node.node_get_info(Request::new(csi::NodeGetInfoRequest {})).await.unwrap();
    assert_eq!(info.into_inner().max_volumes_per_node, 26);
    let request = Request::new(csi::NodeGetCapabilitiesRequest {});
    let answer = node.node_get_capabilities(request).await.unwrap().into_inner();
    assert_eq!(answer.capabilities.len(), CAPABILITIES.len());
    let group = csi::node_service_capability::rpc::Type::VolumeMountGroup;
    assert!(!CAPABILITIES.contains(&group));
}
