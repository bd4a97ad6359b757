//! Roles and sessions.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use csi_sim::http::web_identity::{Issuer, Key, KeySet};
use csi_sim::world::InstanceSeed;
use csi_sim::world::role::{RoleSeed, Trust};
use data_encoding::BASE64URL_NOPAD;
use http::{Method, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::bench::{Bench, Signer, ZONE, element};

const ROLE: &str = "arn:aws:iam::123456789012:role/efs-csi";
const ISSUER: &str = "https://127.0.0.1:6443";
const SUBJECT: &str = "system:serviceaccount:kube-system:efs-csi-controller-sa";

struct Signs(RsaKeyPair);

impl Signs {
    fn new() -> Self {
        Self(RsaKeyPair::generate(KeySize::Rsa2048).unwrap())
    }

    fn issuer(&self) -> Issuer {
        let public = self.0.public_key();
        let number = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
        let key = Key {
            kty: "RSA".to_owned(),
            kid: Some("k1".to_owned()),
            n: number(public.modulus().big_endian_without_leading_zero()),
            e: number(public.exponent().big_endian_without_leading_zero()),
        };
        Issuer {
            issuer: ISSUER.to_owned(),
            jwks: KeySet { keys: vec![key] },
            audiences: vec!["sts.amazonaws.com".to_owned()],
        }
    }

    fn token(&self, claims: &Value) -> String {
        let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        let text = format!("{}.{}", part(&json!({"alg": "RS256", "kid": "k1"})), part(claims));
        let mut signature = vec![0; self.0.public_modulus_len()];
        let random = SystemRandom::new();
        self.0.sign(&RSA_PKCS1_SHA256, &random, text.as_bytes(), &mut signature).unwrap();
        format!("{text}.{}", BASE64URL_NOPAD.encode(&signature))
    }
}

fn claims(change: impl FnOnce(&mut Value)) -> Value {
    let now = Timestamp::now().as_second();
    let mut claims = json!({
        "iss": ISSUER,
        "sub": SUBJECT,
        "aud": ["sts.amazonaws.com"],
        "exp": now + 600,
        "nbf": now - 5,
    });
    change(&mut claims);
    claims
}

fn form(token: &str) -> String {
    format!(
        "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn={ROLE}\
         &RoleSessionName=efs-csi&WebIdentityToken={token}"
    )
}

async fn bench(keys: &Signs, session_seconds: Option<u32>) -> Bench {
    let bench = Bench::start().await;
    bench.admin.set_issuer(&keys.issuer()).await.unwrap();
    let trust = Trust::WebIdentity {
        issuer: ISSUER.to_owned(),
        subjects: vec![SUBJECT.to_owned()],
        audience: "sts.amazonaws.com".to_owned(),
    };
    let role = RoleSeed { session_seconds, ..RoleSeed::new(ROLE, vec![trust]) };
    bench.admin.set_role(&role).await.unwrap();
    bench
}

fn session(xml: &str) -> Signer {
    Signer {
        access_key: element(xml, "AccessKeyId"),
        secret: element(xml, "SecretAccessKey"),
        token: Some(element(xml, "SessionToken")),
        ..Signer::default()
    }
}

#[tokio::test]
async fn a_service_accounts_token_buys_a_session_that_other_services_know() {
    let keys = Signs::new();
    let bench = bench(&keys, None).await;
    let (status, xml) = bench.unsigned(&form(&keys.token(&claims(|_| ())))).await;
    assert_eq!(status, StatusCode::OK, "{xml}");
    assert_eq!(element(&xml, "SubjectFromWebIdentityToken"), SUBJECT);
    let signer = session(&xml);
    let (status, _) = bench.efs(Method::GET, "file-systems", "", &signer).await;
    assert_eq!(status, StatusCode::OK);
    let stolen = Signer { token: None, ..session(&xml) };
    let (_, error) = bench.efs(Method::GET, "file-systems", "", &stolen).await;
    assert_eq!(error["ErrorCode"], "UnrecognizedClientException");
    let who = "Action=GetCallerIdentity&Version=2011-06-15";
    let (_, xml) = bench.signed("sts", who, &signer).await.unwrap();
    assert_eq!(element(&xml, "Arn"), "arn:aws:sts::123456789012:assumed-role/efs-csi/efs-csi");
    let history = format!("{:?}", bench.admin.history(None).await.unwrap());
    assert!(!history.contains("eyJ"), "a token stands in the history");
}

#[tokio::test]
async fn a_session_expires() {
    let keys = Signs::new();
    let bench = bench(&keys, Some(0)).await;
    let (_, xml) = bench.unsigned(&form(&keys.token(&claims(|_| ())))).await;
    let (_, error) = bench.efs(Method::GET, "file-systems", "", &session(&xml)).await;
    assert_eq!(error["ErrorCode"], "ExpiredTokenException");
}

#[tokio::test]
async fn each_broken_link_of_the_chain_has_its_own_code() {
    let keys = Signs::new();
    let bench = bench(&keys, None).await;
    let code = async |token: &str| element(&bench.unsigned(&form(token)).await.1, "Code");
    let forged = Signs::new().token(&claims(|_| ()));
    assert_eq!(code(&forged).await, "InvalidIdentityToken");
    assert_eq!(code("a.b.c").await, "InvalidIdentityToken");
    let with = |change: fn(&mut Value)| keys.token(&claims(change));
    let old = with(|claims| claims["exp"] = json!(1_000));
    assert_eq!(code(&old).await, "ExpiredTokenException");
    let early = with(|claims| claims["nbf"] = json!(Timestamp::now().as_second() + 500));
    assert_eq!(code(&early).await, "InvalidIdentityToken");
    let audience = with(|claims| claims["aud"] = json!("vault"));
    assert_eq!(code(&audience).await, "InvalidIdentityToken");
    let issuer = with(|claims| claims["iss"] = json!("https://elsewhere"));
    assert_eq!(code(&issuer).await, "InvalidIdentityToken");
    let stranger = with(|claims| claims["sub"] = json!("system:serviceaccount:default:default"));
    assert_eq!(code(&stranger).await, "AccessDenied");
}

#[tokio::test]
async fn pod_identity_and_an_instances_metadata_hand_out_sessions() {
    let keys = Signs::new();
    let bench = Bench::start().await;
    bench.admin.set_issuer(&keys.issuer()).await.unwrap();
    let trust = Trust::Pod { issuer: ISSUER.to_owned(), subjects: vec![SUBJECT.to_owned()] };
    bench.admin.set_role(&RoleSeed::new(ROLE, vec![trust])).await.unwrap();
    let for_pods = |claims: &mut Value| claims["aud"] = json!(["pods.eks.amazonaws.com"]);
    let (status, text) = bench.pod_identity(&keys.token(&claims(for_pods))).await;
    assert_eq!(status, StatusCode::OK, "{text}");
    assert!(is_heard(&bench, &text).await, "{text}");
    let (status, _) = bench.pod_identity(&keys.token(&claims(|_| ()))).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "a token for STS");

    let node = InstanceSeed {
        id: Some(bench.node.clone()),
        role: Some(ROLE.to_owned()),
        ..InstanceSeed::new("m5.large", ZONE)
    };
    bench.sim.with(|world, now| world.set_instance(&node, now)).unwrap();
    let ttl = ("x-aws-ec2-metadata-token-ttl-seconds", "60");
    let (_, token) = bench.metadata(Method::PUT, "/latest/api/token", ttl).await;
    let path = "/latest/meta-data/iam/security-credentials/";
    let header = ("x-aws-ec2-metadata-token", token.as_str());
    let (_, name) = bench.metadata(Method::GET, path, header).await;
    assert_eq!(name, "efs-csi");
    let (_, text) = bench.metadata(Method::GET, &format!("{path}{name}"), header).await;
    assert!(is_heard(&bench, &text).await, "{text}");
    let (_, again) = bench.metadata(Method::GET, &format!("{path}{name}"), header).await;
    let key = |text: &str| serde_json::from_str::<Value>(text).unwrap()["AccessKeyId"].clone();
    assert_eq!(key(&again), key(&text));
}

/// Whether EFS hears the holder of the session in a credentials document.
async fn is_heard(bench: &Bench, document: &str) -> bool {
    let document: Value = serde_json::from_str(document).unwrap();
    let text = |name: &str| document[name].as_str().unwrap().to_owned();
    let signer = Signer {
        access_key: text("AccessKeyId"),
        secret: text("SecretAccessKey"),
        token: Some(text("Token")),
        ..Signer::default()
    };
    bench.efs(Method::GET, "file-systems", "", &signer).await.0 == StatusCode::OK
}

#[tokio::test]
async fn a_role_of_another_account_wants_its_external_id() {
    let bench = Bench::start().await;
    let role = "arn:aws:iam::210987654321:role/cross";
    let trust = Trust::Signed { external_id: Some("secret".to_owned()) };
    bench.admin.set_role(&RoleSeed::new(role, vec![trust])).await.unwrap();
    let form =
        format!("Action=AssumeRole&Version=2011-06-15&RoleArn={role}&RoleSessionName=efs-csi");
    let (status, xml) = bench.signed("sts", &form, &Signer::default()).await.unwrap();
    assert_eq!((status, element(&xml, "Code")), (StatusCode::FORBIDDEN, "AccessDenied".to_owned()));
    let form = format!("{form}&ExternalId=secret");
    let (_, xml) = bench.signed("sts", &form, &Signer::default()).await.unwrap();
    assert!(element(&xml, "Arn").starts_with("arn:aws:sts::210987654321:assumed-role/cross/"));
    let (status, _) = bench.efs(Method::GET, "file-systems", "", &session(&xml)).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(bench.unsigned(&form).await.0, StatusCode::UNAUTHORIZED);
}
