//! The IAM signature in a client certificate: like a presigned GET of Signature Version 4, but
//! with no empty line after the headers, as efs-utils makes it.

use hmac::Mac;
use jiff::Timestamp;
use percent_encoding::utf8_percent_encode;
use sha2::{Digest, Sha256};

use super::certificate::SignatureClaim;
use crate::http::credentials::Credential;
use crate::http::sigv4;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// `X-Amz-Expires`, in seconds.
pub(super) const EXPIRES: i64 = 86_400;

/// What is signed besides the credentials.
#[derive(Debug, Clone, Copy)]
pub(super) struct Signed<'a> {
    pub(super) file_system: &'a str,
    pub(super) region: &'a str,
    pub(super) service: &'a str,
    pub(super) key_hash: &'a str,
    pub(super) time: Timestamp,
}

impl Signed<'_> {
    fn stamp(&self) -> String {
        self.time.strftime("%Y%m%dT%H%M%SZ").to_string()
    }

    fn scope(&self) -> [String; 3] {
        let date = self.time.strftime("%Y%m%d").to_string();
        [date, self.region.to_owned(), self.service.to_owned()]
    }

    fn canonical(&self, access_key: &str, token: Option<&str>) -> String {
        let credential = format!("{access_key}/{}/aws4_request", self.scope().join("/"));
        let expires = EXPIRES.to_string();
        let stamp = self.stamp();
        let mut query = vec![
            ("Action", "Connect"),
            ("PublicKeyHash", self.key_hash),
            ("X-Amz-Algorithm", ALGORITHM),
            ("X-Amz-Credential", &credential),
            ("X-Amz-Date", &stamp),
            ("X-Amz-Expires", &expires),
        ];
        query.extend(token.map(|token| ("X-Amz-Security-Token", token)));
        query.push(("X-Amz-SignedHeaders", "host"));
        let encode = |text| utf8_percent_encode(text, sigv4::ENCODED).to_string();
        let query: Vec<_> =
            query.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
        let empty = hex::encode(Sha256::digest(""));
        format!("GET\n/\n{}\nhost:{}\nhost\n{empty}", query.join("&"), self.file_system)
    }

    /// Whether the claimed signature is the credential's.
    pub(super) fn is_by(&self, credential: &Credential, claim: &SignatureClaim) -> bool {
        let canonical = self.canonical(&credential.access_key, claim.session_token.as_deref());
        let to_sign = format!(
            "{ALGORITHM}\n{}\n{}/aws4_request\n{}",
            self.stamp(),
            self.scope().join("/"),
            hex::encode(Sha256::digest(canonical))
        );
        let scope = self.scope();
        let parts = scope.each_ref().map(String::as_str);
        let mut mac = sigv4::keyed(&sigv4::signing_key(&credential.secret, parts));
        mac.update(to_sign.as_bytes());
        hex::decode(&claim.signature).is_ok_and(|signature| mac.verify_slice(&signature).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "IQoJb3JpZ2luX2VjEXAMPLE//////////wEaCXVzLWVhc3QtMSJH+a==";

    fn signed(service: &str) -> Signed<'_> {
        Signed {
            file_system: "fs-deadbeef12345678a",
            region: "us-east-1",
            service,
            key_hash: "0123456789abcdef0123456789abcdef01234567",
            time: "2026-07-01T12:00:00Z".parse().unwrap(),
        }
    }

    fn is_signature(service: &str, key: &str, token: Option<&str>, signature: &str) -> bool {
        let credential = Credential {
            access_key: key.to_owned(),
            secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned(),
            session_token: token.map(str::to_owned),
            arn: None,
            expires: None,
        };
        let claim = SignatureClaim {
            access_key: key.to_owned(),
            signature: signature.to_owned(),
            time: signed(service).time,
            session_token: token.map(str::to_owned),
        };
        signed(service).is_by(&credential, &claim)
    }

    /// The values that efs-utils computes from the same input.
    #[test]
    fn efs_utils_signatures_are_accepted() {
        let canonical = signed("elasticfilesystem").canonical("ASIAEXAMPLE", Some(TOKEN));
        assert_eq!(
            hex::encode(Sha256::digest(canonical)),
            "52d9292e0d41ce89e56761484b3a4fb0c00f89bdce3c40b3016c85a5fab97827"
        );
        for (service, key, token, signature) in [
            (
                "elasticfilesystem",
                "ASIAEXAMPLE",
                Some(TOKEN),
                "27d39ebf129330b8e9774361b672cd1d40c257cd4b95a4a3b41b3392cb75d32b",
            ),
            (
                "s3files",
                "ASIAEXAMPLE",
                Some(TOKEN),
                "1fb4aba5c7347a8f7eb0a5406a00822bd806611afdda9b9bf0e89bfcbf1c2fc1",
            ),
            (
                "elasticfilesystem",
                "AKIDEXAMPLE",
                None,
                "bc8a6a983da7bccffb2d2b71b9da8a7be4aa1c4867ddd7708028a1dc820c7c9c",
            ),
        ] {
            assert!(is_signature(service, key, token, signature), "{service} {key}");
            let other = signature.replace('7', "8");
            assert!(!is_signature(service, key, token, &other), "{service} {key}");
        }
    }
}
