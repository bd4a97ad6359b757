//! What goes wrong, and what it is called.

use csi_core::ebs::{Ebs, VolumeQuery};
use test_case::test_case;

use super::canned::Reply;
use super::*;

async fn delete_at(url: &str) -> ApiError {
    ec2_at(url).await.delete_volume(VOLUME.parse().unwrap()).await.unwrap_err()
}

async fn list_at(url: &str) -> ApiError {
    let query = VolumeQuery::All { max: 5, token: None };
    ec2_at(url).await.describe_volumes(query).await.unwrap_err()
}

/// The error of a call that is answered like this, after exactly one request.
async fn error_of(reply: Reply) -> ApiError {
    let server = Canned::with([reply]).await;
    let error = delete_at(&server.url()).await;
    assert_eq!(server.forms().len(), 1, "the SDK repeated the call");
    error
}

#[test_case(400, "InvalidVolume.NotFound", ErrorKind::VolumeNotFound; "not found")]
#[test_case(400, "IdempotentParameterMismatch", ErrorKind::TokenMismatch; "burnt token")]
#[test_case(403, "UnauthorizedOperation", ErrorKind::Denied; "denied")]
#[test_case(401, "AuthFailure", ErrorKind::Credentials; "wrong keys")]
#[test_case(500, "InternalError", ErrorKind::Unavailable; "internal error")]
#[test_case(503, "SomethingNew", ErrorKind::Unavailable; "unknown code with 503")]
#[test_case(400, "SomethingNew", ErrorKind::Unexpected; "unknown code with 400")]
#[tokio::test]
async fn aws_codes_get_their_meaning(status: u16, code: &str, kind: ErrorKind) {
    let error = error_of(Reply::Http(status, failure(code, "You may not. Encoded: abc"))).await;
    let expected = ApiError {
        action: "DeleteVolume",
        kind,
        code: code.to_owned(),
        message: "You may not. Encoded: abc".to_owned(),
        request_id: Some("ea966190-f9aa-478e-9ede-example".to_owned()),
    };
    assert_eq!(error, expected);
}

#[tokio::test]
async fn an_answer_that_is_not_ec2s_leaves_the_effect_in_doubt() {
    let error = error_of(Reply::Http(502, "<html>Bad gateway</html>".to_owned())).await;
    assert_eq!((error.kind, error.code.as_str()), (ErrorKind::Unavailable, "HTTP 502"));
    let error = error_of(Reply::Http(503, String::new())).await;
    assert_eq!((error.kind, error.code.as_str()), (ErrorKind::Unavailable, "HTTP 503"));
    for body in ["", "<html>Log in to the network</html>"] {
        let other = Canned::answering([body.to_owned()]).await;
        let error = list_at(&other.url()).await;
        assert_eq!((error.kind, error.code.as_str()), (ErrorKind::NoAnswer, "HTTP 200"), "{body}");
    }
    let cut = Canned::with([Reply::Cut(answer("DescribeVolumes", "<volumeSet/>"))]).await;
    let error = list_at(&cut.url()).await;
    assert_eq!(error.kind, ErrorKind::NoAnswer, "{error}");
}

#[tokio::test]
async fn no_answer_is_no_answer_and_says_why() {
    let hung = Canned::with([Reply::Hang]).await;
    let ec2 = ec2_with(&hung.url(), Duration::from_millis(500)).await;
    let error = ec2.delete_volume(VOLUME.parse().unwrap()).await.unwrap_err();
    assert_eq!((error.kind, error.code.as_str()), (ErrorKind::NoAnswer, "Timeout"), "{error}");
    let error = error_of(Reply::Close).await;
    assert_eq!((error.kind, error.code.as_str()), (ErrorKind::NoAnswer, "ConnectionFailed"));

    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = delete_at(&format!("http://{closed}")).await;
    assert_eq!((error.kind, error.code.as_str()), (ErrorKind::NoAnswer, "ConnectionRefused"));
    assert!(error.message.contains("Connection refused"), "{error}");

    let plain = Canned::with([]).await;
    let error = delete_at(&plain.url().replace("http:", "https:")).await;
    assert_eq!(error.kind, ErrorKind::NoAnswer, "{error}");

    let error = delete_at("http://no-such-host.invalid").await;
    assert_eq!(error.kind, ErrorKind::NoAnswer, "{error}");
    assert!(error.message.contains("dns"), "{error}");
}

#[tokio::test]
async fn a_refused_call_is_sent_again_and_counted() {
    let refusal = Reply::Http(503, failure("RequestLimitExceeded", "Request limit exceeded."));
    let done = Reply::Http(200, answer("DeleteVolume", "<return>true</return>"));
    let server = Canned::with([refusal, done]).await;
    let mut registry = Registry::default();
    let mut shared = Arc::into_inner(ec2_at(&server.url()).await.0).unwrap();
    shared.caller = Caller::new(Service::Ec2, &[], &mut registry);
    let ec2 = Ec2(Arc::new(shared));
    ec2.delete_volume(VOLUME.parse().unwrap()).await.unwrap();
    assert_eq!(server.forms().len(), 2);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    for line in [
        r#"aws_ebs_csi_api_request_throttles_total{operation_name="DeleteVolume"} 1"#,
        r#"aws_ebs_csi_api_request_duration_seconds_count{request="DeleteVolume"} 1"#,
    ] {
        assert!(text.contains(line), "no {line} in\n{text}");
    }
}

#[test_case("<status>in-use</status>", "", "status is missing"; "missing")]
#[test_case("<status>in-use</status>", "<status>folded</status>", "status is \"folded\""; "unknown state")]
#[test_case("<size>10</size>", "<size>-1</size>", "size is \"-1\""; "negative size")]
#[test_case("<volumeId>vol-0123456789abcdef0</volumeId><size>", "<volumeId>vol-X</volumeId><size>", "volumeId is \"vol-X\""; "malformed id")]
#[test_case("<availabilityZone>us-east-1a</availabilityZone>", "<availabilityZone/>", "availabilityZone is missing"; "empty zone")]
#[tokio::test]
async fn an_odd_field_is_an_error_that_names_it(from: &str, to: &str, says: &str) {
    let odd = volume_xml().replacen(from, to, 1);
    let body = answer("DescribeVolumes", &format!("<volumeSet><item>{odd}</item></volumeSet>"));
    let server = Canned::answering([body]).await;
    let error = list_at(&server.url()).await;
    assert_eq!(error.kind, ErrorKind::Unexpected);
    assert!(error.to_string().contains(says), "{error}");
}

#[tokio::test]
async fn without_credentials_nothing_is_sent_and_the_link_is_named() {
    use aws_credential_types::provider::error::CredentialsError as ProviderError;
    use aws_credential_types::provider::future;

    #[derive(Debug)]
    struct Broken;
    impl aws_credential_types::provider::ProvideCredentials for Broken {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let error = CredentialsError::TokenFile {
                path: "/var/run/token".to_owned(),
                reason: "No such file or directory".to_owned(),
            };
            future::ProvideCredentials::ready(Err(ProviderError::provider_error(error)))
        }
    }
    let server = Canned::with([]).await;
    let ec2 = ec2_at(&server.url()).await;
    let config = ec2.client().await.config().to_builder();
    let config = config.credentials_provider(SharedCredentialsProvider::new(Broken));
    let ec2 = with_client(ec2, config).await;
    let error = ec2.delete_volume(VOLUME.parse().unwrap()).await.unwrap_err();
    assert_eq!((error.kind, error.code.as_str()), (ErrorKind::Credentials, "NoCredentials"));
    assert!(error.message.contains("the token file /var/run/token: No such file"), "{error}");
    assert_eq!(server.forms().len(), 0);
}
