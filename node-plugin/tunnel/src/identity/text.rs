//! Texts of an identity that hold only what their grammar allows, so that none can smuggle a line
//! into a file or an option into a mount.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The port of an EFS mount target.
pub(crate) const NFS_PORT: u16 = 2049;
/// RFC 1035, section 2.3.4.
const LONGEST_NAME: usize = 253;
const LONGEST_LABEL: usize = 63;

/// A text that breaks the rule of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {kind}: {rule}")]
pub struct InvalidText {
    /// The text as it came.
    pub text: String,
    /// What it should have been, with its article.
    pub kind: &'static str,
    /// The rule it breaks.
    pub rule: &'static str,
}

macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $rule:literal, $holds:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(into = "String", try_from = "String")]
        pub struct $name(String);

        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidText;

            fn from_str(text: &str) -> Result<Self, InvalidText> {
                let holds: fn(&str) -> bool = $holds;
                if holds(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(InvalidText { text: text.to_owned(), kind: $kind, rule: $rule })
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidText;

            fn try_from(text: String) -> Result<Self, InvalidText> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text!(
    /// An EFS file system, `fs-0123456789abcdef0`.
    FileSystemId, "a file system id", "want fs- and 8 to 40 lower-case hex digits",
    |text| is_hex_id(text, "fs-")
);
text!(
    /// An EFS access point, `fsap-0123456789abcdef0`.
    AccessPointId, "an access point id", "want fsap- and 8 to 40 lower-case hex digits",
    |text| is_hex_id(text, "fsap-")
);
text!(
    /// An AWS region, `eu-central-1`.
    Region, "a region", "want 1 to 32 of a-z, 0-9 and -, with no - at either end",
    |text| (1..=32).contains(&text.len())
        && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        && !text.starts_with('-')
        && !text.ends_with('-')
);
text!(
    /// A DNS name or an IP address without brackets.
    Host, "a host", "want a DNS name of at most 253 characters, or an IP address",
    |text| text.parse::<IpAddr>().is_ok() || is_dns_name(text)
);

impl Region {
    /// The DNS name of a file system in the region, with `suffix` instead of the region's own.
    #[must_use]
    pub fn name_of(&self, file_system: &str, suffix: Option<&str>) -> String {
        format!("{file_system}.efs.{self}.{}", suffix.unwrap_or_else(|| self.dns_suffix()))
    }

    /// The suffix of DNS names. Source: `efs-utils.conf` of amazon-efs-utils 3.2.
    fn dns_suffix(&self) -> &'static str {
        match self.as_str() {
            region if region.starts_with("cn-") => "amazonaws.com.cn",
            region if region.starts_with("us-isob-") => "sc2s.sgov.gov",
            region if region.starts_with("us-isof-") => "csp.hci.ic.gov",
            region if region.starts_with("us-iso-") => "c2s.ic.gov",
            region if region.starts_with("eu-isoe-") => "cloud.adc-e.uk",
            region if region.starts_with("eusc-") => "amazonaws.eu",
            _ => "amazonaws.com",
        }
    }
}

fn is_hex_id(text: &str, prefix: &str) -> bool {
    text.strip_prefix(prefix).is_some_and(|digits| {
        (8..=40).contains(&digits.len())
            && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}

fn is_dns_name(text: &str) -> bool {
    let name = text.strip_suffix('.').unwrap_or(text);
    name.len() <= LONGEST_NAME
        && name.split('.').all(|label| {
            (1..=LONGEST_LABEL).contains(&label.len())
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
}

/// Where a mount target answers: `host`, `host:port` or `[IPv6]:port`; without a port, NFS's 2049.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Target {
    /// Name or address.
    pub host: Host,
    /// TCP port.
    pub port: u16,
}

impl Target {
    /// `host` at the port of NFS.
    #[must_use]
    pub const fn new(host: Host) -> Self {
        Self { host, port: NFS_PORT }
    }
}

impl FromStr for Target {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        let invalid = || InvalidText {
            text: text.to_owned(),
            kind: "a mount target",
            rule: "want host, host:port or [IPv6]:port",
        };
        let bracketed = text.strip_prefix('[').and_then(|rest| rest.split_once("]:"));
        let (host, port) = match bracketed {
            Some((host, port)) => (host, Some(port)),
            None if text.parse::<IpAddr>().is_ok() => (text, None),
            None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
        };
        let port =
            port.map_or(Ok(NFS_PORT), |port| port.parse().map_err(|_not_a_port| invalid()))?;
        let host = host.parse().map_err(|_not_a_host| invalid())?;
        if port == 0 { Err(invalid()) } else { Ok(Self { host, port }) }
    }
}

impl TryFrom<String> for Target {
    type Error = InvalidText;

    fn try_from(text: String) -> Result<Self, InvalidText> {
        text.parse()
    }
}

impl From<Target> for String {
    fn from(target: Target) -> Self {
        target.to_string()
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.as_str().contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
