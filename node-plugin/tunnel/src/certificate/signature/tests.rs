//! Vectors that equal what efs-utils signs.

use super::*;

const HASH: &str = "0123456789abcdef0123456789abcdef01234567";

fn credentials(access_key_id: &str, token: Option<&str>) -> Credentials {
    Credentials {
        access_key_id: access_key_id.to_owned(),
        secret_access_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned(),
        session_token: token.map(str::to_owned),
        expiry: None,
    }
}

fn session() -> Credentials {
    let token = "IQoJb3JpZ2luX2VjEXAMPLE//////////wEaCXVzLWVhc3QtMSJH+a==";
    credentials("ASIAEXAMPLE", Some(token))
}

fn file_system() -> FileSystemId {
    "fs-deadbeef12345678a".parse().unwrap()
}

fn scope(service: &'static str) -> Scope {
    let now = "2026-07-01T12:00:00Z".parse().unwrap();
    Scope::new(&"us-east-1".parse().unwrap(), service, now)
}

#[test]
fn the_canonical_request_is_the_one_of_efs_utils() {
    let request = canonical_request(&session(), &file_system(), HASH, &scope(SERVICE));
    assert_eq!(
        hex::encode(Sha256::digest(request)),
        "52d9292e0d41ce89e56761484b3a4fb0c00f89bdce3c40b3016c85a5fab97827"
    );
}

#[test]
fn the_signature_is_the_one_of_efs_utils() {
    let sign_for = |service, credentials: &Credentials| {
        let scope = scope(service);
        sign(credentials, &canonical_request(credentials, &file_system(), HASH, &scope), &scope)
    };
    assert_eq!(
        sign_for(SERVICE, &session()),
        "27d39ebf129330b8e9774361b672cd1d40c257cd4b95a4a3b41b3392cb75d32b"
    );
    assert_eq!(
        sign_for("s3files", &session()),
        "1fb4aba5c7347a8f7eb0a5406a00822bd806611afdda9b9bf0e89bfcbf1c2fc1"
    );
    assert_eq!(
        sign_for(SERVICE, &credentials("AKIDEXAMPLE", None)),
        "bc8a6a983da7bccffb2d2b71b9da8a7be4aa1c4867ddd7708028a1dc820c7c9c"
    );
}
