//! What the control socket promises.

use std::os::unix::fs::PermissionsExt;

use efs_tunnel::control::{ClientError, Ensure, Health, RefusalKind};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use crate::stand::{Stand, clear, connect, echo, ensure, until_closed};
use crate::target::{Manner, Target};

fn refusal<T: std::fmt::Debug>(result: Result<T, ClientError>) -> RefusalKind {
    match result.unwrap_err() {
        ClientError::Refused(refusal) => refusal.kind,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn the_same_identity_has_the_same_port_and_another_has_another() {
    let stand = Stand::start().await;
    let target = Target::clear(Manner::Echo).await;
    let first = stand.client.ensure(ensure(clear(target.address))).await.unwrap();
    let again = stand.client.ensure(ensure(clear(target.address))).await.unwrap();
    assert!(first.opened && !again.opened);
    assert_eq!(first.port, again.port);
    let mut other = clear(target.address);
    other.file_system = "fs-0badbad0".parse().unwrap();
    assert_ne!(stand.serve(other).await, first.port);
    assert_eq!(stand.health().await.ports, 2);
}

#[tokio::test]
async fn a_port_that_the_kernel_uses_is_not_closed() {
    let stand = Stand::start().await;
    let target = Target::clear(Manner::Echo).await;
    let port = stand.serve(clear(target.address)).await;
    let line = format!("NV SERVER   PORT USE HOSTNAME\nv4 7f000001 {port:x} 1 127.0.0.1\n");
    std::fs::write(stand.nfs_servers(), line).unwrap();
    assert_eq!(refusal(stand.client.release(port).await), RefusalKind::InUse);
    assert!(stand.status(port).await.used_by_kernel);
    let mut stream = connect(port).await;
    echo(&mut stream, "still served").await.unwrap();
    std::fs::remove_file(stand.nfs_servers()).unwrap();
    assert!(stand.client.release(port).await.unwrap());
    assert!(!stand.client.release(port).await.unwrap(), "it may be repeated");
    assert!(echo(&mut stream, "no more").await.is_err());
    until_closed(port).await;
}

#[tokio::test]
async fn a_wanted_port_is_given_or_refused_but_never_shared() {
    let stand = Stand::start().await;
    let target = Target::clear(Manner::Echo).await;
    let port = stand.serve(clear(target.address)).await;
    let mut other = clear(target.address);
    other.file_system = "fs-0badbad0".parse().unwrap();
    let pinned = |port| Ensure { port: Some(port), ..ensure(other.clone()) };
    assert_eq!(refusal(stand.client.ensure(pinned(port)).await), RefusalKind::Taken);
    let foreign = target.address.port();
    assert_eq!(refusal(stand.client.ensure(pinned(foreign)).await), RefusalKind::Taken);
    assert_eq!(stand.client.ensure(pinned(port - 1)).await.unwrap().port, port - 1);
    assert_eq!(refusal(stand.client.ensure(pinned(port - 2)).await), RefusalKind::Invalid);
}

#[tokio::test]
async fn an_access_point_without_tls_is_refused_and_nothing_is_opened() {
    let stand = Stand::start().await;
    let mut identity = clear("127.0.0.1:1".parse().unwrap());
    identity.access_point = Some("fsap-0123456789abcdef0".parse().unwrap());
    assert_eq!(refusal(stand.client.ensure(ensure(identity)).await), RefusalKind::Invalid);
    assert_eq!(stand.health().await.ports, 0);
}

#[tokio::test]
async fn the_socket_is_closed_to_others_and_speaks_one_line_per_request() {
    let stand = Stand::start().await;
    let socket = stand.client.socket();
    let mode = std::fs::metadata(socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut stream = BufReader::new(UnixStream::connect(socket).await.unwrap());
    let mut ask = async |line: &str| {
        stream.write_all(line.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_line(&mut answer).await.unwrap();
        answer
    };
    assert!(ask("nonsense\n").await.contains("\"kind\":\"invalid\""));
    assert!(ask("{\"version\":2,\"health\":{}}\n").await.contains("\"kind\":\"version\""));
    assert!(ask("{\"version\":1,\"list\":{},\"later\":1}\n").await.starts_with("{\"version\":1"));
}

#[tokio::test]
async fn only_the_own_instance_makes_a_pod_ready() {
    let stand = Stand::start().await;
    let health = stand.health().await;
    assert!(health.is_ready_here());
    let elsewhere = Health { namespace: "pid:[1]".to_owned(), ..health };
    assert!(!elsewhere.is_ready_here(), "the predecessor's word, during an upgrade");
}
