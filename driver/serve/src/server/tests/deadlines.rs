//! The caller's patience.

use std::time::Duration;

use tokio::time::Instant;
use tonic::{Code, Request};

use super::bench::{Bench, create, request};

async fn create_within_a_second(bench: &Bench, name: &str) -> (tonic::Status, Duration) {
    let mut request = Request::new(request(name));
    request.set_timeout(Duration::from_secs(1));
    let started = Instant::now();
    let status = create(bench.client().await, request).await.unwrap_err();
    (status, started.elapsed())
}

#[tokio::test]
async fn a_handler_that_does_not_end_gets_deadline_exceeded_and_not_cancelled() {
    let bench = Bench::start().await;
    let (status, took) = create_within_a_second(&bench, "hang").await;
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    assert!(status.message().contains("CreateVolume did not end within the 1 s"), "{status}");
    assert!(took < Duration::from_secs(1), "{took:?}");
    let ends = bench.ends(1).await;
    assert!(ends[0].contains(r#""code":"DEADLINE_EXCEEDED""#), "{}", ends[0]);
    assert!(ends[0].contains(r#""level":"WARN""#), "{}", ends[0]);
}

#[tokio::test]
async fn a_handler_that_heeds_its_deadline_says_what_it_was_waiting_for() {
    let bench = Bench::start().await;
    let (status, _) = create_within_a_second(&bench, "explain").await;
    assert_eq!(status.message(), "vol-1 is still being made");
}
