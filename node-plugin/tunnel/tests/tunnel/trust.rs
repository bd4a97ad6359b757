//! Who is shown what, and who is trusted.

use std::time::Duration;

use efs_tunnel::identity::{Authority as Roots, Identity};
use rustls::version::{TLS12, TLS13};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::stand::{Stand, clear, connect, echo, echo_at_last, secure, until};
use crate::target::{Authority, Manner, Target};

#[tokio::test]
async fn a_target_sees_the_certificate_of_the_mount_in_both_versions_of_tls() {
    let stand = Stand::start().await;
    let authority = Authority::new();
    let file = stand.ca_file(&authority.pem);
    for version in [&TLS12, &TLS13] {
        let target = Target::with_versions(&authority, Manner::Echo, &[version]).await;
        let port = stand.serve(secure(target.address, file.clone())).await;
        echo_at_last(port, "through TLS", Duration::from_secs(10)).await;
        let shown = target.shown.lock().unwrap().first().unwrap().clone();
        let (_, certificate) = X509Certificate::from_der(&shown).unwrap();
        let texts: Vec<String> = certificate
            .extensions()
            .iter()
            .map(|one| String::from_utf8_lossy(one.value).into_owned())
            .collect();
        assert!(texts[1].ends_with("fsap-0123456789abcdef0"), "{texts:?}");
        assert!(texts[2].ends_with("fs-92107410"), "{texts:?}");
    }
}

#[tokio::test]
async fn a_mount_without_tls_is_relayed_in_clear() {
    let stand = Stand::start().await;
    let target = Target::clear(Manner::Echo).await;
    let port = stand.serve(clear(target.address)).await;
    let mut stream = connect(port).await;
    echo(&mut stream, "in clear").await.unwrap();
    let status = stand.status(port).await;
    assert_eq!((status.sent, status.received, status.connections), (8, 8, 1));
}

#[tokio::test]
async fn a_server_of_another_authority_or_name_gets_not_one_byte() {
    let stand = Stand::start().await;
    let (ours, other) = (Authority::named("ours"), Authority::named("another"));
    let target = Target::secure(&other, Manner::Echo).await;
    let foreign = secure(target.address, stand.ca_file(&ours.pem));
    refused(&stand, &target, foreign, "UnknownIssuer").await;

    let mut misnamed = secure(target.address, stand.folder.path().join("other.pem"));
    std::fs::write(stand.folder.path().join("other.pem"), &other.pem).unwrap();
    misnamed.tls.as_mut().unwrap().server_name = "fs-0badbad0.efs.x.amazonaws.com".parse().unwrap();
    refused(&stand, &target, misnamed.clone(), "not valid for name").await;

    misnamed.tls.as_mut().unwrap().check_name = false;
    accepted(&stand, misnamed).await;
    let mut unverified = secure(target.address, stand.folder.path().join("ca.pem"));
    unverified.tls.as_mut().unwrap().authority = Roots::Unverified;
    accepted(&stand, unverified).await;
}

async fn refused(stand: &Stand, target: &Target, identity: Identity, why: &str) {
    let port = stand.serve(identity).await;
    let shown = target.shown.lock().unwrap().len();
    let mut stream = connect(port).await;
    let told =
        async || stand.status(port).await.last_error.is_some_and(|error| error.contains(why));
    let answered = tokio::select! {
        answer = echo(&mut stream, "secret") => answer.is_ok(),
        () = until(why, told) => false,
    };
    assert!(!answered, "a server that is not trusted was given the client's bytes");
    assert_eq!(stand.status(port).await.sent, 0);
    assert_eq!(target.shown.lock().unwrap().len(), shown, "nor does it see whom we speak for");
}

async fn accepted(stand: &Stand, identity: Identity) {
    let port = stand.serve(identity).await;
    echo_at_last(port, "anyway", Duration::from_secs(10)).await;
}

#[tokio::test]
async fn amazons_own_roots_do_not_vouch_for_a_private_authority() {
    let stand = Stand::start().await;
    let target = Target::secure(&Authority::new(), Manner::Echo).await;
    let mut identity = secure(target.address, "/".into());
    identity.tls.as_mut().unwrap().authority = Roots::Amazon;
    refused(&stand, &target, identity, "UnknownIssuer").await;
}

#[tokio::test]
async fn the_next_worker_shows_the_certificate_of_the_one_that_died() {
    let stand = Stand::start().await;
    let authority = Authority::new();
    let target = Target::secure(&authority, Manner::Echo).await;
    let port = stand.serve(secure(target.address, stand.ca_file(&authority.pem))).await;
    echo_at_last(port, "before", Duration::from_secs(10)).await;
    let kept = stand.folder.path().join(format!("run/efs-tunnel-certificates/{port}.json"));
    until("the certificate is kept", async || kept.exists()).await;
    stand.kill_worker().await;
    echo_at_last(port, "after", Duration::from_secs(10)).await;
    let shown = target.shown.lock().unwrap().clone();
    assert!(shown.len() >= 2, "{} handshakes", shown.len());
    assert!(shown.iter().all(|one| *one == shown[0]), "a certificate was made anew");
    assert!(stand.client.release(port).await.unwrap());
    assert!(!kept.exists(), "what nobody needs is not kept");
}
