//! Signature Version 4, verified as AWS does.
//! Source: IAM user guide, "AWS Signature Version 4 for API requests".

use std::collections::BTreeMap;

use hmac::{Hmac, Mac};
use http::HeaderMap;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sha2::{Digest, Sha256};

use super::Call;
use super::credentials::{Credential, Credentials};
use crate::world::AwsError;

/// How far the clocks may differ.
const SKEW_SECONDS: i64 = 300;
const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// RFC 3986's unreserved characters stay as they are.
pub(crate) const ENCODED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The `Authorization` header.
struct Authorization<'a> {
    access_key: &'a str,
    date: &'a str,
    region: &'a str,
    service: &'a str,
    signed: Vec<&'a str>,
    signature: Vec<u8>,
}

impl<'a> Authorization<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let fields: BTreeMap<&str, &str> = text
            .strip_prefix(ALGORITHM)?
            .split(',')
            .filter_map(|field| field.trim().split_once('='))
            .collect();
        let mut scope = fields.get("Credential")?.split('/');
        let (access_key, date) = (scope.next()?, scope.next()?);
        let (region, service) = (scope.next()?, scope.next()?);
        if scope.next() != Some("aws4_request") || scope.next().is_some() {
            return None;
        }
        Some(Self {
            access_key,
            date,
            region,
            service,
            signed: fields.get("SignedHeaders")?.split(';').collect(),
            signature: hex::decode(fields.get("Signature")?).ok()?,
        })
    }
}

/// What a signature must have been made for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scope<'a> {
    pub(crate) region: &'a str,
    pub(crate) service: &'a str,
}

/// The service that a call says it is for, before anything is verified.
pub(crate) fn claimed_service(call: &Call) -> Option<String> {
    Some(Authorization::parse(header(call.headers(), "authorization")?)?.service.to_owned())
}

/// Verifies a call's signature: whose it is.
pub(crate) fn verify(
    call: &Call,
    credentials: &Credentials,
    scope: Scope<'_>,
    now: Timestamp,
) -> Result<Credential, AwsError> {
    let headers = call.headers();
    let text = header(headers, "authorization").ok_or_else(|| {
        AwsError::new("AuthFailure", "The request must be signed with an access key.")
    })?;
    let authorization = Authorization::parse(text)
        .ok_or_else(|| mismatch("The Authorization header is incomplete."))?;
    let stamp = header(headers, "x-amz-date").unwrap_or_default();
    check_time(stamp, &authorization, now)?;
    if authorization.region != scope.region || authorization.service != scope.service {
        return Err(mismatch(&format!(
            "Credential should be scoped to region '{}' and service '{}'.",
            scope.region, scope.service
        )));
    }
    let credential = known(credentials, &authorization, headers, now)?;
    check_headers(&authorization, headers)?;
    let canonical = canonical_request(call, &authorization.signed)?;
    let to_sign = format!(
        "{ALGORITHM}\n{stamp}\n{}/{}/{}/aws4_request\n{}",
        authorization.date,
        authorization.region,
        authorization.service,
        hex::encode(Sha256::digest(canonical))
    );
    let scope = [authorization.date, authorization.region, authorization.service];
    let mut mac = keyed(&signing_key(&credential.secret, scope));
    mac.update(to_sign.as_bytes());
    mac.verify_slice(&authorization.signature).map_err(|_mismatch| {
        mismatch(
            "The request signature we calculated does not match the signature you provided. \
             Check your AWS Secret Access Key and signing method.",
        )
    })?;
    Ok(credential.clone())
}

fn mismatch(message: &str) -> AwsError {
    AwsError::new("SignatureDoesNotMatch", message)
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn check_time(
    stamp: &str,
    authorization: &Authorization<'_>,
    now: Timestamp,
) -> Result<(), AwsError> {
    let signed = DateTime::strptime("%Y%m%dT%H%M%SZ", stamp)
        .ok()
        .and_then(|time| TimeZone::UTC.to_timestamp(time).ok())
        .ok_or_else(|| mismatch("The X-Amz-Date header is missing or malformed."))?;
    if !stamp.starts_with(authorization.date) {
        return Err(mismatch("The date of the credential's scope is not that of X-Amz-Date."));
    }
    if (now.as_second() - signed.as_second()).abs() > SKEW_SECONDS {
        return Err(AwsError::new("RequestExpired", "Request has expired."));
    }
    Ok(())
}

/// EC2 answers `AuthFailure` where other services tell unknown keys from wrong tokens.
fn known<'a>(
    credentials: &'a Credentials,
    authorization: &Authorization<'_>,
    headers: &HeaderMap,
    now: Timestamp,
) -> Result<&'a Credential, AwsError> {
    let unknown = || {
        AwsError::new("AuthFailure", "AWS was not able to validate the provided access credentials")
    };
    let credential = credentials.get(authorization.access_key).ok_or_else(unknown)?;
    if credential.session_token.as_deref() != header(headers, "x-amz-security-token") {
        return Err(unknown());
    }
    if credential.expires.is_some_and(|at| at <= now.as_second()) {
        return Err(AwsError::new("ExpiredToken", "The provided token has expired."));
    }
    Ok(credential)
}

/// `host` and every `x-amz-*` header must be signed.
fn check_headers(authorization: &Authorization<'_>, headers: &HeaderMap) -> Result<(), AwsError> {
    let amz =
        headers.keys().map(http::HeaderName::as_str).filter(|name| name.starts_with("x-amz-"));
    for name in amz.chain(["host"]) {
        if !authorization.signed.contains(&name) {
            return Err(mismatch(&format!("'{name}' must be a signed header.")));
        }
    }
    Ok(())
}

fn canonical_request(call: &Call, signed: &[&str]) -> Result<String, AwsError> {
    let mut lines = String::new();
    for name in signed {
        let values: Vec<&str> =
            call.headers().get_all(*name).iter().filter_map(|value| value.to_str().ok()).collect();
        if values.is_empty() {
            return Err(mismatch(&format!("The signed header '{name}' is missing.")));
        }
        let trimmed = values.iter().map(|value| squeeze(value)).collect::<Vec<_>>().join(",");
        lines.extend([name, ":", &trimmed, "\n"]);
    }
    let body_hash = hex::encode(Sha256::digest(call.body()));
    if header(call.headers(), "x-amz-content-sha256").is_some_and(|hash| hash != body_hash) {
        return Err(mismatch("X-Amz-Content-Sha256 is not the body's hash."));
    }
    Ok(format!(
        "{}\n{}\n{}\n{lines}\n{}\n{body_hash}",
        call.method(),
        canonical_path(call.uri().path()),
        canonical_query(call.uri().query().unwrap_or_default()),
        signed.join(";"),
    ))
}

/// Runs of spaces count as one.
fn squeeze(value: &str) -> String {
    value.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Each segment is encoded once more than on the wire, for every service but S3.
fn canonical_path(path: &str) -> String {
    let segments = path.split('/').map(|segment| utf8_percent_encode(segment, ENCODED).to_string());
    segments.collect::<Vec<_>>().join("/")
}

fn canonical_query(query: &str) -> String {
    let encode = |text: &str| {
        let decoded: Vec<u8> = percent_decode_str(text).collect();
        percent_encoding::percent_encode(&decoded, ENCODED).to_string()
    };
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (encode(name), encode(value))
        })
        .collect();
    pairs.sort();
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

/// The key for a scope: date, region, service.
pub(crate) fn signing_key(secret: &str, scope: [&str; 3]) -> Vec<u8> {
    let first = format!("AWS4{secret}").into_bytes();
    scope.iter().chain(["aws4_request"].iter()).fold(first, |key, part| {
        let mut mac = keyed(&key);
        mac.update(part.as_bytes());
        mac.finalize().into_bytes().to_vec()
    })
}

pub(crate) fn keyed(key: &[u8]) -> Hmac<Sha256> {
    // HMAC takes keys of any length: longer ones than a block are hashed, shorter ones padded
    // with zeros (RFC 2104), so the block-sized key below is the same key.
    let mut block = sha2::digest::generic_array::GenericArray::default();
    if key.len() > block.len() {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    <Hmac<Sha256> as hmac::digest::KeyInit>::new(&block)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http::Request;
    use proptest::prelude::*;

    const SCOPE: Scope<'_> = Scope { region: "us-east-1", service: "service" };

    /// The keys of AWS's own test suite for Signature Version 4.
    fn credentials() -> Credentials {
        let mut credentials = Credentials::default();
        credentials.set(Credential {
            access_key: "AKIDEXAMPLE".to_owned(),
            secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned(),
            session_token: None,
            arn: None,
            expires: None,
        });
        credentials
    }

    fn call(method: &str, uri: &str, signature: &str) -> Call {
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
             SignedHeaders=host;x-amz-date, Signature={signature}"
        );
        Request::builder()
            .method(method)
            .uri(uri)
            .header("host", "example.amazonaws.com")
            .header("x-amz-date", "20150830T123600Z")
            .header("authorization", authorization)
            .body(Bytes::new())
            .unwrap()
    }

    fn verify_at(call: &Call, time: &str) -> Result<Credential, AwsError> {
        verify(call, &credentials(), SCOPE, time.parse().unwrap())
    }

    /// get-vanilla, post-vanilla and get-vanilla-query-order-key-case of the suite.
    #[test]
    fn signatures_of_awss_test_suite_are_accepted() {
        for (method, uri, signature) in [
            ("GET", "/", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
            ("POST", "/", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
            (
                "GET",
                "/?Param2=value2&Param1=value1",
                "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            ),
        ] {
            let verified = verify_at(&call(method, uri, signature), "2015-08-30T12:36:59Z");
            assert_eq!(verified.unwrap().access_key, "AKIDEXAMPLE", "{method} {uri}");
        }
    }

    proptest! {
        #[test]
        fn random_headers_never_panic_and_never_pass(text in "(AWS4-HMAC-SHA256 )?[ -~]{0,120}") {
            let mut call = call("GET", "/?a=%zz&&=", "00");
            call.headers_mut().insert("authorization", text.parse().unwrap());
            prop_assert!(verify_at(&call, "2015-08-30T12:36:00Z").is_err());
        }
    }

    #[test]
    fn anything_else_than_what_was_signed_is_refused() {
        let right = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";
        let now = "2015-08-30T12:36:00Z";
        let code = |call: &Call, now| verify_at(call, now).unwrap_err().code;
        assert_eq!(code(&call("POST", "/", right), now), "SignatureDoesNotMatch");
        assert_eq!(code(&call("GET", "/x", right), now), "SignatureDoesNotMatch");
        assert_eq!(code(&call("GET", "/", &right.replace('5', "6")), now), "SignatureDoesNotMatch");
        assert_eq!(code(&call("GET", "/", right), "2015-08-30T12:42:00Z"), "RequestExpired");
        assert_eq!(code(&call("GET", "/", right), "2015-08-30T12:30:00Z"), "RequestExpired");
        let mut with_body = call("GET", "/", right);
        *with_body.body_mut() = Bytes::from("x");
        assert_eq!(code(&with_body, now), "SignatureDoesNotMatch");
        let mut with_header = call("GET", "/", right);
        with_header.headers_mut().insert("x-amz-target", "x".parse().unwrap());
        assert_eq!(code(&with_header, now), "SignatureDoesNotMatch");
        let mut unsigned = call("GET", "/", right);
        unsigned.headers_mut().remove("authorization");
        assert_eq!(code(&unsigned, now), "AuthFailure");
        let mut with_token = call("GET", "/", right);
        with_token.headers_mut().insert("x-amz-security-token", "t".parse().unwrap());
        assert_eq!(code(&with_token, now), "AuthFailure");
    }
}
