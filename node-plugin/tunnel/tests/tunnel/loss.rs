//! Targets that are lost, dead, late or stuck.

use std::time::Duration;

use efs_tunnel::control::{Ensure, PortState};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, timeout};

use crate::stand::{Stand, clear, connect, echo, echo_at_last, ensure, secure, until};
use crate::target::{Authority, Manner, Target};

/// The goal: on within five seconds after a target is back.
const BACK: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_client_is_held_while_its_target_is_away_and_served_when_it_is_back() {
    let stand = Stand::start().await;
    let target = Target::clear(Manner::Echo).await;
    let address = target.address;
    let port = stand.serve(clear(address)).await;
    let mut stream = connect(port).await;
    echo(&mut stream, "before").await.unwrap();
    drop(target);
    let lost = stream.read(&mut [0; 1]).await.unwrap_err();
    assert_eq!(lost.kind(), std::io::ErrorKind::ConnectionReset);

    let mut stream = connect(port).await;
    stream.write_all(b"held").await.unwrap();
    sleep(Duration::from_secs(6)).await;
    let status = stand.status(port).await;
    assert_eq!((status.state, status.sent), (PortState::Waiting, 6), "unread until then");
    assert!(status.last_error.unwrap().contains("does not accept connections"));

    let back = Instant::now();
    let _target = Target::clear_at(address, Manner::Echo).await;
    let mut answer = [0; 4];
    timeout(BACK, stream.read_exact(&mut answer)).await.expect("not served in time").unwrap();
    assert_eq!(answer, *b"held");
    println!("served {:?} after the target came back", back.elapsed());
    let told = async || stand.status(port).await.last_error.is_none();
    until("the error is forgotten when the target answers", told).await;
}

#[tokio::test]
async fn a_target_that_closes_every_connection_sees_a_few_connects_per_second() {
    let stand = Stand::start().await;
    let target = Target::clear(Manner::Close).await;
    let port = stand.serve(clear(target.address)).await;
    let resets = async {
        let mut resets = 0;
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(6) {
            let mut stream = connect(port).await;
            let _ = stream.write_all(b"x").await;
            let _ = timeout(Duration::from_secs(6), stream.read(&mut [0; 1])).await;
            resets += 1;
        }
        resets
    };
    let resets = resets.await;
    println!("in 6 s: {} connects to the target, {resets} of the client", target.accepted());
    assert!((3..=12).contains(&target.accepted()), "{}", target.accepted());
    assert!(resets <= 12, "the client must not spin either: {resets}");
}

#[tokio::test]
async fn a_handshake_that_fails_is_repeated_with_pauses() {
    let stand = Stand::start().await;
    let target = Target::clear(Manner::Close).await;
    let file = stand.ca_file(&Authority::new().pem);
    let port = stand.serve(secure(target.address, file)).await;
    let _stream = connect(port).await;
    sleep(Duration::from_secs(4)).await;
    assert!((2..=9).contains(&target.accepted()), "{}", target.accepted());
    assert_eq!(stand.status(port).await.connections, 1, "the client was held, not reset");
}

#[tokio::test]
async fn the_next_target_takes_over_when_the_own_one_is_away() {
    let stand = Stand::start().await;
    let own = Target::clear(Manner::Echo).await;
    let other = Target::clear(Manner::Echo).await;
    let own_address = own.address;
    let failover = vec![other.address.to_string().parse().unwrap()];
    let identity = clear(own_address);
    let ensure = Ensure { failover: failover.clone(), ..ensure(identity) };
    let port = stand.client.ensure(ensure).await.unwrap().port;
    let mut stream = connect(port).await;
    echo(&mut stream, "own").await.unwrap();
    assert_eq!((own.accepted(), other.accepted()), (1, 0));
    drop(own);
    echo_at_last(port, "other", BACK).await;
    assert_eq!(other.accepted(), 1);
    assert_eq!(stand.status(port).await.connected_to, failover.first().cloned());
    let own = Target::clear_at(own_address, Manner::Echo).await;
    echo_at_last(port, "own again", BACK).await;
    assert_eq!(own.accepted(), 1);
}

#[tokio::test]
async fn a_stalled_target_does_not_slow_another_file_system() {
    let stand = Stand::start().await;
    let authority = Authority::new();
    let file = stand.ca_file(&authority.pem);
    let stalled = Target::secure(&authority, Manner::Stall).await;
    let quick = Target::secure(&authority, Manner::Echo).await;
    let stalled_port = stand.serve(secure(stalled.address, file.clone())).await;
    let quick_port = stand.serve(secure(quick.address, file)).await;
    assert_ne!(stalled_port, quick_port);
    let mut stuck = Vec::new();
    for _ in 0..8 {
        let mut stream = connect(stalled_port).await;
        let _ = timeout(Duration::from_millis(200), stream.write_all(&vec![7; 4 << 20])).await;
        stuck.push(stream);
    }
    let mut stream = connect(quick_port).await;
    echo(&mut stream, "warm").await.unwrap();
    let begin = Instant::now();
    for _ in 0..100 {
        echo(&mut stream, &"x".repeat(32 * 1024)).await.unwrap();
    }
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn a_client_that_leaves_while_its_target_stalls_takes_the_connection_with_it() {
    let stand = Stand::start().await;
    let target = Target::clear(Manner::Stall).await;
    let port = stand.serve(clear(target.address)).await;
    let mut stream = connect(port).await;
    let _ = timeout(Duration::from_millis(300), stream.write_all(&vec![7; 4 << 20])).await;
    assert_eq!(stand.status(port).await.connections, 1);
    stream.set_zero_linger().unwrap();
    drop(stream);
    until("the connection is gone", async || stand.status(port).await.connections == 0).await;
}

#[tokio::test]
async fn several_live_connections_of_one_port_do_not_push_each_other_out() {
    let stand = Stand::start().await;
    let target = Target::clear(Manner::Echo).await;
    let port = stand.serve(clear(target.address)).await;
    let mut streams = Vec::new();
    for _ in 0..4 {
        let mut stream = connect(port).await;
        echo(&mut stream, "new").await.unwrap();
        streams.push(stream);
    }
    for stream in &mut streams {
        echo(stream, "still").await.unwrap();
    }
}

#[tokio::test]
async fn a_new_connection_takes_the_place_of_one_that_has_been_stuck_for_long() {
    let stand = Stand::start().await;
    let target = Target::clear(Manner::Stall).await;
    let port = stand.serve(clear(target.address)).await;
    let mut stuck = connect(port).await;
    let _ = timeout(Duration::from_secs(1), stuck.write_all(&vec![7; 4 << 20])).await;
    let mut young = connect(port).await;
    young.write_all(b"x").await.unwrap();
    until("both live", async || stand.status(port).await.connections == 2).await;
    sleep(Duration::from_secs(11)).await;
    assert_eq!(stand.status(port).await.connections, 2, "nobody wanted the place yet");
    let _new = connect(port).await;
    let lost = timeout(Duration::from_secs(5), stuck.read(&mut [0; 1])).await.unwrap();
    assert_eq!(lost.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    assert!(timeout(Duration::from_millis(300), young.read(&mut [0; 1])).await.is_err());
}
