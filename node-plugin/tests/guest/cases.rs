//! What kubelet asks for, and what pods and servers do meanwhile.

use std::time::Duration;

use futures_util::future::join_all;
use nix::sys::signal::Signal;
use tokio::time::Instant;
use tonic::Code;

use super::stand::{OTHER, Stand, UNMOUNT_TIMEOUT, VOLUME};

const PODS: &str = "/var/lib/kubelet/pods";

pub(crate) async fn a_pod_writes_and_everything_is_gone_afterwards(stand: &Stand) {
    let target = format!("{PODS}/a");
    stand.publish(VOLUME, &target).await.unwrap();
    stand.publish(VOLUME, &target).await.unwrap();
    let table = stand.run(&format!("grep ' {target} ' /proc/self/mountinfo"));
    for part in
        ["- nfs4 127.0.0.1:/ ", "vers=4.1", "rsize=1048576", "hard", "noresvport", "port=20"]
    {
        assert!(table.contains(part), "{part} is not in {table}");
    }
    assert_eq!(table.lines().count(), 1);
    let ahead = stand.run(&format!("cat /sys/class/bdi/$(stat -c %Hd:%Ld {target})/read_ahead_kb"));
    assert_eq!(ahead.trim(), "15360");
    stand.run(&format!("echo marker >{target}/a && sync {target}/a"));
    assert_eq!(stand.exported("a").as_deref(), Some(&b"marker\n"[..]));

    let usage = stand.measure(&target, Duration::from_secs(30)).await.unwrap();
    let units: Vec<i32> = usage.iter().map(|usage| usage.unit).collect();
    assert_eq!(units, [1, 2]);
    assert!(usage[0].total > 0 && usage[1].total > 0);
    let elsewhere = stand.measure(&format!("{PODS}/b"), Duration::from_secs(30)).await;
    assert_eq!(elsewhere.unwrap_err().code(), Code::NotFound);

    let other = stand.publish(OTHER, &target).await.unwrap_err();
    assert_eq!(other.code(), Code::AlreadyExists, "{other}");
    for _ in 0..2 {
        stand.unpublish(&target).await.unwrap();
    }
    stand.assert_clean(PODS).await;
}

pub(crate) async fn two_pods_on_one_volume_share_a_port_and_end_one_by_one(stand: &Stand) {
    let [first, second] = ["a", "b"].map(|pod| format!("{PODS}/{pod}"));
    stand.publish(VOLUME, &first).await.unwrap();
    stand.publish(VOLUME, &second).await.unwrap();
    assert_eq!(stand.ports().len(), 1);
    stand.unpublish(&first).await.unwrap();
    stand.run(&format!("echo on >{second}/on && sync {second}/on"));
    assert_eq!(stand.exported("on").as_deref(), Some(&b"on\n"[..]));
    stand.unpublish(&second).await.unwrap();
    stand.assert_clean(PODS).await;
}

/// The kernel sees one server behind two ports and keeps one transport, the first mount's.
pub(crate) async fn two_file_systems_behind_one_server_end_one_by_one(stand: &Stand) {
    let [first, second] = ["a", "b"].map(|pod| format!("{PODS}/{pod}"));
    stand.publish(VOLUME, &first).await.unwrap();
    stand.publish(OTHER, &second).await.unwrap();
    // Where it keeps one superblock too, both mounts show the first port, and the second one, which
    // nothing uses, may be closed already.
    let table = stand.run(&format!("grep ' {second} ' /proc/self/mountinfo"));
    let served = stand.ports();
    assert!(
        served.iter().any(|port| table.contains(&format!("port={port},"))),
        "{served:?}, {table}"
    );
    stand.unpublish(&first).await.unwrap();
    let started = Instant::now();
    stand.run(&format!("timeout 20 sh -c 'echo more >{second}/more && sync {second}/more'"));
    eprintln!("a write after the first port's last mount is gone: {:?}", started.elapsed());
    assert_eq!(stand.exported("more").as_deref(), Some(&b"more\n"[..]));
    stand.unpublish(&second).await.unwrap();
    stand.assert_clean(PODS).await;
}

pub(crate) async fn a_killed_plugin_finds_its_mounts_again(stand: &Stand) {
    let target = format!("{PODS}/a");
    stand.publish(VOLUME, &target).await.unwrap();
    stand.kill_node();
    stand.run(&format!("echo alone >{target}/alone && sync {target}/alone"));
    stand.start_node().await;
    stand.publish(VOLUME, &target).await.unwrap();
    let count = stand.run(&format!("grep -c ' {target} ' /proc/self/mountinfo"));
    assert_eq!(count.trim(), "1");
    stand.unpublish(&target).await.unwrap();
    stand.assert_clean(PODS).await;
}

pub(crate) async fn a_silent_server_hangs_no_call_and_gets_its_data_when_it_is_back(stand: &Stand) {
    let target = format!("{PODS}/a");
    stand.publish(VOLUME, &target).await.unwrap();
    stand.start_writer(&format!("{target}/late"));
    stand.server(Signal::SIGSTOP);
    // From now on the writer's data waits in the guest's memory, and its close waits for the server.
    stand.run("echo go >/tmp/go");
    let limit = Duration::from_secs(4);
    let silent = stand.measure(&target, limit).await.unwrap_err();
    assert_eq!(silent.code(), Code::DeadlineExceeded, "{silent}");

    let started = Instant::now();
    stand.unpublish(&target).await.unwrap();
    let elapsed = started.elapsed();
    eprintln!("unpublished from a silent server in {elapsed:?}");
    assert!(elapsed < UNMOUNT_TIMEOUT + Duration::from_secs(6), "{elapsed:?}");
    let mounts = stand.run("grep -c ' nfs4 ' /proc/self/mountinfo || true");
    assert_eq!(mounts.trim(), "0");
    assert_eq!(stand.ports().len(), 1, "its data is still to be written through the port");

    stand.server(Signal::SIGCONT);
    let started = Instant::now();
    while stand.exported("late").is_none_or(|text| !text.ends_with(b"late\n")) {
        assert!(started.elapsed() < Duration::from_mins(1), "{}", stand.last_words());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    stand.assert_clean(PODS).await;
}

pub(crate) async fn a_directory_that_is_not_there_is_named(stand: &Stand) {
    let volume = format!("{VOLUME}:/nowhere");
    let error = stand.publish(&volume, &format!("{PODS}/a")).await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound, "{error}");
    assert!(error.message().contains("does not exist"), "{error}");
    stand.assert_clean(PODS).await;
}

pub(crate) async fn pods_come_and_go_at_once(stand: &Stand) {
    let pods = (0..24).map(|i| async move {
        let (volume, target) = (if i % 2 == 0 { VOLUME } else { OTHER }, format!("{PODS}/{i}"));
        stand.publish(volume, &target).await.unwrap();
        stand.unpublish(&target).await.unwrap();
    });
    let started = Instant::now();
    join_all(pods).await;
    eprintln!("24 pods came and went in {:?}", started.elapsed());
    stand.assert_clean(PODS).await;
}
