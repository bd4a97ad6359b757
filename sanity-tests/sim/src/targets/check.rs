//! What a mount target checks before it lets a client in. Whoever fails is refused in the TLS
//! handshake.

use jiff::Timestamp;

use super::certificate::{Claims, LayoutError, SignatureClaim};
use super::connect::{EXPIRES, Signed};
use crate::http::App;
use crate::world::efs::{Access, AccessPointRecord, FileSystemRecord, LifeCycle};

/// How far the clocks may differ, in seconds.
const SKEW: i64 = 300;

/// Why a client is not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The certificate is laid out otherwise.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// It is not in force yet, or no more.
    #[error("the certificate is in force from {from} to {until} only")]
    NotInForce {
        /// From when.
        from: Timestamp,
        /// Until when.
        until: Timestamp,
    },
    /// It names another file system.
    #[error("the certificate is for {0}, which has no mount target here")]
    OtherFileSystem(String),
    /// The file system is not usable.
    #[error("{0} is not available")]
    FileSystemState(String),
    /// There is no such access point of this file system, or it is not usable.
    #[error("the access point {0} does not exist, is not of this file system, or not available")]
    AccessPoint(String),
    /// The access key is unknown, or the session token is another's.
    #[error("the access key {0} is unknown or its session token is wrong")]
    UnknownKey(String),
    /// The session has ended.
    #[error("the session of {0} has expired")]
    ExpiredSession(String),
    /// The signature was made too long ago, or will be made.
    #[error("the signature's time {0} is too far off")]
    SignatureTime(Timestamp),
    /// The signature is not the credentials'.
    #[error("the signature of {0} does not match")]
    Signature(String),
    /// The file system's policy does not allow it.
    #[error("the file system's policy does not let {0} mount")]
    Policy(String),
}

/// A client that is let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Client {
    pub(super) access_point: Option<AccessPointRecord>,
    pub(super) access: Access,
}

/// Checks a certificate.
pub(super) fn check(
    app: &App,
    file_system: &str,
    certificate: &[u8],
    now: Timestamp,
) -> Result<Client, Refusal> {
    let claims = Claims::read(certificate)?;
    if now < claims.not_before || now > claims.not_after {
        return Err(Refusal::NotInForce { from: claims.not_before, until: claims.not_after });
    }
    if claims.file_system != file_system {
        return Err(Refusal::OtherFileSystem(claims.file_system));
    }
    let principal = match &claims.signature {
        Some(claim) => Some(signer(app, &claims, claim, now)?),
        None => None,
    };
    admit(app, file_system, claims.access_point.as_deref(), principal.as_deref())
}

/// A client without TLS, which has no identity and no access point.
pub(super) fn check_plain(app: &App, file_system: &str) -> Result<Client, Refusal> {
    let tls_only = app
        .sim()
        .with(|world, _| world.file_system(file_system).is_some_and(FileSystemRecord::is_tls_only));
    if tls_only {
        return Err(Refusal::Policy("a client without TLS".to_owned()));
    }
    admit(app, file_system, None, None)
}

/// Whose signature it is, as an ARN.
fn signer(
    app: &App,
    claims: &Claims,
    claim: &SignatureClaim,
    now: Timestamp,
) -> Result<String, Refusal> {
    let key = || claim.access_key.clone();
    let credential = app
        .credential(&claim.access_key)
        .filter(|known| known.session_token == claim.session_token)
        .ok_or_else(|| Refusal::UnknownKey(key()))?;
    if credential.expires.is_some_and(|at| at <= now.as_second()) {
        return Err(Refusal::ExpiredSession(key()));
    }
    let age = now.as_second() - claim.time.as_second();
    if !(-SKEW..=EXPIRES).contains(&age) {
        return Err(Refusal::SignatureTime(claim.time));
    }
    let signed = Signed {
        file_system: &claims.file_system,
        region: app.region(),
        service: crate::http::EFS_SERVICE,
        key_hash: &claims.key_hash,
        time: claim.time,
    };
    if !signed.is_by(&credential, claim) {
        return Err(Refusal::Signature(key()));
    }
    Ok(credential.principal())
}

/// What the world says.
fn admit(
    app: &App,
    file_system: &str,
    access_point: Option<&str>,
    principal: Option<&str>,
) -> Result<Client, Refusal> {
    app.sim().with(|world, _| {
        let record = world
            .file_system(file_system)
            .filter(|record| record.state == LifeCycle::Available)
            .ok_or_else(|| Refusal::FileSystemState(file_system.to_owned()))?;
        let point = match access_point {
            None => None,
            Some(id) => {
                let usable = |point: &&AccessPointRecord| {
                    point.file_system == file_system && point.state == LifeCycle::Available
                };
                let point = world.access_point(id).filter(usable);
                Some(point.cloned().ok_or_else(|| Refusal::AccessPoint(id.to_owned()))?)
            }
        };
        let access = record.access(principal, point.is_some()).ok_or_else(|| {
            Refusal::Policy(principal.unwrap_or("a client without an identity").to_owned())
        })?;
        Ok(Client { access_point: point, access })
    })
}
