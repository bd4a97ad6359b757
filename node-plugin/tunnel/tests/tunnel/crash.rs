//! Death of the worker and of the supervisor, and their replacement.

use std::net::{Ipv4Addr, TcpStream as StdTcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use efs_tunnel::control::{ClientError, Ensure, RefusalKind};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::{Instant, sleep};

use crate::stand::{Stand, clear, connect, echo, echo_at_last, ensure, until, until_closed};
use crate::target::{Manner, Target};

/// Connects without pause and counts the refusals until it is told to stop.
fn knock(port: u16, stop: &AtomicBool, refused: &AtomicUsize) -> usize {
    let mut knocks = 0;
    while !stop.load(Ordering::Relaxed) {
        match StdTcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
            Ok(_) => knocks += 1,
            Err(_) => {
                refused.fetch_add(1, Ordering::Relaxed);
            }
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    knocks
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_never_refuses_while_its_worker_is_killed_under_load() {
    let stand = Stand::start().await;
    let target = Target::clear(Manner::Echo).await;
    let loaded = stand.serve(clear(target.address)).await;
    let mut other = clear(target.address);
    other.file_system = "fs-0badbad0".parse().unwrap();
    let knocked = stand.serve(other).await;
    let (stop, refused) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let knocking = std::thread::spawn({
        let (stop, refused) = (Arc::clone(&stop), Arc::clone(&refused));
        move || knock(knocked, &stop, &refused)
    });
    let mut longest = Duration::ZERO;
    for _ in 0..3 {
        let mut stream = connect(loaded).await;
        echo(&mut stream, &"x".repeat(100_000)).await.unwrap();
        let killed = Instant::now();
        let pid = stand.kill_worker().await;
        assert!(echo(&mut stream, "lost").await.is_err(), "the client sees the loss");
        echo_at_last(loaded, "on again", Duration::from_secs(10)).await;
        longest = longest.max(killed.elapsed());
        assert_ne!(stand.health().await.pid, pid);
        sleep(Duration::from_millis(300)).await;
    }
    stop.store(true, Ordering::Relaxed);
    let knocks = knocking.join().unwrap();
    println!("longest stall {longest:?}, {knocks} connections during it");
    assert_eq!(refused.load(Ordering::Relaxed), 0);
    assert!(knocks > 50, "{knocks}");
    assert_eq!(stand.health().await.restarts, 3);
}

#[tokio::test]
async fn a_supervisor_that_is_started_again_serves_the_same_ports() {
    let mut stand = Stand::start().await;
    let target = Target::clear(Manner::Echo).await;
    let port = stand.serve(clear(target.address)).await;
    echo_at_last(port, "before", Duration::from_secs(5)).await;
    let worker = stand.health().await.pid;
    stand.restart().await;
    assert_ne!(stand.health().await.pid, worker);
    echo_at_last(port, "after", Duration::from_secs(10)).await;
    assert_eq!(stand.serve(clear(target.address)).await, port);
    until("the old worker has left with its supervisor", async || {
        !std::path::Path::new(&format!("/proc/{worker}")).exists()
    })
    .await;
}

#[tokio::test]
async fn a_port_that_was_closed_stays_closed_after_a_crash() {
    let stand = Stand::start().await;
    let target = Target::clear(Manner::Echo).await;
    let port = stand.serve(clear(target.address)).await;
    assert!(stand.client.release(port).await.unwrap());
    let pid = stand.kill_worker().await;
    until("another worker", async || stand.health().await.pid != pid).await;
    assert_eq!(stand.health().await.ports, 0);
    until_closed(port).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_never_refuses_while_its_tunnel_is_replaced_three_times() {
    let mut stand = Stand::start().await;
    let target = Target::clear(Manner::Echo).await;
    let port = stand.serve(clear(target.address)).await;
    let (stop, refused) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let knocking = std::thread::spawn({
        let (stop, refused) = (Arc::clone(&stop), Arc::clone(&refused));
        move || knock(port, &stop, &refused)
    });
    let writing = tokio::spawn({
        let stop = Arc::clone(&stop);
        async move {
            let mut longest = Duration::ZERO;
            while !stop.load(Ordering::Relaxed) {
                let begin = Instant::now();
                echo_at_last(port, "a record", Duration::from_secs(10)).await;
                longest = longest.max(begin.elapsed());
            }
            longest
        }
    });
    for _ in 0..3 {
        stand.replace().await;
        assert_eq!(stand.serve(clear(target.address)).await, port);
    }
    stop.store(true, Ordering::Relaxed);
    let (knocks, longest) = (knocking.join().unwrap(), writing.await.unwrap());
    println!("longest stall {longest:?}, {knocks} connections during three replacements");
    assert_eq!(refused.load(Ordering::Relaxed), 0);
    assert!(stand.client.release(port).await.unwrap());
    until_closed(port).await;
}

#[tokio::test]
async fn a_lent_listener_outlives_the_loss_of_the_whole_tunnel() {
    let mut stand = Stand::start().await;
    let target = Target::clear(Manner::Echo).await;
    let port = stand.serve(clear(target.address)).await;
    let listener = stand.client.lend(port).await.unwrap();
    stand.kill().await;
    let mut stream = connect(port).await;
    stand.start_again();
    until("another tunnel answers", async || stand.client.health().await.is_ok()).await;
    let health = stand.health().await;
    assert!(!health.ready, "the port is ours still, so the tunnel cannot have it");
    let again = Ensure { port: Some(port), ..ensure(clear(target.address)) };
    stand.client.ensure_on(again, Some(listener.as_fd())).await.unwrap();
    drop(listener);
    echo(&mut stream, "waited in the backlog").await.unwrap();
    assert!(stand.health().await.ready);
}

#[tokio::test]
async fn a_listener_of_another_port_is_not_served() {
    let stand = Stand::start().await;
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let wrong = Ensure { port: Some(22_000), ..ensure(clear("127.0.0.1:1".parse().unwrap())) };
    let answer = stand.client.ensure_on(wrong, Some(listener.as_fd())).await;
    assert!(
        matches!(answer, Err(ClientError::Refused(refusal)) if refusal.kind == RefusalKind::Invalid)
    );
}

#[tokio::test]
async fn a_worker_that_dies_is_followed_by_the_one_that_stands_by() {
    let stand = Stand::start().await;
    let target = Target::clear(Manner::Echo).await;
    let port = stand.serve(clear(target.address)).await;
    for restarts in 1..=2 {
        let next = stand.standby().await;
        let mut stream = connect(port).await;
        echo(&mut stream, "before").await.unwrap();
        let killed = Instant::now();
        let pid = stand.kill_worker().await;
        assert!(echo(&mut stream, "lost").await.is_err(), "the client sees the loss");
        echo_at_last(port, "on again", Duration::from_secs(10)).await;
        println!("on again after {:?}", killed.elapsed());
        let health = stand.health().await;
        assert_eq!((health.pid, health.restarts), (next, restarts), "not {pid}");
    }
}

#[tokio::test]
async fn one_that_dies_while_it_stands_by_is_no_loss() {
    let mut stand = Stand::start().await;
    let next = stand.standby().await;
    let pid = stand.health().await.pid;
    kill(Pid::from_raw(i32::try_from(next).unwrap()), Signal::SIGKILL).unwrap();
    until("it is buried", async || stand.workers() == [pid]).await;
    stand.kill_worker().await;
    until("another worker", async || stand.health().await.pid != pid).await;
    stand.standby().await;
    stand.replace().await;
    until("one serves and one stands by", async || stand.workers().len() == 2).await;
}
