//! Defects, abandoned calls, too many calls.

use tonic::Code;

use super::bench::Bench;
use crate::health;

#[tokio::test]
async fn a_panic_in_a_handler_is_an_answer_and_the_server_lives() {
    let bench = Bench::start().await;
    let status = bench.create("panic").await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    assert!(status.message().starts_with("the call broke off by a defect"), "{status}");
    let (_, id) = status.message().split_once("(request ").unwrap();

    bench.create("fine").await.unwrap();
    let ends = bench.ends(2).await;
    assert!(ends[0].contains(r#""level":"ERROR""#), "{}", ends[0]);
    assert!(ends[0].contains(r#""code":"INTERNAL""#), "{}", ends[0]);
    assert!(ends[0].contains(id.trim_end_matches(')')), "{}", ends[0]);
    let counted = r#"rpc_duration_seconds_count{rpc="CreateVolume",code="INTERNAL"} 1"#;
    assert!(bench.metrics.encode().unwrap().contains(counted));
}

#[tokio::test]
async fn a_call_whose_client_goes_away_is_logged_and_counted_once() {
    let bench = Bench::start().await;
    let client = bench.client().await;
    let call = tokio::spawn(super::bench::create(client, super::bench::request("hang")));
    bench.handler_started().await;
    call.abort();

    let ends = bench.ends(1).await;
    assert!(ends[0].contains(r#""code":"CANCELLED""#), "{}", ends[0]);
    assert!(ends[0].contains(r#""level":"INFO""#), "{}", ends[0]);
    bench.create("fine").await.unwrap();
    assert_eq!(bench.ends(2).await.len(), 2);
    let counted = r#"rpc_duration_seconds_count{rpc="CreateVolume",code="CANCELLED"} 1"#;
    assert!(bench.metrics.encode().unwrap().contains(counted));
}

#[tokio::test]
async fn one_mutation_too_many_is_told_to_come_again_and_the_probe_still_answers() {
    let bench = Bench::start().await;
    let mut calls = Vec::new();
    for _ in 0..2 {
        let client = bench.client().await;
        calls.push(tokio::spawn(super::bench::create(client, super::bench::request("wait"))));
        bench.handler_started().await;
    }
    let status = bench.create("fine").await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert!(health::probe(&bench.endpoint).await.unwrap());

    bench.plugin.go_on.add_permits(2);
    for call in calls {
        call.await.unwrap().unwrap();
    }
    bench.create("fine").await.unwrap();
}
