//! The options that upstream's mount helper takes for itself: encryption, credentials, names. They
//! are read into a type, and what contradicts each other is named.

use std::net::IpAddr;
use std::path::{Component, Path, PathBuf};

use csi_core::Invalid;
use csi_core::id::AccessPointId;

use super::Item;

/// Keys of the options that are read here; all others go to the mount.
pub(super) const KEYS: [&str; 23] = [
    "accesspoint",
    "awscredsuri",
    "awsprofile",
    "az",
    "azid",
    "cafile",
    "capath",
    "crossaccount",
    "iam",
    "jwtpath",
    "mounttargetip",
    "netns",
    "nodirects3read",
    "noocsp",
    "nos3readcache",
    "notls",
    "ocsp",
    "region",
    "rolearn",
    "stunnel",
    "tls",
    "tlsport",
    "verify",
];

/// How a file system is reached, as mount flags say it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Helper {
    /// `accesspoint`: the access point, which the volume handle should name instead.
    pub access_point: Option<AccessPointId>,
    /// `tls`, `notls`: whether the way is encrypted.
    pub way: Way,
    /// `iam`: EFS is shown an IAM identity.
    pub iam: bool,
    /// `awsprofile`: the profile whose credentials are shown.
    pub profile: Option<String>,
    /// `rolearn` and `jwtpath`: the role that is assumed with a token.
    pub web_identity: Option<WebIdentity>,
    /// `az`: the zone whose mount target is used, by name.
    pub zone: Option<String>,
    /// `region`: the file system's region.
    pub region: Option<String>,
    /// `mounttargetip`: address of the mount target.
    pub mount_target_ip: Option<IpAddr>,
    /// `cafile`: the authorities that may vouch for the mount target.
    pub ca_file: Option<PathBuf>,
    /// `verify=0`: the mount target's certificate is not checked.
    pub no_verify: bool,
    /// `tlsport`: the local port to use.
    pub port: Option<u16>,
}

/// What the options say of encryption.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Way {
    /// Nothing.
    #[default]
    Unsaid,
    /// `tls`.
    Encrypted,
    /// `notls`.
    Clear,
}

/// A role and the file with the token that is exchanged for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WebIdentity {
    /// ARN of the role.
    pub role: String,
    /// File with the token.
    pub token_file: PathBuf,
}

impl Helper {
    pub(super) fn parse(items: &[Item<'_>]) -> Result<Self, Invalid> {
        let mut read = Self::default();
        let (mut role, mut token) = (None, None);
        for item in items {
            match item.key.as_str() {
                "rolearn" => role = Some(item.text()?.to_owned()),
                "jwtpath" => token = Some(path(item)?),
                _ => read.take(item)?,
            }
        }
        read.web_identity = match (role, token) {
            (Some(role), Some(token_file)) => Some(WebIdentity { role, token_file }),
            (None, None) => None,
            (Some(_), None) => return Err(invalid("rolearn", "needs jwtpath")),
            (None, Some(_)) => return Err(invalid("jwtpath", "needs rolearn")),
        };
        read.check()
    }

    fn take(&mut self, item: &Item<'_>) -> Result<(), Invalid> {
        match item.key.as_str() {
            "accesspoint" => self.access_point = Some(access_point(item)?),
            "tls" => self.encrypt(item, Way::Encrypted)?,
            "notls" => self.encrypt(item, Way::Clear)?,
            "iam" => {
                item.bare()?;
                self.iam = true;
            }
            "awsprofile" => self.profile = Some(item.text()?.to_owned()),
            "az" => self.zone = Some(label(item)?),
            "region" => self.region = Some(label(item)?),
            "mounttargetip" => self.mount_target_ip = Some(address(item)?),
            "cafile" => self.ca_file = Some(path(item)?),
            "verify" => self.no_verify = item.number::<u8>()? == 0,
            "tlsport" => self.port = Some(port(item)?),
            // The CSI driver has always dropped it: it names the credentials of a container that
            // is not this one. The others say what is the case anyway.
            "awscredsuri" | "noocsp" | "stunnel" | "nodirects3read" | "nos3readcache" => {}
            _ => return Err(item.invalid(refusal(&item.key))),
        }
        Ok(())
    }

    fn encrypt(&mut self, item: &Item<'_>, way: Way) -> Result<(), Invalid> {
        item.bare()?;
        if self.way != Way::Unsaid && self.way != way {
            return Err(invalid("notls", "excludes tls"));
        }
        self.way = way;
        Ok(())
    }

    fn check(self) -> Result<Self, Invalid> {
        let clear = self.way == Way::Clear;
        let rules = [
            (self.iam && clear, "iam", "needs an encrypted way, so it excludes notls"),
            (
                self.access_point.is_some() && clear,
                "accesspoint",
                "needs an encrypted way, so it excludes notls",
            ),
            (self.profile.is_some() && !self.iam, "awsprofile", "needs iam"),
            (self.web_identity.is_some() && !self.iam, "rolearn", "needs iam"),
            (
                self.web_identity.is_some() && self.profile.is_some(),
                "rolearn",
                "excludes awsprofile: one identity is shown, not two",
            ),
        ];
        match rules.into_iter().find(|(broken, ..)| *broken) {
            Some((_, key, rule)) => Err(invalid(key, rule)),
            None => Ok(self),
        }
    }
}

fn refusal(key: &str) -> &'static str {
    match key {
        "azid" => "is for S3 Files; use az, or crossaccount in the volume context",
        "capath" => "is not supported; name one file with cafile",
        "crossaccount" => "belongs into the volume context, not into the mount flags",
        "netns" => "is not supported: mounts are made in the node's own network namespace",
        "ocsp" => "is not supported: EFS's certificates are checked without OCSP",
        _ => "is not an option of EFS",
    }
}

fn invalid(key: &str, rule: &str) -> Invalid {
    Invalid::new(format!("mount_flags.{key}"), rule)
}

fn access_point(item: &Item<'_>) -> Result<AccessPointId, Invalid> {
    let parsed = item.text()?.parse();
    parsed.map_err(|error: csi_core::id::InvalidId| item.invalid(error.rule))
}

/// A zone or a region: what can stand in a DNS name.
fn label(item: &Item<'_>) -> Result<String, Invalid> {
    let text = item.text()?;
    let end = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let valid = text.len() <= 32
        && text.starts_with(end)
        && text.ends_with(end)
        && text.chars().all(|c| end(c) || c == '-');
    if valid {
        Ok(text.to_owned())
    } else {
        let rule = format!("must be up to 32 of a-z, 0-9 and inner hyphens, got {text:?}");
        Err(item.invalid(rule))
    }
}

fn address(item: &Item<'_>) -> Result<IpAddr, Invalid> {
    let text = item.text()?;
    text.parse().map_err(|_not_one| item.invalid(format!("must be an IP address, got {text:?}")))
}

fn path(item: &Item<'_>) -> Result<PathBuf, Invalid> {
    let path = Path::new(item.text()?);
    let plain = |part| matches!(part, Component::RootDir | Component::Normal(_));
    if path.is_absolute() && path.components().all(plain) {
        Ok(path.to_owned())
    } else {
        Err(item.invalid("must be an absolute path without `..`"))
    }
}

fn port(item: &Item<'_>) -> Result<u16, Invalid> {
    match item.number()? {
        0..1024 => Err(item.invalid("must be a port from 1024 to 65535")),
        port => Ok(port),
    }
}

#[cfg(test)]
mod tests {
    use super::Way;
    use crate::efs::options::Options;
    use csi_core::Invalid;

    fn parse(flags: &str) -> Result<super::Helper, Invalid> {
        let flags: Vec<String> = flags.split(' ').map(str::to_owned).collect();
        Options::parse(&flags).map(|options| options.helper)
    }

    #[test]
    fn every_option_is_read_and_values_keep_their_capitals() {
        let read = parse(
            "iam tls rolearn=arn:aws:iam::123456789012:role/MyRole jwtpath=/var/Run/Token \
             az=us-east-1a region=us-east-1 cafile=/etc/CA.pem verify=2 tlsport=20050 \
             accesspoint=fsap-0123456789abcdef0 mounttargetip=fd00::1 noocsp stunnel \
             awscredsuri=/Creds nodirects3read nos3readcache",
        );
        let read = read.unwrap();
        let identity = read.web_identity.unwrap();
        assert_eq!(identity.role, "arn:aws:iam::123456789012:role/MyRole");
        assert_eq!(identity.token_file.to_str(), Some("/var/Run/Token"));
        assert_eq!((read.zone.as_deref(), read.port), (Some("us-east-1a"), Some(20_050)));
        assert_eq!(read.region.as_deref(), Some("us-east-1"));
        assert_eq!(read.ca_file.unwrap().to_str(), Some("/etc/CA.pem"));
        assert!(!read.no_verify && read.iam && read.way == Way::Encrypted);
        assert!(parse("verify=0").unwrap().no_verify);
        assert_eq!(parse("notls").unwrap().way, Way::Clear);
    }

    #[test]
    fn each_rule_that_is_broken_is_named_with_its_key() {
        for (flags, key) in [
            ("accesspoint", "accesspoint"),
            ("accesspoint=fs-0123456789abcdef0", "accesspoint"),
            ("accesspoint=fsap-0123456789abcdef0 notls", "accesspoint"),
            ("tls=1", "tls"),
            ("tls notls", "notls"),
            ("iam notls", "iam"),
            ("awsprofile=a", "awsprofile"),
            ("iam rolearn=a", "rolearn"),
            ("iam jwtpath=/a", "jwtpath"),
            ("rolearn=a jwtpath=/a", "rolearn"),
            ("iam awsprofile=b rolearn=a jwtpath=/a", "rolearn"),
            ("iam rolearn=a jwtpath=a/b", "jwtpath"),
            ("iam rolearn=a jwtpath=/a/../b", "jwtpath"),
            ("az=us_east", "az"),
            ("az=-a", "az"),
            ("az=us-east-1a.evil", "az"),
            ("azid=use1-az1", "azid"),
            ("region=US-EAST-1", "region"),
            ("region=a234567890123456789012345678901234", "region"),
            ("mounttargetip=localhost", "mounttargetip"),
            ("cafile=ca.pem", "cafile"),
            ("capath=/etc", "capath"),
            ("verify=no", "verify"),
            ("tlsport=80", "tlsport"),
            ("tlsport=65536", "tlsport"),
            ("crossaccount", "crossaccount"),
            ("netns=/proc/1/ns/net", "netns"),
            ("ocsp", "ocsp"),
        ] {
            let error = parse(flags).unwrap_err();
            assert_eq!(error.field, format!("mount_flags.{key}"), "{flags}");
        }
    }
}
