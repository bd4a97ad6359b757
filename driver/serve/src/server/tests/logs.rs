//! One line for each call, with what is needed and nothing that is secret.

use csi_proto::csi::ProbeRequest;
use csi_proto::csi::identity_client::IdentityClient;

use super::bench::{Bench, create, request};
use crate::health;

#[tokio::test]
async fn a_call_leaves_one_line_with_its_name_subject_code_time_and_id_and_no_secret() {
    let bench = Bench::start().await;
    let mut request = request("pvc-1");
    request.secrets.insert("password".to_owned(), "hunter2".to_owned());
    create(bench.client().await, request).await.unwrap();

    let ends = bench.ends(1).await;
    assert_eq!(ends.len(), 1, "{ends:?}");
    let line = &ends[0];
    let expected = [
        r#""level":"INFO""#,
        r#""code":"OK""#,
        r#""seconds":0."#,
        r#""rpc":"CreateVolume""#,
        r#""csi_name":"pvc-1""#,
        r#""volume":"vol-1""#,
    ];
    for part in expected {
        assert!(line.contains(part), "{part} is missing in {line}");
    }
    assert_eq!(line.matches(r#""name":"#).count(), 1, "a key stands twice in {line}");
    let (_, id) = line.split_once(r#""request":""#).unwrap();
    let id = id.split('"').next().unwrap();
    assert!(id.len() >= 6 && id.contains('-'), "{line}");
    assert!(!bench.log.text().contains("hunter2"), "{}", bench.log.text());
}

#[tokio::test]
async fn a_refusal_is_logged_with_its_reason_as_the_callers_affair() {
    let bench = Bench::start().await;
    bench.create("refuse").await.unwrap_err();
    let ends = bench.ends(1).await;
    assert!(ends[0].contains(r#""level":"INFO""#), "{}", ends[0]);
    assert!(ends[0].contains(r#""error":"iops: must be a number""#), "{}", ends[0]);
}

#[tokio::test]
async fn a_probe_that_succeeds_is_logged_for_debugging_only() {
    let bench = Bench::start().await;
    let mut client = IdentityClient::new(health::connect(&bench.endpoint).await.unwrap());
    client.probe(ProbeRequest {}).await.unwrap();
    let ends = bench.ends(1).await;
    assert!(ends[0].contains(r#""level":"DEBUG""#), "{}", ends[0]);
}

#[tokio::test]
async fn a_hostile_name_cannot_forge_a_line() {
    let bench = Bench::start().await;
    bench.create("x\nERROR call ended").await.unwrap();
    bench.ends(1).await;
    assert_eq!(bench.log.text().lines().filter(|line| line.starts_with("ERROR")).count(), 0);
}
