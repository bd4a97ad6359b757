//! Against a metadata service in the test's own process.

mod fake;

use std::time::Duration;

use csi_core::Chain;
use tokio::time::Instant;

use self::fake::{Fake, Fault};
use super::*;

/// The error of a fetch, with its chain, and the time it took.
async fn failure(fake: &Fake) -> (ImdsError, String, Duration) {
    let started = Instant::now();
    let error = fetch(&fake.endpoint).await.unwrap_err();
    let text = Chain(&error).to_string();
    (error, text, started.elapsed())
}

#[tokio::test]
async fn facts_come_from_document_interfaces_and_devices_with_the_root_first() {
    let fake = Fake::start().await;
    let facts = fetch(&fake.endpoint).await.unwrap();
    assert_eq!(
        facts,
        InstanceFacts {
            instance: "i-0123456789abcdef0".parse().unwrap(),
            instance_type: "m5.large".to_owned(),
            zone: Zone("us-east-1a".to_owned()),
            region: "us-east-1".to_owned(),
            network_interfaces: Some(2),
            block_devices: Some(vec!["xvda".to_owned(), "sdb".to_owned(), "sdc".to_owned()]),
        }
    );
    assert_eq!(fake.tokens_given(), 1, "one token serves all questions");
}

#[tokio::test]
async fn a_second_look_uses_the_same_token_until_the_service_forgets_it() {
    let fake = Fake::start().await;
    let imds = Imds::new(fake.endpoint.clone());
    imds.facts().await.unwrap();
    imds.facts().await.unwrap();
    assert_eq!(fake.tokens_given(), 1);
    fake.forget_tokens();
    imds.facts().await.unwrap();
    assert_eq!(fake.tokens_given(), 2);
}

#[tokio::test]
async fn what_the_service_does_not_list_is_unknown_and_no_failure() {
    let fake = Fake::start().await;
    fake.set(Fault::Absent(MACS));
    assert_eq!(fetch(&fake.endpoint).await.unwrap().network_interfaces, None);
    fake.set(Fault::Absent(MAPPING));
    assert_eq!(fetch(&fake.endpoint).await.unwrap().block_devices, None);
    fake.set(Fault::Absent(DOCUMENT));
    let (error, text, _) = failure(&fake).await;
    assert!(matches!(error, ImdsError::Refused { .. }), "{text}");
    assert!(text.ends_with("document with 404 Not Found"), "{text}");
}

#[tokio::test]
async fn a_service_that_never_gives_a_token_is_known_by_its_hop_limit_within_three_seconds() {
    let fake = Fake::start().await;
    fake.set(Fault::Hang("/latest/api/token"));
    let (error, text, took) = failure(&fake).await;
    assert!(matches!(error, ImdsError::NoToken { .. }), "{text}");
    assert!(text.contains("set httpPutResponseHopLimit=2 or use --metadata-sources=kubernetes"));
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[tokio::test]
async fn a_service_that_hangs_later_is_given_up_within_three_seconds() {
    let fake = Fake::start().await;
    fake.set(Fault::Hang(MAPPING));
    let (error, text, took) = failure(&fake).await;
    assert!(matches!(&error, ImdsError::Silent { path, .. } if path == MAPPING), "{text}");
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[tokio::test]
async fn many_slow_answers_together_are_bounded_by_three_seconds() {
    let fake = Fake::start().await;
    fake.set(Fault::Slow(Duration::from_millis(900)));
    let (error, text, took) = failure(&fake).await;
    assert!(matches!(error, ImdsError::Silent { .. }), "{text}");
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[tokio::test]
async fn nobody_at_the_address_is_told_from_a_hop_limit() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", closed.local_addr().unwrap()).parse().unwrap();
    drop(closed);
    let started = Instant::now();
    let error = fetch(&endpoint).await.unwrap_err();
    let text = Chain(&error).to_string();
    assert!(matches!(error, ImdsError::Unreachable { .. }), "{text}");
    assert!(text.contains("this is no EC2 instance"), "{text}");
    assert!(text.to_lowercase().contains("refused"), "the cause is told: {text}");
    assert!(started.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn a_service_that_is_switched_off_is_named_so() {
    let fake = Fake::start().await;
    fake.set(Fault::Status("/latest/api/token", 403));
    let (error, text, _) = failure(&fake).await;
    assert!(matches!(error, ImdsError::Disabled { .. }), "{text}");
    assert!(text.contains("set httpEndpoint=enabled"), "{text}");
}

#[tokio::test]
async fn one_failure_of_the_service_is_tried_again_and_a_lasting_one_is_told() {
    let fake = Fake::start().await;
    fake.set(Fault::Once(DOCUMENT, 500));
    fetch(&fake.endpoint).await.unwrap();
    fake.set(Fault::Status(DOCUMENT, 500));
    let (error, text, _) = failure(&fake).await;
    assert!(matches!(error, ImdsError::Refused { .. }), "{text}");
}

#[tokio::test]
async fn garbage_instead_of_a_document_is_named_and_not_believed() {
    let fake = Fake::start().await;
    for garbage in ["<html>login</html>", "{}", r#"{"instanceId": 5}"#] {
        fake.set(Fault::Body(DOCUMENT, garbage));
        let (error, text, _) = failure(&fake).await;
        assert!(matches!(error, ImdsError::Malformed { .. }), "{text}");
        assert!(text.contains("something else than an identity document"), "{text}");
    }
    let foreign = r#"{"instanceId": "mi-1", "instanceType": "t", "region": "r",
                      "availabilityZone": "z"}"#;
    fake.set(Fault::Body(DOCUMENT, foreign));
    let (error, text, _) = failure(&fake).await;
    assert!(matches!(error, ImdsError::Malformed { .. }), "{text}");
    assert!(text.contains("mi-1"), "{text}");
}

#[tokio::test]
async fn a_token_is_in_no_debug_text() {
    let fake = Fake::start().await;
    let imds = Imds::new(fake.endpoint.clone());
    imds.facts().await.unwrap();
    assert!(!format!("{imds:?}").contains("token-"), "{imds:?}");
}

#[test]
fn only_six_pairs_of_hexadecimal_digits_are_an_interface() {
    assert!(is_mac("0e:49:61:0f:c3:11"));
    for text in
        ["", "0e:49:61:0f:c3", "0e:49:61:0f:c3:11:22", "0e:49:61:0f:c3:1g", "0:49:61:0f:c3:11"]
    {
        assert!(!is_mac(text), "{text}");
    }
}
