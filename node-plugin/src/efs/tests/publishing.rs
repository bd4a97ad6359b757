//! Publishing: what is mounted, what is refused, what is tried again, what is left behind.

use std::collections::BTreeMap;

use nix::errno::Errno;
use nix::mount::MsFlags;
use test_case::test_case;
use tonic::Code;

use super::kernel::Fate;
use super::*;
use crate::kernel::nfs::NfsStep;

#[tokio::test(start_paused = true)]
async fn a_volume_is_mounted_through_the_tunnel_and_read_far_ahead() {
    let stand = Stand::new().await;
    stand.publish(VOLUME, "/k/1").await.unwrap();
    let steps = std::mem::take(&mut stand.kernel.state().steps);
    let [NfsStep::MakeDir(folder), NfsStep::Mount { path, at, flags, data }, ahead] = &steps[..]
    else {
        panic!("{steps:?}")
    };
    assert_eq!((folder, at), (&"/k/1".into(), &"/k/1".into()));
    assert_eq!((path.as_str(), *flags), ("/", MsFlags::empty()));
    assert!(data.ends_with("addr=127.0.0.1,clientaddr=127.0.0.1,port=20049"), "{data}");
    assert!(matches!(ahead, NfsStep::ReadAhead { kib: 15_360, .. }));
    let identity = stand.tunnel.state().ports[&PORT].clone();
    assert_eq!(identity.access_point.unwrap().as_str(), "fsap-0123456789abcdef0");
}

#[tokio::test(start_paused = true)]
async fn the_same_identity_shares_a_port_and_another_one_gets_its_own() {
    let stand = Stand::new().await;
    for (volume, target) in [(VOLUME, "/k/1"), (VOLUME, "/k/2"), (OTHER, "/k/3")] {
        stand.publish(volume, target).await.unwrap();
    }
    assert_eq!(stand.tunnel.ports(), [20_049, 20_050]);
    assert_eq!(stand.kernel.state().mounts.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn publishing_again_is_success_also_after_a_restart_and_changes_nothing() {
    let mut stand = Stand::new().await;
    stand.publish(VOLUME, "/k/1").await.unwrap();
    for _ in 0..2 {
        stand.publish(VOLUME, "/k/1").await.unwrap();
        stand = stand.restarted().await;
    }
    assert_eq!((stand.kernel.mounted(), stand.tunnel.ports()), (1, vec![PORT]));
}

#[tokio::test(start_paused = true)]
async fn what_is_mounted_at_the_target_is_never_replaced() {
    let stand = Stand::new().await;
    stand.publish(VOLUME, "/k/1").await.unwrap();
    let in_folder = "efs:fs-92107410:/a:fsap-0123456789abcdef0";
    let readonly = csi::NodePublishVolumeRequest { readonly: true, ..publish(VOLUME, "/k/1") };
    for (message, why) in [
        (publish(OTHER, "/k/1"), "another volume is mounted there: fs-92107410 with fsap-"),
        (publish(in_folder, "/k/1"), "directory \"/\" of the file system is mounted there"),
        (readonly, "it is mounted there writable"),
    ] {
        let error = stand.call_publish(message, Duration::from_secs(9)).await.unwrap_err();
        assert_eq!(error.code(), Code::AlreadyExists);
        assert!(error.message().contains(why), "{error}");
    }
    stand.kernel.foreign("/k/2", "tmpfs", "tmpfs");
    stand.kernel.foreign("/k/3", "nfs4", "10.0.0.1:/");
    for target in ["/k/2", "/k/3"] {
        let error = stand.publish(VOLUME, target).await.unwrap_err();
        assert_eq!(error.code(), Code::AlreadyExists);
        assert!(error.message().contains("not of this driver"), "{error}");
    }
    assert_eq!(stand.kernel.mounted(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_same_rights_by_another_way_are_the_same_volume_and_other_rights_are_not() {
    let stand = Stand::new().await;
    let limit = Duration::from_secs(9);
    let volume_context = BTreeMap::from([("mounttargetip".to_owned(), "10.0.0.1".to_owned())]);
    let by_address = csi::NodePublishVolumeRequest { volume_context, ..publish(VOLUME, "/k/1") };
    stand.call_publish(by_address, limit).await.unwrap();
    stand.publish(VOLUME, "/k/1").await.unwrap();
    let mut with_iam = publish(VOLUME, "/k/1");
    let mount = MountVolume { mount_flags: vec!["iam".to_owned()], ..MountVolume::default() };
    with_iam.volume_capability.as_mut().unwrap().access_type = Some(AccessType::Mount(mount));
    let error = stand.call_publish(with_iam, limit).await.unwrap_err();
    assert_eq!(error.code(), Code::AlreadyExists);
    assert!(error.message().contains("over TLS with IAM"), "{error}");
    assert_eq!((stand.kernel.mounted(), stand.tunnel.ports()), (1, vec![PORT]));
}

#[tokio::test(start_paused = true)]
async fn hostile_requests_start_nothing() {
    let stand = Stand::new().await;
    let mut requests = Vec::new();
    for id in ["fs-92107410,tls", "fs-92107410:/a=b", "fs-92107410:/a\nb", "fs-92107410:a:b:c:d"] {
        requests.push(publish(id, "/k/1"));
    }
    for flag in ["tls,accesspoint=fsap-0123456789abcdef0", "port=1", "awsprofile=a=b", "a\nb"] {
        let mut request = publish(VOLUME, "/k/1");
        let mount = MountVolume { mount_flags: vec![flag.to_owned()], ..MountVolume::default() };
        request.volume_capability.as_mut().unwrap().access_type = Some(AccessType::Mount(mount));
        requests.push(request);
    }
    for (key, value) in [("path", "/"), ("mounttargetip", "10.0.0.1,tls"), ("crossaccount", "x")] {
        let volume_context = BTreeMap::from([(key.to_owned(), value.to_owned())]);
        requests.push(csi::NodePublishVolumeRequest { volume_context, ..publish(VOLUME, "/k/1") });
    }
    for request in requests {
        let shown = format!("{request:?}");
        let error = stand.call_publish(request, Duration::from_secs(9)).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument, "{shown}: {error}");
    }
    assert_eq!(stand.kernel.state().steps, []);
    stand.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn a_fresh_access_point_is_tried_again_and_a_reset_too() {
    let stand = Stand::new().await;
    let fates = [Errno::EACCES, Errno::ECONNRESET, Errno::ETIMEDOUT].map(Fate::Fails);
    stand.kernel.state().mount.extend(fates);
    stand.publish(VOLUME, "/k/1").await.unwrap();
    assert_eq!(stand.kernel.mounted(), 4);
}

#[test_case(VOLUME, Errno::EACCES, 9.., Code::PermissionDenied, "access denied"; "access point")]
#[test_case("fs-92107410", Errno::EACCES, 1..2, Code::PermissionDenied, "iam"; "file system")]
#[test_case(VOLUME, Errno::ENOENT, 1..2, Code::NotFound, "does not exist"; "no directory")]
#[test_case(VOLUME, Errno::ENODEV, 1..2, Code::FailedPrecondition, "no NFS client"; "no client")]
#[test_case(VOLUME, Errno::ECONNRESET, 9.., Code::Unavailable, "the tunnel says: bad name"; "reset")]
#[tokio::test(start_paused = true)]
async fn a_refusal_that_lasts_is_explained_and_leaves_nothing(
    volume: &str,
    errno: Errno,
    tries: impl std::ops::RangeBounds<usize>,
    code: Code,
    why: &str,
) {
    let stand = Stand::new().await;
    stand.tunnel.state().trouble = Some("bad name".to_owned());
    stand.kernel.state().mount.extend([Fate::Fails(errno); 100]);
    let error = stand.publish(volume, "/k/1").await.unwrap_err();
    assert_eq!(error.code(), code, "{error}");
    assert!(error.message().contains(why), "{error}");
    assert!(tries.contains(&stand.kernel.mounted()), "{} tries", stand.kernel.mounted());
    stand.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn without_a_tunnel_or_a_port_nothing_is_mounted() {
    let stand = Stand::new().await;
    stand.tunnel.state().gone = true;
    let error = stand.publish(VOLUME, "/k/1").await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    assert!(error.message().contains("is its pod running on this node?"), "{error}");

    stand.tunnel.state().gone = false;
    stand.tunnel.state().most = 1;
    stand.publish(VOLUME, "/k/1").await.unwrap();
    let error = stand.publish(OTHER, "/k/2").await.unwrap_err();
    assert_eq!(error.code(), Code::ResourceExhausted);
    assert_eq!(stand.kernel.mounted(), 1);
    assert_eq!(stand.kernel.state().folders.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_mount_that_outlasts_its_call_goes_on_and_is_joined_by_the_next_call() {
    let stand = Stand::new().await;
    stand.tunnel.state().trouble = Some("no route to 10.0.0.1".to_owned());
    stand.kernel.state().mount.push_back(Fate::Takes(Duration::from_mins(1)));
    let limit = Duration::from_secs(20);
    let late = stand.call_publish(publish(VOLUME, "/k/1"), limit).await.unwrap_err();
    assert_eq!(late.code(), Code::DeadlineExceeded);
    assert!(late.message().contains("no route to 10.0.0.1"), "{late}");
    let other = stand.call_publish(publish(OTHER, "/k/1"), limit).await.unwrap_err();
    assert_eq!(other.code(), Code::Aborted);
    stand.publish(VOLUME, "/k/1").await.unwrap();
    assert_eq!(stand.kernel.mounted(), 1);
}

#[tokio::test(start_paused = true)]
async fn unpublishing_stops_a_publication_that_keeps_failing() {
    let stand = Stand::new().await;
    stand.kernel.state().mount.extend([Fate::Fails(Errno::ECONNRESET); 100]);
    let limit = Duration::from_secs(5);
    let late = stand.call_publish(publish(VOLUME, "/k/1"), limit).await.unwrap_err();
    assert_eq!(late.code(), Code::DeadlineExceeded);
    assert_eq!(stand.unpublish("/k/1").await.unwrap_err().code(), Code::Aborted);
    stand.node.drain().await;
    stand.unpublish("/k/1").await.unwrap();
    assert!(stand.kernel.mounted() < 9);
    stand.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn a_file_system_that_hangs_keeps_no_other_one_waiting() {
    let stand = Stand::new().await;
    stand.kernel.state().mount.extend([Fate::Hangs; 16]);
    let limit = Duration::from_secs(3);
    let targets: Vec<String> = (0..40).map(|i| format!("/k/{i}")).collect();
    let calls = targets.iter().map(|target| stand.call_publish(publish(VOLUME, target), limit));
    for result in futures_util::future::join_all(calls).await {
        assert_eq!(result.unwrap_err().code(), Code::DeadlineExceeded);
    }
    assert_eq!(stand.kernel.mounted(), 16);
    stand.publish(OTHER, "/k/other").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn calls_beyond_a_limit_are_turned_away_only_if_there_is_one() {
    for (limit, turned_away) in [(None, 0), (Some(2), 3)] {
        let stand = Stand::with(FakeNfs::default(), FakeTunnel::default(), limit).await;
        stand.kernel.state().mount.extend([Fate::Takes(Duration::from_secs(1)); 5]);
        let targets: Vec<String> = (0..5).map(|i| format!("/k/{i}")).collect();
        let calls = targets.iter().map(|target| stand.publish(VOLUME, target));
        let results = futures_util::future::join_all(calls).await;
        let aborted = results.iter().filter_map(|result| result.as_ref().err());
        assert_eq!(aborted.map(Status::code).filter(|&c| c == Code::Aborted).count(), turned_away);
    }
}
