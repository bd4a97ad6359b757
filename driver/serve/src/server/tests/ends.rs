//! How a server ends, and what may not be served.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use super::bench::{Bench, PATIENCE, args, create, request};
use crate::server::{ServeError, Server};
use crate::socket::BindError;
use crate::{Endpoint, Identity, Metrics, health};

#[tokio::test]
async fn calls_under_way_are_answered_then_operations_are_drained_then_the_socket_is_gone() {
    let drained = Arc::new(Semaphore::new(0));
    let wait = Arc::clone(&drained);
    let bench = Bench::start_with(&[], async move {
        wait.acquire().await.unwrap().forget();
    })
    .await;
    let client = bench.client().await;
    let call = tokio::spawn(create(client, request("wait")));
    bench.handler_started().await;

    bench.shutdown.cancel();
    let refused = async {
        while health::connect(&bench.endpoint).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, refused).await.expect("new clients are refused");

    bench.plugin.go_on.add_permits(1);
    let answer = timeout(PATIENCE, call).await.unwrap().unwrap().unwrap();
    assert_eq!(answer.volume.unwrap().volume_id, "vol-1");
    tokio::task::yield_now().await;
    assert!(!bench.server.is_finished(), "an operation is left");

    drained.add_permits(1);
    let path = bench.path();
    timeout(PATIENCE, bench.server).await.unwrap().unwrap().unwrap();
    assert!(!path.exists());
}

#[tokio::test]
async fn work_that_does_not_end_is_left_behind_when_the_grace_period_is_over() {
    let bench = Bench::start_with(&["--grace-period=200ms"], pending()).await;
    let client = bench.client().await;
    let call = tokio::spawn(create(client, request("hang")));
    bench.handler_started().await;

    let cancelled = Instant::now();
    bench.shutdown.cancel();
    let path = bench.path();
    timeout(PATIENCE, bench.server).await.unwrap().unwrap().unwrap();
    assert!(cancelled.elapsed() >= Duration::from_millis(200));
    assert!(!path.exists());
    assert!(bench.log.text().contains("the grace period is over"));
    call.abort();
}

#[tokio::test]
async fn a_second_server_at_a_live_socket_is_refused_and_the_first_one_serves_on() {
    let bench = Bench::start().await;
    let routes = Routes::new(Identity::new("test.csi", "1", &[], &[]).into_service());
    let second = Server::new(&args(&bench.endpoint, &[]), Metrics::new("test"), routes);
    let error = second.run(CancellationToken::new(), pending()).await.unwrap_err();
    assert!(matches!(error, ServeError::Bind(BindError::Live { .. })), "{error:?}");
    bench.create("fine").await.unwrap();
}

#[tokio::test]
async fn a_plugin_may_have_a_second_socket_with_other_services() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second] =
        ["csi.sock", "reg.sock"].map(|name| Endpoint::Unix(folder.path().join(name)));
    let routes = || Routes::new(Identity::new("test.csi", "1", &[], &[]).into_service());
    let shutdown = CancellationToken::new();
    let server = Server::new(&args(&first, &[]), Metrics::new("test"), routes())
        .and_at(second.clone(), routes());
    let server = tokio::spawn(server.run(shutdown.clone(), std::future::ready(())));
    for endpoint in [first, second] {
        let answers = async {
            while health::probe(&endpoint).await.is_err() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, answers).await.unwrap();
    }
    shutdown.cancel();
    timeout(PATIENCE, server).await.unwrap().unwrap().unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
