//! Unpublishing: in time, whatever the server does, and nothing left.

use nix::errno::Errno;
use tokio::time::Instant;
use tonic::Code;

use super::kernel::Fate;
use super::*;
use crate::kernel::nfs::NfsStep;

#[tokio::test(start_paused = true)]
async fn everything_is_taken_away_and_again_is_success() {
    let stand = Stand::new().await;
    stand.publish(VOLUME, "/k/1").await.unwrap();
    for _ in 0..2 {
        stand.unpublish("/k/1").await.unwrap();
        stand.assert_clean();
    }
}

#[tokio::test(start_paused = true)]
async fn a_port_stays_as_long_as_another_mount_uses_it() {
    let stand = Stand::new().await;
    stand.publish(VOLUME, "/k/1").await.unwrap();
    stand.publish(VOLUME, "/k/2").await.unwrap();
    stand.unpublish("/k/1").await.unwrap();
    assert_eq!((stand.tunnel.ports(), stand.kernel.state().mounts.len()), (vec![PORT], 1));
    stand.unpublish("/k/2").await.unwrap();
    stand.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn stacked_mounts_are_peeled() {
    let stand = Stand::new().await;
    stand.publish(VOLUME, "/k/1").await.unwrap();
    for _ in 0..3 {
        let top = stand.kernel.state().mounts[0].clone();
        stand.kernel.state().mounts.push(top);
    }
    stand.kernel.foreign("/k/1", "tmpfs", "tmpfs");
    stand.unpublish("/k/1").await.unwrap();
    stand.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn an_unmount_that_hangs_is_detached_within_its_time() {
    for (unmount, detach) in [
        (Fate::Hangs, None),
        // Detaching may hang in the kernel too, after the mount has left the tree.
        (Fate::Hangs, Some(Fate::HangsDone)),
        (Fate::Fails(Errno::EBUSY), None),
    ] {
        let stand = Stand::new().await;
        stand.publish(VOLUME, "/k/1").await.unwrap();
        stand.kernel.state().unmount.extend([unmount; 1_000]);
        stand.kernel.state().detach.extend(detach);
        let started = Instant::now();
        stand.unpublish("/k/1").await.unwrap();
        let seconds = started.elapsed().as_secs();
        assert!((30..33).contains(&seconds), "{seconds} s");
        assert!(stand.kernel.state().steps.contains(&NfsStep::Detach("/k/1".into())));
        stand.assert_clean();
    }
}

#[tokio::test(start_paused = true)]
async fn an_unmount_that_hangs_after_the_mount_is_gone_keeps_nobody_waiting() {
    let stand = Stand::new().await;
    stand.publish(VOLUME, "/k/1").await.unwrap();
    stand.kernel.state().unmount.push_back(Fate::HangsDone);
    let started = Instant::now();
    stand.unpublish("/k/1").await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(1));
    stand.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn a_caller_with_little_time_is_answered_in_it() {
    let stand = Stand::new().await;
    stand.publish(VOLUME, "/k/1").await.unwrap();
    stand.kernel.state().unmount.push_back(Fate::Hangs);
    stand.call_unpublish("/k/1", Duration::from_secs(10)).await.unwrap();
    stand.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn a_mount_that_stays_in_use_for_a_moment_is_unmounted_and_not_detached() {
    let stand = Stand::new().await;
    stand.publish(VOLUME, "/k/1").await.unwrap();
    stand.kernel.state().unmount.extend([Fate::Fails(Errno::EBUSY); 5]);
    stand.unpublish("/k/1").await.unwrap();
    assert!(!stand.kernel.state().steps.contains(&NfsStep::Detach("/k/1".into())));
    stand.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn what_cannot_even_be_detached_is_an_error_and_not_removed() {
    let stand = Stand::new().await;
    stand.publish(VOLUME, "/k/1").await.unwrap();
    stand.kernel.state().unmount.extend([Fate::Hangs; 99]);
    stand.kernel.state().detach.extend([Fate::Fails(Errno::EPERM); 99]);
    let error = stand.unpublish("/k/1").await.unwrap_err();
    assert_eq!(error.code(), Code::Internal);
    assert!(error.message().starts_with("cannot clear /k/1"), "{error}");
    assert_eq!((stand.kernel.state().mounts.len(), stand.tunnel.ports()), (1, vec![PORT]));
}

#[tokio::test(start_paused = true)]
async fn a_retry_joins_the_unmount_of_a_call_that_was_given_up() {
    let stand = Stand::new().await;
    stand.publish(VOLUME, "/k/1").await.unwrap();
    stand.kernel.state().unmount.push_back(Fate::Takes(Duration::from_secs(20)));
    {
        let first = stand.unpublish("/k/1");
        assert!(tokio::time::timeout(Duration::from_secs(1), first).await.is_err());
    }
    stand.unpublish("/k/1").await.unwrap();
    let unmounts = |step: &&NfsStep| matches!(step, NfsStep::Unmount(_));
    assert_eq!(stand.kernel.state().steps.iter().filter(unmounts).count(), 1);
    stand.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn without_the_tunnel_a_volume_is_unpublished_all_the_same() {
    let stand = Stand::new().await;
    stand.publish(VOLUME, "/k/1").await.unwrap();
    stand.tunnel.state().gone = true;
    stand.unpublish("/k/1").await.unwrap();
    assert!(stand.kernel.state().mounts.is_empty());
    stand.tunnel.state().gone = false;
    stand.node.reconcile().await.unwrap();
    stand.assert_clean();
}
