//! The certificate of this project's own client, which shares no code with the check.

use csi_sim::http::credentials::Credential;
use efs_tunnel::certificate::{Certificate, ClientInfo};
use efs_tunnel::credentials::Credentials;
use jiff::Timestamp;

use super::bench::{Bench, FS, KEY, REGION, is_echoed};

#[tokio::test]
async fn the_tunnels_certificates_are_let_in_first_and_renewed_with_and_without_a_token() {
    let bench = Bench::start().await;
    let point = bench.access_point("/a", 1_000, FS).parse().unwrap();
    let (file_system, region) = (FS.parse().unwrap(), REGION.parse().unwrap());
    for token in [None, Some("IQoJb3JpZ2luX2Vj//////////wEaCXVzLWVhc3QtMSJH+a==".repeat(20))] {
        let credentials = Credentials {
            access_key_id: "ASIASIMULATED0000000".to_owned(),
            secret_access_key: "secret".to_owned(),
            session_token: token.clone(),
            expiry: None,
        };
        bench.target.app().set_credential(Credential {
            access_key: credentials.access_key_id.clone(),
            secret: credentials.secret_access_key.clone(),
            session_token: token,
            arn: None,
            expires: None,
        });
        for serial in [0, 200] {
            let certificate = Certificate {
                serial,
                common_name: "ip-10-0-0-10.ec2.internal",
                file_system: &file_system,
                access_point: Some(&point),
                region: &region,
                credentials: Some(&credentials),
                client: &ClientInfo::default(),
            };
            let certificate = certificate.issue(&KEY, Timestamp::now()).unwrap();
            let version = &rustls::version::TLS12;
            let mut stream =
                bench.dial_with(certificate, bench.target.name(), version).await.unwrap();
            assert!(is_echoed(&mut stream).await, "{}", bench.last_refusal());
        }
    }
    assert!(bench.target.refusals().is_empty());
}
