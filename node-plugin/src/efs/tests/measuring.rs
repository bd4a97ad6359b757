//! Measuring: bytes and inodes of the right file system, and no call that waits for ever.

use csi_proto::csi::VolumeUsage;
use nix::errno::Errno;
use tonic::Code;

use super::kernel::Fate;
use super::*;

async fn measure(stand: &Stand, volume: &str, path: &str) -> Result<Vec<VolumeUsage>, Status> {
    let mut request = Request::new(csi::NodeGetVolumeStatsRequest {
        volume_id: volume.to_owned(),
        volume_path: path.to_owned(),
        ..csi::NodeGetVolumeStatsRequest::default()
    });
    request.extensions_mut().insert(Deadline::after(Duration::from_secs(10)));
    let answer = stand.node.node_get_volume_stats(request).await?;
    Ok(answer.into_inner().usage)
}

#[tokio::test(start_paused = true)]
async fn a_volume_is_measured_in_bytes_and_inodes_and_only_where_it_is() {
    let stand = Stand::new().await;
    stand.publish(VOLUME, "/k/1").await.unwrap();
    let usage = measure(&stand, VOLUME, "/k/1").await.unwrap();
    let numbers: Vec<_> = usage.iter().map(|u| (u.unit, u.total, u.used)).collect();
    assert_eq!(numbers, [(1, i64::MAX, 40), (2, 10, 3)]);
    stand.kernel.foreign("/k/2", "tmpfs", "tmpfs");
    for (volume, path) in [
        (OTHER, "/k/1"),
        ("fs-92107410::fsap-00000000000000000", "/k/1"),
        ("fs-92107410:/a:fsap-0123456789abcdef0", "/k/1"),
        (VOLUME, "/k/2"),
        (VOLUME, "/k/3"),
        ("pvc-1", "/k/1"),
    ] {
        let error = measure(&stand, volume, path).await.unwrap_err();
        assert_eq!(error.code(), Code::NotFound, "{volume} at {path}: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_is_asked_once_and_told_in_time() {
    let stand = Stand::new().await;
    stand.publish(VOLUME, "/k/1").await.unwrap();
    stand.kernel.state().usage.push_back(Fate::Takes(Duration::from_secs(25)));
    for _ in 0..2 {
        let error = measure(&stand, VOLUME, "/k/1").await.unwrap_err();
        assert_eq!(error.code(), Code::DeadlineExceeded);
        assert!(error.message().contains("measuring /k/1 still goes on"), "{error}");
    }
    measure(&stand, VOLUME, "/k/1").await.unwrap();
    stand.kernel.state().usage.push_back(Fate::Fails(Errno::ESTALE));
    let error = measure(&stand, VOLUME, "/k/1").await.unwrap_err();
    assert!(error.message().starts_with("cannot measure /k/1"), "{error}");
}
