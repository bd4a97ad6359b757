//! Access points as a real kernel mounts them: over NFSv4.1 through TLS.

use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use csi_bed::{Bed, BootError};
use csi_sim::targets::{Backend, Servers, has_nfs_server, server_name};
use rustls::pki_types::ServerName;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::bench::{Bench, FS, REGION, Wish};

async fn boot() -> Option<Bed> {
    if !has_nfs_server() {
        eprintln!("SKIPPED: nfs-ganesha is not installed");
        return None;
    }
    match tokio::task::spawn_blocking(Bed::boot).await.unwrap() {
        Ok(bed) => Some(bed),
        Err(BootError::NotRoot) => {
            eprintln!("SKIPPED: not root, so no guest machine");
            None
        }
        Err(error) => panic!("{error}: {error:?}"),
    }
}

/// A listener at loopback of the guest's host; the guest sees it at 10.0.2.2.
fn listen(bed: &Bed) -> TcpListener {
    let listener = bed.bind(([127, 0, 0, 1], 0).into()).unwrap();
    listener.set_nonblocking(true).unwrap();
    TcpListener::from_std(listener).unwrap()
}

/// Puts TLS around whatever comes to a port, which this returns.
fn relay(bed: &Arc<Bed>, bench: &Arc<Bench>, wish: Wish, tasks: &mut JoinSet<()>) -> u16 {
    let listener = listen(bed);
    let port = listener.local_addr().unwrap().port();
    let (bed, bench) = (Arc::clone(bed), Arc::clone(bench));
    tasks.spawn(async move {
        while let Ok((mut plain, _)) = listener.accept().await {
            let server = bed.connect(bench.target.address()).unwrap();
            server.set_nonblocking(true).unwrap();
            let name = ServerName::try_from(server_name(FS, REGION)).unwrap();
            let connector = bench.connector(wish.certificate(), &rustls::version::TLS13);
            let server = TcpStream::from_std(server).unwrap();
            let mut tls = connector.connect(name, server).await.unwrap();
            tokio::spawn(async move {
                let _ended = tokio::io::copy_bidirectional(&mut plain, &mut tls).await;
            });
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_access_points_see_their_own_directories_and_act_as_their_own_users() {
    let Some(bed) = boot().await else { return };
    let bed = Arc::new(bed);
    let folder = tempfile::tempdir().unwrap();
    let servers = Servers::new(folder.path());
    let bench = Arc::new(Bench::on(listen(&bed), Backend::Nfs(Arc::clone(&servers))));
    let mut tasks = JoinSet::new();
    let mut mount = String::from("set -e\n");
    for (name, id) in [("a", 1_000), ("b", 1_001)] {
        let point = bench.access_point(&format!("/base/{name}"), id, FS);
        let wish = Wish { access_point: Some(point), ..Wish::default() };
        let port = relay(&bed, &bench, wish, &mut tasks);
        mount += &mount_command(name, port);
    }
    mount += &mount_command("root", bench.target.address().port());
    let script = "echo one > /mnt/a/file; echo two > /mnt/b/file; sync
        ls /mnt/a /mnt/b; stat -c %u:%g /mnt/a/file /mnt/b/file; ls -d /mnt/root/base/*
        for m in a b root; do umount /mnt/$m; done";
    let said = {
        let (bed, script) = (Arc::clone(&bed), mount + script);
        tokio::task::spawn_blocking(move || bed.guest().run(&script)).await.unwrap().unwrap()
    };
    let want = "/mnt/a:\nfile\n\n/mnt/b:\nfile\n1000:1000\n1001:1001\n\
                /mnt/root/base/a\n/mnt/root/base/b\n";
    assert_eq!(said, want);
    let written = servers.data(FS).unwrap().join("base/b");
    let owner = std::fs::metadata(written.join("file")).unwrap();
    assert_eq!((owner.uid(), owner.gid()), (1_001, 1_001));
    assert_eq!(std::fs::read_to_string(written.join("file")).unwrap(), "two\n");
    assert_eq!(std::fs::metadata(&written).unwrap().mode() & 0o7777, 0o700);
    assert!(bench.target.refusals().is_empty());
    assert_eq!(servers.running().await, 3);
    servers.stop().await;
    tasks.shutdown().await;
}

fn mount_command(name: &str, port: u16) -> String {
    format!(
        "mkdir -p /mnt/{name}\nmount -t nfs4 -o vers=4.1,proto=tcp,addr=10.0.2.2,\
         clientaddr=10.0.2.15,port={port} 10.0.2.2:/ /mnt/{name}\n"
    )
}
