//! The NFS server behind a mount target.

use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use csi_sim::targets::{Backend, Servers, has_nfs_server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use super::bench::{Bench, FS, PATIENCE, Wish};

/// Calls procedure NULL of NFS version 4 (RFC 5531): whether the server accepts it.
async fn is_nfs(stream: &mut TlsStream<TcpStream>) -> bool {
    let call: [u32; 11] = [0x8000_0028, 7, 0, 2, 100_003, 4, 0, 0, 0, 0, 0];
    let bytes: Vec<u8> = call.iter().flat_map(|word| word.to_be_bytes()).collect();
    stream.write_all(&bytes).await.unwrap();
    let mut reply = [0; 28];
    if stream.read_exact(&mut reply).await.is_err() {
        return false;
    }
    let word = |at: usize| reply.get(at..at + 4).unwrap().to_vec();
    // The call's number, a reply, accepted, success.
    word(4) == [0, 0, 0, 7] && word(8) == [0, 0, 0, 1] && word(12) == [0; 4] && word(24) == [0; 4]
}

#[tokio::test]
async fn an_access_points_server_starts_at_the_first_connection_and_makes_its_root_directory() {
    if !has_nfs_server() || !nix::unistd::getuid().is_root() {
        eprintln!("SKIPPED: nfs-ganesha is not installed, or this is not root");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let servers = Servers::new(folder.path());
    let bench = Bench::with(Backend::Nfs(Arc::clone(&servers)), tokio::spawn(async {})).await;
    assert_eq!(servers.running().await, 0);
    let wishes = ["/base/a", "/base/b"].map(|path| Wish {
        access_point: Some(bench.access_point(path, 1_000 + u32::from(path.ends_with('b')), FS)),
        ..Wish::default()
    });
    for wish in &wishes {
        for _twice in 0..2 {
            let mut stream = bench.connect(wish).await.unwrap();
            let answered = timeout(PATIENCE, is_nfs(&mut stream)).await.unwrap();
            assert!(answered, "{}", bench.last_refusal());
        }
    }
    assert_eq!(servers.running().await, 2);
    let root = std::fs::metadata(servers.data(FS).unwrap().join("base/b")).unwrap();
    assert_eq!((root.uid(), root.gid(), root.mode() & 0o7777), (1_001, 1_001, 0o700));
    // The directory is deleted and made again, for whoever mounts next.
    std::fs::remove_dir(servers.data(FS).unwrap().join("base/b")).unwrap();
    let mut again = bench.connect(&wishes[1]).await.unwrap();
    assert!(timeout(PATIENCE, is_nfs(&mut again)).await.unwrap());
    assert!(servers.data(FS).unwrap().join("base/b").exists());
    assert_eq!(servers.running().await, 2);
    let mut whole = bench.connect(&Wish::default()).await.unwrap();
    assert!(timeout(PATIENCE, is_nfs(&mut whole)).await.unwrap());
    assert_eq!(servers.running().await, 3);
    servers.stop().await;
    assert_eq!(servers.running().await, 0);
    assert!(!timeout(PATIENCE, is_nfs(&mut whole)).await.unwrap_or(false));
}

#[tokio::test]
async fn idle_servers_make_room_for_new_ones() {
    if !has_nfs_server() || !nix::unistd::getuid().is_root() {
        eprintln!("SKIPPED: nfs-ganesha is not installed, or this is not root");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let servers = Servers::new(folder.path());
    let bench = Bench::with(Backend::Nfs(Arc::clone(&servers)), tokio::spawn(async {})).await;
    for n in 0..43 {
        let point = bench.access_point(&format!("/base/{n}"), 1_000 + n, FS);
        let wish = Wish { access_point: Some(point), ..Wish::default() };
        let mut stream = bench.connect(&wish).await.unwrap();
        assert!(timeout(PATIENCE, is_nfs(&mut stream)).await.unwrap());
    }
    let running = servers.running().await;
    assert!((39..=41).contains(&running), "{running}");
    servers.stop().await;
}
