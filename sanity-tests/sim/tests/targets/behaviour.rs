//! How mount targets misbehave.

use std::time::Duration;

use csi_sim::targets::Behaviour;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::bench::{Bench, PATIENCE, Wish, is_echoed};

/// Long enough for bytes to come if they were to come.
const MOMENT: Duration = Duration::from_millis(200);

#[tokio::test]
async fn a_stalled_target_holds_open_and_new_connections_until_it_goes_on() {
    let bench = Bench::start().await;
    for behaviour in [Behaviour::Stall, Behaviour::Silent] {
        let mut open = bench.connect(&Wish::default()).await.unwrap();
        assert!(is_echoed(&mut open).await);
        bench.target.behave(behaviour);
        assert!(timeout(MOMENT, is_echoed(&mut open)).await.is_err(), "{behaviour:?}");
        let wish = Wish::default();
        let mut new = Box::pin(bench.is_let_in(&wish));
        assert!(timeout(MOMENT, &mut new).await.is_err(), "{behaviour:?}");
        bench.target.behave(Behaviour::Normal);
        assert!(timeout(PATIENCE, new).await.unwrap(), "{behaviour:?}");
        let mut back = [0; 5];
        timeout(PATIENCE, open.read_exact(&mut back)).await.unwrap().unwrap();
        assert_eq!(&back, b"hello", "{behaviour:?}");
    }
}

#[tokio::test]
async fn a_slow_target_moves_so_many_bytes_a_second() {
    let bench = Bench::start().await;
    let mut open = bench.connect(&Wish::default()).await.unwrap();
    assert!(is_echoed(&mut open).await);
    bench.target.behave(Behaviour::Slow(100_000));
    let began = Instant::now();
    let (mut read, mut write) = tokio::io::split(&mut open);
    let (data, mut back) = (vec![7; 50_000], vec![0; 50_000]);
    let (sent, got) = tokio::join!(write.write_all(&data), read.read_exact(&mut back));
    sent.unwrap();
    got.unwrap();
    let took = began.elapsed();
    assert!(took > Duration::from_millis(400) && took < Duration::from_secs(5), "{took:?}");
}

#[tokio::test]
async fn a_reset_ends_connections_at_once_and_refuses_until_it_goes_on() {
    let bench = Bench::start().await;
    for behaviour in [Behaviour::Reset, Behaviour::Refuse] {
        let mut open = bench.connect(&Wish::default()).await.unwrap();
        assert!(is_echoed(&mut open).await);
        bench.target.behave(behaviour);
        let error = timeout(PATIENCE, open.read_u8()).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{behaviour:?}");
        if behaviour == Behaviour::Refuse {
            let refused = async {
                while TcpStream::connect(bench.target.address()).await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            timeout(PATIENCE, refused).await.unwrap();
        } else {
            assert!(!bench.is_let_in(&Wish::default()).await);
        }
        bench.target.behave(Behaviour::Normal);
        let again = async {
            while !bench.is_let_in(&Wish::default()).await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, again).await.unwrap();
    }
}
