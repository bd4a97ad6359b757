//! Ports: open while anything needs them, made again when they are lost, closed by nobody too early.

use std::sync::Arc;

use csi_serve::Readiness;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use super::kernel::Fate;
use super::*;

#[tokio::test(start_paused = true)]
async fn a_port_that_the_kernel_still_uses_is_closed_once_it_does_not() {
    let stand = Stand::new().await;
    stand.publish(VOLUME, "/k/1").await.unwrap();
    stand.kernel.state().lingering.insert(PORT);
    stand.unpublish("/k/1").await.unwrap();
    assert_eq!(stand.node.reconcile().await.unwrap().lingering, [PORT]);
    assert_eq!(stand.tunnel.ports(), [PORT], "data may still have to be written through it");
    stand.kernel.state().lingering.clear();
    stand.tunnel.state().in_use.push(PORT);
    assert_eq!(stand.node.reconcile().await.unwrap().lingering, [PORT]);
    stand.tunnel.state().in_use.clear();
    assert_eq!(stand.node.reconcile().await.unwrap().closed, [PORT]);
    stand.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn a_port_that_the_tunnel_lost_is_made_again_for_its_mounts_also_after_a_restart() {
    let stand = Stand::new().await;
    stand.publish(OTHER, "/k/0").await.unwrap();
    stand.publish(VOLUME, "/k/1").await.unwrap();
    let lost = stand.tunnel.state().ports.remove(&20_050).unwrap();
    let stand = stand.restarted().await;
    assert_eq!(stand.node.readiness(), Readiness::Starting);
    assert_eq!(stand.node.reconcile().await.unwrap().made, [20_050]);
    assert_eq!(stand.tunnel.state().ports[&20_050], lost);
    assert_eq!(stand.node.readiness(), Readiness::Ready);
}

#[tokio::test(start_paused = true)]
async fn the_node_is_not_ready_while_a_mount_has_no_port() {
    let stand = Stand::new().await;
    stand.publish(VOLUME, "/k/1").await.unwrap();
    stand.tunnel.state().gone = true;
    stand.node.reconcile().await.unwrap_err();
    assert_eq!(stand.node.readiness(), Readiness::Starting);
    {
        let mut served = stand.tunnel.state();
        served.gone = false;
        served.ports.clear();
        let other = tunnel::ensure("fs-00000000").identity;
        served.ports.insert(PORT - 1, other);
        served.most = 1;
    }
    assert_eq!(stand.node.reconcile().await.unwrap().missing, [PORT]);
    assert_eq!(stand.node.readiness(), Readiness::Starting);
}

#[tokio::test(start_paused = true)]
async fn a_port_is_not_closed_while_a_publication_is_about_to_use_it() {
    let stand = Arc::new(Stand::new().await);
    stand.kernel.state().mount.push_back(Fate::Takes(Duration::from_secs(30)));
    let publishing = tokio::spawn({
        let stand = Arc::clone(&stand);
        async move { stand.publish(VOLUME, "/k/1").await }
    });
    sleep(Duration::from_secs(1)).await;
    assert_eq!(stand.node.reconcile().await.unwrap().lingering, [PORT]);
    publishing.await.unwrap().unwrap();
    assert_eq!(stand.tunnel.ports(), [PORT]);
}

#[tokio::test(start_paused = true)]
async fn what_was_left_open_by_a_killed_plugin_is_closed() {
    let stand = Stand::new().await;
    stand.kernel.state().mount.push_back(Fate::Hangs);
    let limit = Duration::from_secs(3);
    let late = stand.call_publish(publish(VOLUME, "/k/1"), limit).await.unwrap_err();
    assert_eq!(late.code(), Code::DeadlineExceeded);
    let stand = stand.restarted().await;
    stand.node.reconcile().await.unwrap();
    assert_eq!(stand.tunnel.ports(), [0; 0]);
    stand.unpublish("/k/1").await.unwrap();
    stand.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn the_reconciler_goes_on_through_a_tunnel_that_is_away_and_ends_when_asked() {
    let stand = Stand::new().await;
    stand.publish(VOLUME, "/k/1").await.unwrap();
    stand.tunnel.state().gone = true;
    let (node, stop) = (stand.node.clone(), CancellationToken::new());
    let ended = stop.clone();
    let task = tokio::spawn(async move { node.keep_reconciled(ended).await });
    sleep(Duration::from_secs(30)).await;
    assert_eq!(stand.node.readiness(), Readiness::Starting);
    stand.tunnel.state().gone = false;
    stand.tunnel.state().ports.clear();
    sleep(Duration::from_secs(2)).await;
    assert_eq!(stand.tunnel.ports(), [PORT]);
    assert_eq!(stand.node.readiness(), Readiness::Ready);
    stand.unpublish("/k/1").await.unwrap();
    stop.cancel();
    task.await.unwrap();
    stand.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn five_hundred_pods_come_and_go_and_leave_nothing() {
    let stand = Stand::new().await;
    let volumes: Vec<String> = (0..4).map(|i| format!("efs:fs-9210741{i}")).collect();
    let pods = (0..500).map(|i| {
        let (stand, volume) = (&stand, &volumes[i % 4]);
        async move {
            let target = format!("/k/{i}");
            stand.publish(volume, &target).await.unwrap();
            sleep(Duration::from_millis(i as u64 % 7)).await;
            stand.unpublish(&target).await.unwrap();
        }
    });
    futures_util::future::join_all(pods).await;
    stand.node.reconcile().await.unwrap();
    assert_eq!(stand.kernel.mounted(), 500);
    stand.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_that_comes_back_without_its_listeners_gets_the_copies() {
    let stand = Stand::new().await;
    stand.publish(VOLUME, "/k/1").await.unwrap();
    stand.tunnel.state().unbound.insert(PORT);
    assert_eq!(stand.node.reconcile().await.unwrap().made, [PORT]);
    assert!(stand.tunnel.state().unbound.is_empty());

    // One that was started again has no copy, until a tunnel that has the port lends it one.
    let stand = stand.restarted().await;
    stand.tunnel.state().unbound.insert(PORT);
    assert_eq!(stand.node.reconcile().await.unwrap().missing, [PORT]);
    assert_eq!(stand.node.readiness(), Readiness::Starting);
    stand.tunnel.state().unbound.clear();
    stand.node.reconcile().await.unwrap();
    stand.tunnel.state().unbound.insert(PORT);
    assert_eq!(stand.node.reconcile().await.unwrap().made, [PORT]);
    assert_eq!(stand.node.readiness(), Readiness::Ready);
}

#[tokio::test(start_paused = true)]
async fn every_mount_of_a_pod_has_its_state_for_a_rollback_as_long_as_it_is_mounted() {
    let stand = Stand::new().await;
    for target in ["/k/1", "/k/2", "/elsewhere/3"] {
        stand.publish(VOLUME, target).await.unwrap();
    }
    stand.node.reconcile().await.unwrap();
    let states = |stand: &Stand| {
        let mut files = stand.files("");
        files.retain(|name| name.starts_with("fs-"));
        files.sort();
        files
    };
    assert_eq!(states(&stand), ["fs-92107410.k.1.20049", "fs-92107410.k.2.20049"]);
    // One that is lost is written again, one that a killed plugin left is removed.
    std::fs::remove_file(stand.folder.path().join("fs-92107410.k.2.20049")).unwrap();
    stand.unpublish("/k/1").await.unwrap();
    let stand = stand.restarted().await;
    stand.node.reconcile().await.unwrap();
    assert_eq!(states(&stand), ["fs-92107410.k.2.20049"]);
    assert!(stand.files("").contains(&"stunnel-config.fs-92107410.k.2.20049".to_owned()));
}
