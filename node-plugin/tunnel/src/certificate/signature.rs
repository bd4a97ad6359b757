//! The signature of the action `Connect`, by which EFS knows the IAM principal. It resembles a
//! presigned request of Signature Version 4, but the blank line between headers and signed headers
//! is missing, so no library's signer gives it.

use std::fmt::Write;

use hmac::{Hmac, Mac};
use jiff::Timestamp;
use jiff::tz::Offset;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest, Sha256};

use crate::credentials::Credentials;
use crate::identity::{FileSystemId, Region};

/// The service's name in the scope.
pub const SERVICE: &str = "elasticfilesystem";
const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// All but RFC 3986's unreserved characters are encoded.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The signature in hex, of whom `credentials` belong to, for the key whose hash is given.
#[must_use]
pub fn connect(
    credentials: &Credentials,
    file_system: &FileSystemId,
    region: &Region,
    public_key_hash: &str,
    now: Timestamp,
) -> String {
    let scope = Scope::new(region, SERVICE, now);
    let request = canonical_request(credentials, file_system, public_key_hash, &scope);
    sign(credentials, &request, &scope)
}

struct Scope {
    time: String,
    day: String,
    region: String,
    service: &'static str,
}

impl Scope {
    fn new(region: &Region, service: &'static str, now: Timestamp) -> Self {
        let time = Offset::UTC.to_datetime(now);
        Self {
            time: time.strftime("%Y%m%dT%H%M%SZ").to_string(),
            day: time.strftime("%Y%m%d").to_string(),
            region: region.to_string(),
            service,
        }
    }

    fn text(&self) -> String {
        format!("{}/{}/{}/aws4_request", self.day, self.region, self.service)
    }
}

fn canonical_request(
    credentials: &Credentials,
    file_system: &FileSystemId,
    public_key_hash: &str,
    scope: &Scope,
) -> String {
    let credential = format!("{}/{}", credentials.access_key_id, scope.text());
    let mut query = vec![
        ("Action", "Connect"),
        ("PublicKeyHash", public_key_hash),
        ("X-Amz-Algorithm", ALGORITHM),
        ("X-Amz-Credential", &credential),
        ("X-Amz-Date", &scope.time),
        ("X-Amz-Expires", "86400"),
    ];
    if let Some(token) = &credentials.session_token {
        query.push(("X-Amz-Security-Token", token));
    }
    query.push(("X-Amz-SignedHeaders", "host"));
    let query: Vec<String> = query
        .into_iter()
        .map(|(key, value)| format!("{key}={}", utf8_percent_encode(value, ENCODED)))
        .collect();
    let nothing = hex::encode(Sha256::digest(b""));
    format!("GET\n/\n{}\nhost:{file_system}\nhost\n{nothing}", query.join("&"))
}

fn sign(credentials: &Credentials, request: &str, scope: &Scope) -> String {
    let mut text = format!("{ALGORITHM}\n{}\n{}\n", scope.time, scope.text());
    // Writing to a String cannot fail.
    let _ = write!(text, "{}", hex::encode(Sha256::digest(request)));
    let mut key = mac(format!("AWS4{}", credentials.secret_access_key).as_bytes(), &scope.day);
    for part in [&scope.region, scope.service, "aws4_request"] {
        key = mac(&key, part);
    }
    hex::encode(mac(&key, &text))
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    // HMAC takes a key of any length.
    let Ok(mut mac) = <Hmac<Sha256> as Mac>::new_from_slice(key) else {
        return Vec::new();
    };
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests;
