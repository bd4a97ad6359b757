//! Live mounts of the driver that this one replaces.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use efs_tunnel::control::PortState;
use efs_tunnel::upstream::{Mount, leftovers};
use jiff::Timestamp;

use crate::stand::{Stand, clear, connect, echo_at_last, until};
use crate::target::{Manner, Target};

#[tokio::test]
async fn a_live_mount_of_efs_utils_is_served_as_soon_as_its_proxy_leaves_the_port() {
    let target = Target::clear(Manner::Echo).await;
    let proxy = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = proxy.local_addr().unwrap().port();
    let folder = tempfile::tempdir().unwrap();
    let mount = Mount {
        identity: clear(target.address),
        port,
        mountpoint: folder.path().join("kubelet/pods/1/volumes/pv/mount"),
        mounted_at: Timestamp::now(),
        common_name: "node".to_owned(),
    };
    fs::create_dir(folder.path().join("run")).unwrap();
    mount.record(&folder.path().join("run")).unwrap();
    let servers = format!("NV SERVER   PORT USE HOSTNAME\nv4 7f000001 {port:x} 1 127.0.0.1\n");
    fs::write(folder.path().join("servers"), servers).unwrap();

    let mut stand = Stand::start_in(folder).await;
    assert_eq!(stand.status(port).await.state, PortState::Unbound);
    assert!(!stand.health().await.ready, "not ready before every mount is served");
    drop(proxy);
    until("the port is taken", async || stand.health().await.ready).await;
    echo_at_last(port, "adopted", Duration::from_secs(5)).await;
    assert_eq!(stand.serve(clear(target.address)).await, port, "it is an identity like others");

    // It stays adopted when efs-utils' files are gone.
    let run = stand.folder.path().join("run");
    for left in leftovers(&run, &stand.folder.path().join("kubelet"), |_, _| false) {
        left.remove(&run).unwrap();
    }
    assert!(!mount.is_recorded(&run));
    stand.restart().await;
    let _stream = connect(port).await;
    echo_at_last(port, "still", Duration::from_secs(5)).await;
}
