//! `blockAttachUntilInitialized`: publishing waits until the volume is filled.

use std::time::Duration;

use csi_proto::csi;
use csi_proto::csi::controller_server::Controller;
use csi_sim::world::{Action, Delay, FaultKind, When};
use tokio::time::{Instant, timeout};
use tonic::{Code, Request};

use crate::harness::{Bench, NODE, map, publish, volume};

/// A volume from a snapshot that takes so long to be filled, and the message that publishes it.
async fn restored(bench: &Bench, fill: Duration) -> csi::ControllerPublishVolumeRequest {
    let fill = u64::try_from(fill.as_millis()).unwrap();
    bench.sim.with(|world, _| world.settings_mut().initialize = Delay::FixedMs(fill));
    let source = bench.made("pvc-1").await;
    let snapshot = bench.snapshot("snap-1", &source).await.unwrap();
    let request = csi::CreateVolumeRequest {
        parameters: map(&[
            ("blockAttachUntilInitialized", "true"),
            ("volumeInitializationRate", "100"),
        ]),
        volume_content_source: Some(csi::VolumeContentSource {
            r#type: Some(csi::volume_content_source::Type::Snapshot(
                csi::volume_content_source::SnapshotSource { snapshot_id: snapshot.snapshot_id },
            )),
        }),
        ..volume("pvc-2")
    };
    let made = bench.create(request).await.unwrap();
    assert_eq!(made.volume_context["blockattachuntilinitialized"], "true");
    csi::ControllerPublishVolumeRequest {
        volume_context: made.volume_context,
        ..publish(&made.volume_id, NODE)
    }
}

#[tokio::test(start_paused = true)]
async fn publishing_waits_until_the_volume_is_filled_and_not_longer() {
    let bench = Bench::steady();
    let request = restored(&bench, Duration::from_secs(200)).await;
    let began = Instant::now();
    bench.controller.controller_publish_volume(Request::new(request)).await.unwrap();
    let took = began.elapsed();
    assert!((190..206).contains(&took.as_secs()), "{took:?}");
    let asked = bench.calls(Action::DescribeVolumeStatus);
    assert!(asked <= 50, "{asked} looks in {took:?}");
}

#[tokio::test(start_paused = true)]
async fn what_takes_longer_than_the_attacher_waits_says_how_far_it_is_and_the_next_try_goes_on() {
    let bench = Bench::steady();
    let request = restored(&bench, Duration::from_mins(10)).await;
    let publish = || bench.controller.controller_publish_volume(Request::new(request.clone()));
    let status = publish().await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert!(status.message().contains(" %, about "), "{}", status.message());
    publish().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_volume_that_is_waited_for_is_detached_at_once() {
    let bench = Bench::steady();
    let request = restored(&bench, Duration::from_hours(5)).await;
    let id = request.volume_id.clone();
    let publish = bench.controller.controller_publish_volume(Request::new(request));
    timeout(Duration::from_mins(1), publish).await.unwrap_err();
    let began = Instant::now();
    bench.unpublish(&id, NODE).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn without_the_parameter_nobody_waits_or_asks() {
    let bench = Bench::steady();
    let request = restored(&bench, Duration::from_hours(5)).await;
    bench.publish(&request.volume_id, NODE).await.unwrap();
    assert_eq!(bench.calls(Action::DescribeVolumeStatus), 0);
}

#[tokio::test(start_paused = true)]
async fn faults_of_the_look_are_outlasted_and_a_refusal_is_told() {
    let failure = |code: &str| (code.to_owned(), String::new());
    let (code, message) = failure("InternalError");
    let faults = [
        FaultKind::FailBefore { code: code.clone(), message: message.clone() },
        FaultKind::FailAfter { code, message },
        FaultKind::LoseCall,
        FaultKind::LoseReply,
        FaultKind::DelayMs(3_000),
        FaultKind::Throttle,
        FaultKind::HangBefore,
        FaultKind::HangAfter,
    ];
    for fault in faults {
        let bench = Bench::steady();
        let request = restored(&bench, Duration::from_secs(10)).await;
        bench.fault(Action::DescribeVolumeStatus, When::Next, fault.clone());
        let began = Instant::now();
        bench.controller.controller_publish_volume(Request::new(request)).await.unwrap();
        println!("DescribeVolumeStatus {fault:?}: OK after {:?}", began.elapsed());
        assert_eq!(bench.sim.with(|world, _| world.faults()[0].struck), 1, "{fault:?}");
    }
    let bench = Bench::steady();
    let request = restored(&bench, Duration::from_secs(10)).await;
    let (code, message) = failure("UnauthorizedOperation");
    let denied = FaultKind::FailBefore { code, message };
    bench.fault(Action::DescribeVolumeStatus, When::Next, denied);
    let publish = bench.controller.controller_publish_volume(Request::new(request));
    let status = publish.await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "the volume is attached");
    assert!(status.message().contains("ec2:DescribeVolumeStatus"), "{}", status.message());
}

#[tokio::test(start_paused = true)]
async fn the_oldest_kernel_is_told_to_the_node_by_the_class_or_by_the_flag() {
    let bench = Bench::steady();
    let request =
        csi::CreateVolumeRequest { parameters: map(&[("oldestKernel", "6.1")]), ..volume("pvc-1") };
    let made = bench.create(request).await.unwrap();
    let publish = csi::ControllerPublishVolumeRequest {
        volume_context: made.volume_context,
        ..publish(&made.volume_id, NODE)
    };
    let settings = csi_controller::ebs::Settings {
        oldest_kernel: Some("5.10".to_owned()),
        ..crate::harness::settings()
    };
    let other = bench.another_with(settings);
    let kernel = |bench: &Bench, context: bool| {
        let mut publish = publish.clone();
        if !context {
            publish.volume_context.clear();
        }
        let controller = bench.controller.clone();
        async move {
            let answer = controller.controller_publish_volume(Request::new(publish)).await.unwrap();
            answer.into_inner().publish_context.remove("oldestKernel")
        }
    };
    assert_eq!(kernel(&bench, true).await.as_deref(), Some("6.1"));
    assert_eq!(kernel(&bench, false).await, None);
    assert_eq!(kernel(&other, true).await.as_deref(), Some("6.1"));
    assert_eq!(kernel(&other, false).await.as_deref(), Some("5.10"));
}
