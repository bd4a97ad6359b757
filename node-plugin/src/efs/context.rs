//! The volume context: what the controller, or the author of a static PersistentVolume, says of how
//! the file system is reached. Keys are compared without regard to capitals, as the driver always
//! has; a key that is none of ours is refused, since it was meant to do something.

use std::collections::BTreeMap;
use std::net::IpAddr;

use csi_core::Invalid;

/// Key that the provisioner adds to every volume; it says nothing about the mount.
const PROVISIONER_IDENTITY: &str = "storage.kubernetes.io/csiprovisioneridentity";

/// What a volume context says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeContext {
    /// Whether the way to the mount target is encrypted. Default: yes.
    pub encrypt: bool,
    /// Address of the mount target to use, instead of the name.
    pub mount_target_ip: Option<IpAddr>,
    /// Addresses of mount targets by zone, for the file system of another account.
    pub mount_target_ips: BTreeMap<String, IpAddr>,
    /// Whether the mount target is found by the zone's id, which is the same in every account.
    pub cross_account: bool,
}

impl Default for VolumeContext {
    fn default() -> Self {
        Self {
            encrypt: true,
            mount_target_ip: None,
            mount_target_ips: BTreeMap::new(),
            cross_account: false,
        }
    }
}

impl VolumeContext {
    /// Reads the context.
    ///
    /// # Errors
    /// A key that is not known or is given twice, a value that breaks the key's rule, and keys that
    /// contradict each other.
    pub fn parse(context: &BTreeMap<String, String>) -> Result<Self, Invalid> {
        let mut read = Self::default();
        let mut seen: Vec<String> = Vec::new();
        for (key, value) in context {
            let known = key.to_ascii_lowercase();
            match known.as_str() {
                "encryptintransit" => read.encrypt = boolean(key, value)?,
                "mounttargetip" => read.mount_target_ip = Some(address(key, value)?),
                "mounttargetipmap" => read.mount_target_ips = addresses(key, value)?,
                "crossaccount" => read.cross_account = boolean(key, value)?,
                PROVISIONER_IDENTITY => {}
                _ => {
                    return Err(invalid(
                        key,
                        "is not known; use encryptInTransit, mounttargetip, mounttargetipmap or \
                         crossaccount, and put a path into the volume handle",
                    ));
                }
            }
            if seen.contains(&known) {
                return Err(invalid(key, "is given twice, with different capitals"));
            }
            seen.push(known);
        }
        read.check()
    }

    fn check(self) -> Result<Self, Invalid> {
        let by_address = self.mount_target_ip.is_some() || !self.mount_target_ips.is_empty();
        if self.cross_account && by_address {
            let rule = "excludes mounttargetip and mounttargetipmap: either the zone's id leads to \
                        the mount target, or an address";
            return Err(invalid("crossaccount", rule));
        }
        Ok(self)
    }
}

fn invalid(key: &str, rule: impl Into<String>) -> Invalid {
    // A key may be any text; the message must stay one line.
    Invalid::new(format!("volume_context.{}", key.escape_debug()), rule)
}

/// The words that Go's `strconv.ParseBool` takes.
fn boolean(key: &str, value: &str) -> Result<bool, Invalid> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(invalid(key, format!("must be true or false, got {value:?}"))),
    }
}

fn address(key: &str, value: &str) -> Result<IpAddr, Invalid> {
    value.parse().map_err(|_not_one| invalid(key, format!("must be an IP address, got {value:?}")))
}

fn addresses(key: &str, value: &str) -> Result<BTreeMap<String, IpAddr>, Invalid> {
    let map: BTreeMap<String, String> = serde_json::from_str(value).map_err(|error| {
        invalid(key, format!("must be a JSON object of zones and addresses: {error}"))
    })?;
    map.into_iter().map(|(zone, value)| Ok((zone, address(key, &value)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(pairs: &[(&str, &str)]) -> Result<VolumeContext, Invalid> {
        let map = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        VolumeContext::parse(&map)
    }

    #[test]
    fn every_key_is_read_whatever_its_capitals() {
        assert_eq!(context(&[]).unwrap(), VolumeContext::default());
        assert!(!context(&[("ENCRYPTINTRANSIT", "False")]).unwrap().encrypt);
        assert!(context(&[("CrossAccount", "true")]).unwrap().cross_account);
        let by_address = context(&[
            ("mountTargetIp", "10.0.0.9"),
            ("mounttargetipmap", r#"{"us-east-1b":"10.0.1.9","us-east-1a":"fd00::9"}"#),
            ("storage.kubernetes.io/csiProvisionerIdentity", "1-8081-efs.csi.aws.com"),
        ]);
        let by_address = by_address.unwrap();
        assert_eq!(by_address.mount_target_ip, Some("10.0.0.9".parse().unwrap()));
        assert_eq!(by_address.mount_target_ips["us-east-1a"], "fd00::9".parse::<IpAddr>().unwrap());
    }

    #[test]
    fn what_breaks_a_rule_is_refused_by_the_name_of_its_key() {
        for (pairs, key) in [
            (&[("path", "/a")][..], "volume_context.path"),
            (&[("encryptInTransit", "yes")], "volume_context.encryptInTransit"),
            (&[("encryptInTransit", "true,port=1")], "volume_context.encryptInTransit"),
            (&[("mounttargetip", "10.0.0.9,tls")], "volume_context.mounttargetip"),
            (&[("mounttargetip", "10.0.0.9\n")], "volume_context.mounttargetip"),
            (&[("mounttargetip", "")], "volume_context.mounttargetip"),
            (&[("mounttargetipmap", "{")], "volume_context.mounttargetipmap"),
            (&[("mounttargetipmap", r#"{"a":"b=c"}"#)], "volume_context.mounttargetipmap"),
            (&[("crossaccount", "2")], "volume_context.crossaccount"),
            (&[("a\nb", "1")], "volume_context.a\\nb"),
            (&[("Crossaccount", "1"), ("crossaccount", "1")], "volume_context.crossaccount"),
            (&[("crossaccount", "1"), ("mounttargetip", "::1")], "volume_context.crossaccount"),
        ] {
            assert_eq!(context(pairs).unwrap_err().field, key, "{pairs:?}");
        }
    }
}
