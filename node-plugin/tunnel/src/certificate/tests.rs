//! The certificate, read back by another implementation.

use std::sync::LazyLock;

use rcgen::{PKCS_RSA_SHA256, RsaKeySize};
use x509_parser::prelude::{FromDer, X509Certificate, X509Version};

use super::*;

static KEY: LazyLock<KeyPair> =
    LazyLock::new(|| KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_3072).unwrap());
const MADE: &str = "2026-07-01T12:00:00Z";

fn credentials() -> Credentials {
    Credentials {
        access_key_id: "ASIAEXAMPLE".to_owned(),
        secret_access_key: "secret".to_owned(),
        session_token: Some("token".to_owned()),
        expiry: None,
    }
}

fn issue(serial: u64, access_point: Option<&str>, credentials: Option<&Credentials>) -> Vec<u8> {
    let access_point = access_point.map(|id| id.parse().unwrap());
    let certificate = Certificate {
        serial,
        common_name: &"n".repeat(70),
        file_system: &"fs-deadbeef12345678a".parse().unwrap(),
        access_point: access_point.as_ref(),
        region: &"us-east-1".parse().unwrap(),
        credentials,
        client: &ClientInfo::default(),
    };
    certificate.issue(&KEY, MADE.parse().unwrap()).unwrap().to_vec()
}

fn extensions(der: &[u8]) -> Vec<(String, bool, Vec<u8>)> {
    let (rest, certificate) = X509Certificate::from_der(der).unwrap();
    assert!(rest.is_empty());
    let all = certificate.extensions().iter();
    all.map(|one| (one.oid.to_id_string(), one.critical, one.value.to_vec())).collect()
}

#[test]
fn a_certificate_has_the_frame_that_openssl_gives_it() {
    let der = issue(0, None, None);
    let (_, certificate) = X509Certificate::from_der(&der).unwrap();
    assert_eq!(certificate.version(), X509Version::V3);
    assert_eq!(certificate.raw_serial(), [0]);
    assert_eq!(certificate.signature_algorithm.algorithm.to_id_string(), "1.2.840.113549.1.1.11");
    assert_eq!(certificate.subject().as_raw(), certificate.issuer().as_raw());
    assert_eq!(certificate.subject().to_string(), format!("CN={}", "n".repeat(64)));
    let made = MADE.parse::<Timestamp>().unwrap().as_second();
    assert_eq!(certificate.validity().not_before.timestamp(), made - 15 * 60);
    assert_eq!(certificate.validity().not_after.timestamp(), made + 3 * 60 * 60);
    assert!(certificate.validity().not_after.is_utctime());
    certificate.verify_signature(None).unwrap();
    // One byte of hash length, one of tag: the length that OpenSSL's result has.
    assert_eq!(certificate.public_key().parsed().unwrap().key_size(), 3072);
}

#[test]
fn a_renewal_counts_the_serial_number_up() {
    let der = issue(300, None, None);
    let (_, certificate) = X509Certificate::from_der(&der).unwrap();
    assert_eq!(certificate.raw_serial(), [1, 44]);
}

#[test]
fn the_extensions_stand_in_the_order_of_efs_utils_and_none_is_critical() {
    let all = extensions(&issue(0, Some("fsap-0123456789abcdef0"), Some(&credentials())));
    let oids: Vec<&str> = all.iter().map(|(oid, _, _)| oid.as_str()).collect();
    assert_eq!(
        oids,
        [
            "2.5.29.14",
            "1.3.6.1.4.1.4843.7.1",
            "1.3.6.1.4.1.4843.7.2",
            "1.3.6.1.4.1.4843.7.3",
            "1.3.6.1.4.1.4843.7.4"
        ]
    );
    assert!(all.iter().all(|(_, critical, _)| !critical));
    assert_eq!(all[0].2, der::octets(&public_key_hash(&KEY)));
    assert_eq!(all[1].2, b"\x0c\x16fsap-0123456789abcdef0");
    assert_eq!(all[3].2, b"\x0c\x14fs-deadbeef12345678a");
    assert_eq!(all[4].2, b"\x30\x0c\x0c\x03k8s\x0c\x053.2.0");
}

#[test]
fn a_mount_without_access_point_and_iam_has_neither_extension() {
    let oids: Vec<String> =
        extensions(&issue(0, None, None)).into_iter().map(|(oid, _, _)| oid).collect();
    assert_eq!(oids, ["2.5.29.14", "1.3.6.1.4.1.4843.7.3", "1.3.6.1.4.1.4843.7.4"]);
}

#[test]
fn the_signature_extension_holds_hex_text_the_time_and_the_token() {
    let all = extensions(&issue(0, None, Some(&credentials())));
    let value = &all[1].2;
    let expected = connect(
        &credentials(),
        &"fs-deadbeef12345678a".parse().unwrap(),
        &"us-east-1".parse().unwrap(),
        &hex::encode(public_key_hash(&KEY)),
        MADE.parse().unwrap(),
    );
    let mut want = b"\x0c\x0bASIAEXAMPLE\x04\x40".to_vec();
    want.extend_from_slice(expected.as_bytes());
    want.extend_from_slice(b"\x17\x0d260701120000Z\xa0\x07\x0c\x05token");
    assert_eq!(value[..2], [0x30, u8::try_from(want.len()).unwrap()]);
    assert_eq!(value[2..], want);
}
