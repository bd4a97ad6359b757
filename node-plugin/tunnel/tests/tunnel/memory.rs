//! Memory: bounded, whatever clients and targets do.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::time::{sleep, timeout};

use crate::stand::{Stand, connect, echo, resident, secure};
use crate::target::{Authority, Manner, Target};

/// The goal of the whole is 64 MiB with the kernel's part; this is the process alone.
const LIMIT: u64 = 40 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forty_writers_against_stalled_targets_take_no_more_memory_with_time() {
    let stand = Stand::start().await;
    let authority = Authority::new();
    let target = Target::secure(&authority, Manner::Stall).await;
    let file = stand.ca_file(&authority.pem);
    let mut writers = Vec::new();
    for number in 0..40 {
        let mut identity = secure(target.address, file.clone());
        identity.access_point = Some(format!("fsap-{number:017x}").parse().unwrap());
        let port = stand.serve(identity).await;
        writers.push(tokio::spawn(async move {
            // 64 requests of 1 MiB, as many as a mount has in flight.
            loop {
                let mut stream = connect(port).await;
                for _ in 0..64 {
                    if stream.write_all(&vec![7; 1 << 20]).await.is_err() {
                        break;
                    }
                }
            }
        }));
    }
    sleep(Duration::from_secs(3)).await;
    let pid = stand.health().await.pid;
    let early = resident(pid);
    sleep(Duration::from_secs(5)).await;
    let late = resident(pid);
    println!("40 stalled writers: {early} KiB after 3 s, {late} KiB after 8 s");
    assert!(late < LIMIT, "{late} KiB");
    assert!(late < early + 4 * 1024, "it grows: {early} KiB, then {late} KiB");
    assert_eq!(stand.health().await.pid, pid, "it was not killed");
    for writer in writers {
        writer.abort();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_connection_takes_little() {
    let stand = Stand::start().await;
    let authority = Authority::new();
    let target = Target::secure(&authority, Manner::Echo).await;
    let file = stand.ca_file(&authority.pem);
    let pid = stand.health().await.pid;
    println!("no port: {} KiB", resident(pid));
    let (mut streams, mut ports) = (Vec::new(), Vec::new());
    for number in 0_u32..200 {
        let mut identity = secure(target.address, file.clone());
        identity.access_point = Some(format!("fsap-{number:017x}").parse().unwrap());
        ports.push(stand.serve(identity).await);
        if [1, 20, 200].contains(&ports.len()) {
            println!("{} idle listeners: {} KiB", ports.len(), resident(pid));
        }
    }
    let listening = resident(pid);
    for port in ports {
        let mut stream = connect(port).await;
        timeout(Duration::from_secs(20), echo(&mut stream, "hello")).await.unwrap().unwrap();
        streams.push(stream);
        if [1, 20, 200].contains(&streams.len()) {
            println!("200 listeners, {} idle connections: {} KiB", streams.len(), resident(pid));
        }
    }
    let each = (resident(pid) - listening) / 200;
    println!("{each} KiB for each connection");
    assert!(each < 100, "{each} KiB for each connection");
}
