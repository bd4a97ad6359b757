//! Who a tunnel speaks for, and to whom. Everything that makes one TLS connection differ from
//! another is part of the identity: the kernel keys its transport by address and port, so two
//! identities on one port would share a connection and with it their rights.

mod text;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use text::{AccessPointId, FileSystemId, Host, InvalidText, Region, Target};

/// One identity, hence one port. Two mounts with equal identities share the port.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// The file system.
    pub file_system: FileSystemId,
    /// The access point; it travels in the client certificate, so it needs TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_point: Option<AccessPointId>,
    /// The region whose name goes into the signature.
    pub region: Region,
    /// The mount target that is dialled first: its regional name, or a pinned address.
    pub target: Target,
    /// TLS; none relays in clear, as the mount option `notls` asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
}

impl Identity {
    /// Checks what the types alone do not: an access point without TLS would silently give the
    /// file system's root.
    pub fn check(&self) -> Result<(), InvalidIdentity> {
        let Some(tls) = &self.tls else {
            return match self.access_point {
                Some(_) => Err(InvalidIdentity::AccessPointInClear),
                None => Ok(()),
            };
        };
        match &tls.authority {
            Authority::File { path } if !path.is_absolute() => {
                Err(InvalidIdentity::RelativePath { field: "authority.path", path: path.clone() })
            }
            Authority::Amazon | Authority::File { .. } | Authority::Unverified => Ok(()),
        }
    }
}

/// How the connection to a mount target is secured.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Tls {
    /// The name that is sent as SNI and that the server's certificate must bear,
    /// `fs-….efs.<region>.<suffix>`, without a zone in front.
    pub server_name: Host,
    /// Whether the certificate must bear the name (`stunnel_check_cert_hostname`).
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub check_name: bool,
    /// Who vouches for the server.
    #[serde(default)]
    pub authority: Authority,
    /// The source of the credentials that sign the certificate; none mounts without IAM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iam: Option<CredentialsMethod>,
}

/// Who vouches for a mount target's certificate.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(tag = "roots", rename_all = "snake_case")]
pub enum Authority {
    /// Amazon's root certificates, which are built in.
    #[default]
    Amazon,
    /// A PEM file: the mount option `cafile` or the setting `stunnel_cafile`.
    File {
        /// Its absolute path, as the tunnel sees it.
        path: PathBuf,
    },
    /// Nobody: the mount option `verify=0`.
    Unverified,
}

/// The bundle that amazon-efs-utils trusts in regions whose certificates are not Amazon's.
const SYSTEM_BUNDLE: &str = "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem";

impl Authority {
    /// Who vouches for the mount targets of a region, where the operator does not say.
    #[must_use]
    pub fn of_region(region: &Region) -> Self {
        let region = region.as_str();
        if region.starts_with("us-iso") || region.starts_with("eu-iso") {
            Self::File { path: SYSTEM_BUNDLE.into() }
        } else {
            Self::Amazon
        }
    }
}

/// Where the credentials of an IAM mount come from. No secret is part of it: the tunnel fetches
/// them itself, so that it can renew them while the node plugin is down.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "snake_case")]
pub enum CredentialsMethod {
    /// What the tunnel's own environment offers: Pod Identity, web identity, the instance's role.
    Default,
    /// `AssumeRoleWithWebIdentity`: the mount options `rolearn` and `jwtpath`.
    WebIdentity {
        /// The role.
        role_arn: String,
        /// The projected token, as the tunnel sees it.
        token_file: PathBuf,
    },
    /// A container's endpoint: the mount option `awscredsuri`, which begins with `/`.
    Container {
        /// Path and query at `http://169.254.170.2`.
        path: String,
    },
    /// A profile of `~/.aws`: the mount option `awsprofile`.
    Profile {
        /// Its name.
        name: String,
    },
}

/// An identity whose parts contradict each other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidIdentity {
    /// An access point is named in the TLS certificate only.
    #[error("access_point needs tls: the access point travels in the client certificate")]
    AccessPointInClear,
    /// A path that depends on a working directory.
    #[error("{field} {} is not an absolute path", path.display())]
    RelativePath {
        /// Where it stands.
        field: &'static str,
        /// The path.
        path: PathBuf,
    },
}

const fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
const fn is_yes(value: &bool) -> bool {
    *value
}

#[cfg(test)]
mod tests;
