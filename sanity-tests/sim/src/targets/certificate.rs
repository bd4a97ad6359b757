//! The client certificate by which a mount target knows whom a connection speaks for. Its layout
//! is the one that efs-utils makes; nothing else is accepted, since nothing else is known to be.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Version;

use super::der::Der;

const SUBJECT_KEY_IDENTIFIER: &str = "2.5.29.14";
const ACCESS_POINT: &str = "1.3.6.1.4.1.4843.7.1";
const SIGNATURE: &str = "1.3.6.1.4.1.4843.7.2";
const FILE_SYSTEM: &str = "1.3.6.1.4.1.4843.7.3";
const CLIENT_INFO: &str = "1.3.6.1.4.1.4843.7.4";
/// sha256WithRSAEncryption.
const SIGNATURE_ALGORITHM: &str = "1.2.840.113549.1.1.11";
/// commonName.
const COMMON_NAME: &str = "2.5.4.3";
/// X.520's upper bound of a common name.
const LONGEST_NAME: usize = 64;
/// efs-utils' bound of what a client says it is.
const LONGEST_SOURCE: usize = 100;

/// What a certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// The file system.
    pub file_system: String,
    /// The access point.
    pub access_point: Option<String>,
    /// The IAM identity.
    pub signature: Option<SignatureClaim>,
    /// What the client says it is, and its version.
    pub client: (String, String),
    /// From when on it is in force.
    pub not_before: Timestamp,
    /// Until when it is in force.
    pub not_after: Timestamp,
    /// Hex SHA-1 of the public key.
    pub key_hash: String,
}

/// An IAM identity as a certificate claims it.
#[derive(Clone, PartialEq, Eq)]
pub struct SignatureClaim {
    /// The access key id.
    pub access_key: String,
    /// 64 hex digits.
    pub signature: String,
    /// When it was signed.
    pub time: Timestamp,
    /// The session token, for temporary keys.
    pub session_token: Option<String>,
}

impl std::fmt::Debug for SignatureClaim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignatureClaim")
            .field("access_key", &self.access_key)
            .field("time", &self.time)
            .finish_non_exhaustive()
    }
}

/// A certificate that is not laid out as a mount target wants it: the rule it breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the certificate's layout is wrong: {0}")]
pub struct LayoutError(&'static str);

impl Claims {
    /// Reads a certificate and verifies that its own key signed it. Times are not compared.
    pub fn read(certificate: &[u8]) -> Result<Self, LayoutError> {
        let (rest, parsed) = X509Certificate::from_der(certificate)
            .map_err(|_malformed| LayoutError("it is not an X.509 certificate"))?;
        ensure(rest.is_empty(), "something follows it")?;
        check_frame(&parsed)?;
        let mut claims = Self {
            file_system: String::new(),
            access_point: None,
            signature: None,
            client: (String::new(), String::new()),
            not_before: time(parsed.validity().not_before.timestamp())?,
            not_after: time(parsed.validity().not_after.timestamp())?,
            key_hash: key_hash(&parsed),
        };
        let mut seen = Vec::new();
        for extension in parsed.extensions() {
            ensure(!extension.critical, "an extension is critical")?;
            let id = extension.oid.to_id_string();
            claims.take(&id, extension.value)?;
            seen.push(id);
        }
        let order = [SUBJECT_KEY_IDENTIFIER, ACCESS_POINT, SIGNATURE, FILE_SYSTEM, CLIENT_INFO];
        let wanted = order.iter().filter(|id| match **id {
            ACCESS_POINT => claims.access_point.is_some(),
            SIGNATURE => claims.signature.is_some(),
            _ => true,
        });
        ensure(wanted.eq(seen.iter()), "extensions are missing, repeated or out of order")?;
        Ok(claims)
    }

    fn take(&mut self, id: &str, value: &[u8]) -> Result<(), LayoutError> {
        let mut der = Der::new(value);
        match id {
            SUBJECT_KEY_IDENTIFIER => {
                let hash = der.octets().map(hex::encode);
                ensure(
                    hash.as_ref() == Some(&self.key_hash),
                    "the subject key identifier is not the SHA-1 of the key",
                )?;
            }
            ACCESS_POINT => {
                let text = der.text().ok_or(LayoutError("the access point is not a UTF8String"))?;
                self.access_point = Some(text.to_owned());
            }
            SIGNATURE => {
                let claim = SignatureClaim::read(&mut der);
                self.signature = Some(claim.ok_or(LayoutError("the signature is malformed"))?);
            }
            FILE_SYSTEM => {
                let text = der.text().ok_or(LayoutError("the file system is not a UTF8String"))?;
                text.clone_into(&mut self.file_system);
            }
            CLIENT_INFO => {
                let client = client_info(&mut der);
                self.client = client.ok_or(LayoutError("the client information is malformed"))?;
            }
            _ => return Err(LayoutError("it has an unknown extension")),
        }
        ensure(der.is_empty(), "something follows an extension's value")
    }
}

impl SignatureClaim {
    fn read(der: &mut Der<'_>) -> Option<Self> {
        let mut inner = der.sequence()?;
        let access_key = inner.text()?.to_owned();
        let signature = String::from_utf8(inner.octets()?.to_vec()).ok()?;
        let time = utc(inner.utc_time()?)?;
        let session_token = if inner.is_empty() {
            None
        } else {
            let mut token = inner.explicit(0)?;
            let text = token.text()?.to_owned();
            token.is_empty().then_some(Some(text))?
        };
        let is_hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        let is_right = signature.len() == 64 && signature.bytes().all(is_hex) && inner.is_empty();
        is_right.then_some(Self { access_key, signature, time, session_token })
    }
}

fn check_frame(parsed: &X509Certificate<'_>) -> Result<(), LayoutError> {
    ensure(parsed.version() == X509Version::V3, "it is not of version 3")?;
    ensure(parsed.subject() == parsed.issuer(), "it is not self-signed")?;
    let names: Vec<_> = parsed.subject().iter_attributes().collect();
    let [name] = names.as_slice() else {
        return Err(LayoutError("its subject has more or less than a common name"));
    };
    ensure(name.attr_type().to_id_string() == COMMON_NAME, "its subject is no common name")?;
    let text = name.as_str().unwrap_or_default();
    ensure((1..=LONGEST_NAME).contains(&text.chars().count()), "its common name's length")?;
    ensure(
        parsed.signature_algorithm.algorithm.to_id_string() == SIGNATURE_ALGORITHM,
        "it is not signed with RSA and SHA-256",
    )?;
    parsed.verify_signature(None).map_err(|_mismatch| LayoutError("its own key did not sign it"))
}

fn client_info(der: &mut Der<'_>) -> Option<(String, String)> {
    let mut inner = der.sequence()?;
    let (source, version) = (inner.text()?, inner.text()?);
    let fits = inner.is_empty() && source.chars().count() <= LONGEST_SOURCE;
    // Renewals by efs-utils' watchdog put a blank before both.
    fits.then(|| (source.trim_start().to_owned(), version.trim_start().to_owned()))
}

/// SHA-1 of the public key's bits: RFC 5280, section 4.2.1.2, method 1.
fn key_hash(parsed: &X509Certificate<'_>) -> String {
    let key = &parsed.public_key().subject_public_key.data;
    hex::encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, key))
}

fn time(seconds: i64) -> Result<Timestamp, LayoutError> {
    Timestamp::from_second(seconds).map_err(|_out_of_range| LayoutError("its validity"))
}

/// RFC 5280, section 4.1.2.5.1: two digits of the year, seconds, Z.
fn utc(text: &str) -> Option<Timestamp> {
    let time = DateTime::strptime("%Y%m%d%H%M%SZ", format!("20{text}")).ok()?;
    TimeZone::UTC.to_timestamp(time).ok()
}

fn ensure(holds: bool, rule: &'static str) -> Result<(), LayoutError> {
    if holds { Ok(()) } else { Err(LayoutError(rule)) }
}
