//! The client certificate by which a mount target knows whom a connection speaks for. EFS reads the
//! file system, the access point and the IAM signature from its extensions; nothing else on the wire
//! authenticates an NFS client. Layout and object identifiers are those of the certificates that
//! efs-utils makes with OpenSSL.

mod der;
mod signature;

use std::time::Duration;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use jiff::Timestamp;
use rcgen::{
    CertificateParams, CustomExtension, DistinguishedName, DnType, IsCa, KeyPair, PublicKeyData,
    SerialNumber, date_time_ymd,
};
use rustls::pki_types::CertificateDer;

use crate::credentials::Credentials;
use crate::identity::{AccessPointId, FileSystemId, Region};

pub use signature::{SERVICE, connect};

/// The certificate begins so long before its making, for clocks that differ.
const BEFORE: Duration = Duration::from_mins(15);
/// It ends so long after its making.
const AFTER: Duration = Duration::from_hours(3);
/// X.520's upper bound of a common name.
const LONGEST_NAME: usize = 64;

const SUBJECT_KEY_IDENTIFIER: &[u64] = &[2, 5, 29, 14];
const ACCESS_POINT: &[u64] = &[1, 3, 6, 1, 4, 1, 4843, 7, 1];
const SIGNATURE: &[u64] = &[1, 3, 6, 1, 4, 1, 4843, 7, 2];
const FILE_SYSTEM: &[u64] = &[1, 3, 6, 1, 4, 1, 4843, 7, 3];
const CLIENT_INFO: &[u64] = &[1, 3, 6, 1, 4, 1, 4843, 7, 4];

/// What goes into one certificate.
#[derive(Debug, Clone)]
pub struct Certificate<'a> {
    /// 0 at first, one more at each renewal.
    pub serial: u64,
    /// The node's host name; what passes 64 characters is cut.
    pub common_name: &'a str,
    /// The file system.
    pub file_system: &'a FileSystemId,
    /// The access point.
    pub access_point: Option<&'a AccessPointId>,
    /// The region that the signature is for.
    pub region: &'a Region,
    /// The credentials that sign; without them the mount is not an IAM mount.
    pub credentials: Option<&'a Credentials>,
    /// Who the client is.
    pub client: &'a ClientInfo,
}

/// What a client says about itself. EFS shows it to nobody, but efs-utils sends it in every
/// certificate, and a service may rely on that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientInfo {
    /// The kind of client; `k8s` for CSI drivers. At most 100 characters.
    pub source: String,
    /// The version of efs-utils whose behaviour this is.
    pub version: String,
}

impl Default for ClientInfo {
    fn default() -> Self {
        Self { source: "k8s".to_owned(), version: "3.2.0".to_owned() }
    }
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The encoder or the signer failed.
    #[error("the client certificate for {file_system} could not be made")]
    Encode {
        /// Whose.
        file_system: FileSystemId,
        /// The cause.
        source: rcgen::Error,
    },
}

impl Certificate<'_> {
    /// Makes the certificate at the time `now`, signed by its own key.
    pub fn issue(
        &self,
        key: &KeyPair,
        now: Timestamp,
    ) -> Result<CertificateDer<'static>, IssueError> {
        let mut params = CertificateParams::default();
        // rcgen takes the time crate's type, which this crate needs for nothing else.
        let made = date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds(now));
        params.not_before = made - BEFORE;
        params.not_after = made + AFTER;
        params.serial_number = Some(SerialNumber::from(self.serial));
        params.is_ca = IsCa::NoCa;
        params.distinguished_name = DistinguishedName::new();
        let name: String = self.common_name.chars().take(LONGEST_NAME).collect();
        params.distinguished_name.push(DnType::CommonName, name);
        params.custom_extensions = self.extensions(key, now);
        let certificate = params.self_signed(key).map_err(|source| IssueError::Encode {
            file_system: self.file_system.clone(),
            source,
        })?;
        Ok(certificate.der().clone())
    }

    /// The extensions, in efs-utils' order, none critical.
    fn extensions(&self, key: &KeyPair, now: Timestamp) -> Vec<CustomExtension> {
        let hash = public_key_hash(key);
        let extension = CustomExtension::from_oid_content;
        let mut all = vec![extension(SUBJECT_KEY_IDENTIFIER, der::octets(&hash))];
        if let Some(access_point) = self.access_point {
            all.push(extension(ACCESS_POINT, der::text(access_point.as_str())));
        }
        if let Some(credentials) = self.credentials {
            all.push(extension(SIGNATURE, self.signature(credentials, &hash, now)));
        }
        all.push(extension(FILE_SYSTEM, der::text(self.file_system.as_str())));
        let client = [der::text(&self.client.source), der::text(&self.client.version)];
        all.push(extension(CLIENT_INFO, der::sequence(&client)));
        all
    }

    /// The signature is the text of 64 hex digits, not the 32 bytes; its time is now, not the begin
    /// of the certificate.
    fn signature(&self, credentials: &Credentials, hash: &[u8], now: Timestamp) -> Vec<u8> {
        let signature =
            connect(credentials, self.file_system, self.region, &hex::encode(hash), now);
        let mut parts = vec![
            der::text(&credentials.access_key_id),
            der::octets(signature.as_bytes()),
            der::utc_time(now),
        ];
        if let Some(token) = &credentials.session_token {
            parts.push(der::explicit(0, &der::text(token)));
        }
        der::sequence(&parts)
    }
}

/// SHA-1 of the public key's bits: RFC 5280, section 4.2.1.2, method 1. EFS fixes it.
pub(crate) fn public_key_hash(key: &KeyPair) -> Vec<u8> {
    digest(&SHA1_FOR_LEGACY_USE_ONLY, key.der_bytes()).as_ref().to_vec()
}

/// A clock that stands before 1970 counts as 1970.
fn seconds(now: Timestamp) -> u64 {
    u64::try_from(now.as_second()).unwrap_or(0)
}

#[cfg(test)]
mod tests;
