//! Who is let in.

use csi_sim::http::credentials::Credential;
use csi_sim::world::efs::{FileSystemPolicy, FileSystemSeed};
use jiff::{SignedDuration, Timestamp};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::bench::{Bench, FS, REGION, Wish, is_echoed};

fn session() -> Credential {
    Credential {
        access_key: "ASIASIMULATED0000000".to_owned(),
        secret: "secret".to_owned(),
        session_token: Some(format!("token+/=={}", "x".repeat(800))),
        arn: Some("arn:aws:sts::123456789012:assumed-role/efs/node".to_owned()),
        expires: Some(Timestamp::now().as_second() + 600),
    }
}

#[tokio::test]
async fn a_client_with_the_right_certificate_is_let_in_by_both_versions_of_tls() {
    let bench = Bench::start().await;
    let name = bench.target.name().to_owned();
    let wish = Wish {
        access_point: Some(bench.access_point("/a", 1_000, FS)),
        credential: Some(session()),
        ..Wish::default()
    };
    bench.target.app().set_credential(session());
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let mut stream = bench.dial(&wish, &name, version).await.unwrap();
        assert!(is_echoed(&mut stream).await, "{}", bench.last_refusal());
    }
    assert!(bench.is_let_in(&Wish::default()).await, "{}", bench.last_refusal());
    assert!(bench.target.refusals().is_empty());
    assert_eq!(bench.target.accepted(), 3);
}

#[tokio::test]
async fn what_a_certificate_claims_must_hold() {
    let bench = Bench::start().await;
    let app = bench.target.app();
    app.sim().with(|world, now| {
        world.set_file_system(&FileSystemSeed::new("fs-aaaaaaaa", &[]), now).unwrap();
    });
    let point = |id: &str| Wish { access_point: Some(id.to_owned()), ..Wish::default() };
    let foreign = bench.access_point("/b", 1_000, "fs-aaaaaaaa");
    let deleted = bench.access_point("/c", 1_000, FS);
    app.sim().with(|world, now| world.delete_access_point(&deleted, now)).unwrap();
    let other = Wish { file_system: "fs-aaaaaaaa".to_owned(), ..Wish::default() };
    let past = Wish { now: Timestamp::now() - SignedDuration::from_hours(4), ..Wish::default() };
    let future = Wish { now: Timestamp::now() + SignedDuration::from_hours(1), ..Wish::default() };
    for (wish, why) in [
        (point("fsap-0123456789abcdef0"), "access point fsap-0123456789abcdef0"),
        (point(&foreign), "access point"),
        (point(&deleted), "access point"),
        (other, "fs-aaaaaaaa"),
        (past, "in force"),
        (future, "in force"),
        (Wish { reversed: true, ..Wish::default() }, "order"),
    ] {
        assert!(!bench.is_let_in(&wish).await, "{why}");
        assert!(bench.last_refusal().contains(why), "{} for {why}", bench.last_refusal());
    }
}

#[tokio::test]
async fn a_signature_must_be_the_known_credentials_for_this_region() {
    let bench = Bench::start().await;
    let app = bench.target.app();
    let signed = |credential: Credential| Wish { credential: Some(credential), ..Wish::default() };
    assert!(!bench.is_let_in(&signed(session())).await);
    assert!(bench.last_refusal().contains("unknown"), "{}", bench.last_refusal());
    app.set_credential(session());
    assert!(bench.is_let_in(&signed(session())).await, "{}", bench.last_refusal());
    let wrong = Credential { secret: "other".to_owned(), ..session() };
    let no_token = Credential { session_token: None, ..session() };
    let elsewhere = Wish { region: "eu-west-1".to_owned(), ..signed(session()) };
    for (wish, why) in [
        (signed(wrong), "does not match"),
        (signed(no_token), "token"),
        (elsewhere, "does not match"),
    ] {
        assert!(!bench.is_let_in(&wish).await, "{why}");
        assert!(bench.last_refusal().contains(why), "{} for {why}", bench.last_refusal());
    }
    app.set_credential(Credential { expires: Some(1), ..session() });
    assert!(!bench.is_let_in(&signed(session())).await);
    assert!(bench.last_refusal().contains("expired"), "{}", bench.last_refusal());
}

#[tokio::test]
async fn the_policy_decides_who_mounts() {
    let bench = Bench::start().await;
    let app = bench.target.app();
    app.set_credential(session());
    let policy = FileSystemPolicy {
        mount: vec![session().principal()],
        tls_only: true,
        ..FileSystemPolicy::default()
    };
    let seed = FileSystemSeed { policy: Some(policy), ..FileSystemSeed::new(FS, &[]) };
    app.sim().with(|world, now| world.set_file_system(&seed, now)).unwrap();
    assert!(!bench.is_let_in(&Wish::default()).await);
    assert!(bench.last_refusal().contains("policy"), "{}", bench.last_refusal());
    let signed = Wish { credential: Some(session()), ..Wish::default() };
    assert!(bench.is_let_in(&signed).await, "{}", bench.last_refusal());
    let mut plain = TcpStream::connect(bench.target.address()).await.unwrap();
    plain.write_all(b"hello").await.unwrap();
    let mut back = Vec::new();
    let ended = plain.read_to_end(&mut back).await;
    assert!(back.is_empty(), "{ended:?}");
}

#[tokio::test]
async fn without_a_policy_a_client_without_tls_sees_the_file_system() {
    let bench = Bench::start().await;
    let mut plain = TcpStream::connect(bench.target.address()).await.unwrap();
    plain.write_all(b"hello").await.unwrap();
    let mut back = [0; 5];
    plain.read_exact(&mut back).await.unwrap();
    assert_eq!(&back, b"hello");
}

#[tokio::test]
async fn a_client_must_ask_for_the_right_server() {
    let bench = Bench::start().await;
    let other = csi_sim::targets::server_name("fs-aaaaaaaa", REGION);
    let error = bench.dial(&Wish::default(), &other, &rustls::version::TLS13).await;
    assert!(error.is_err());
}
