//! Identifiers. An id of one kind cannot stand where another kind is wanted, and holds only text
//! that AWS accepts as well-formed, so a malformed id never reaches a batched call, where it would
//! fail every other caller's question too.

use std::fmt;
use std::str::FromStr;

/// A text that is not an id of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {kind}: {rule}")]
pub struct InvalidId {
    /// The text as it came.
    pub text: String,
    /// What it should have been, with its article.
    pub kind: &'static str,
    /// The rule it breaks.
    pub rule: &'static str,
}

macro_rules! aws_id {
    (
        $(#[$doc:meta])* $name:ident, $prefix:literal, $lengths:pat, $said:literal, $kind:literal
    ) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The id as AWS writes it.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let hex = text.strip_prefix($prefix).filter(|hex| is_lower_hex(hex));
                if hex.is_some_and(|hex| matches!(hex.len(), $lengths)) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(InvalidId {
                        // An id may be a huge text; the message must not be.
                        text: text.chars().take(64).collect(),
                        kind: $kind,
                        rule: concat!("want ", $prefix, " and ", $said, " lower-case hex digits"),
                    })
                }
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

aws_id!(
    /// An EBS volume, `vol-0123456789abcdef0`. It is the CSI volume handle.
    VolumeId, "vol-", 8 | 17, "8 or 17", "a volume id"
);
aws_id!(
    /// An EBS snapshot, `snap-0123456789abcdef0`. It is the CSI snapshot handle.
    SnapshotId, "snap-", 8 | 17, "8 or 17", "a snapshot id"
);
aws_id!(
    /// An EC2 instance, `i-0123456789abcdef0`. It is the CSI node id.
    InstanceId, "i-", 8 | 17, "8 or 17", "an instance id"
);

aws_id!(
    /// An EFS file system, `fs-0123456789abcdef0`.
    FileSystemId, "fs-", 8..=40, "8 to 40", "a file system id"
);
aws_id!(
    /// An EFS access point, `fsap-0123456789abcdef0`.
    AccessPointId, "fsap-", 8..=40, "8 to 40", "an access point id"
);

impl VolumeId {
    /// The id as an NVMe device carries it in its serial number: without the dash.
    /// Source: EBS user guide, "Identify the EBS device".
    #[must_use]
    pub fn nvme_serial(&self) -> String {
        self.0.replacen('-', "", 1)
    }
}

/// The handle of a node-local volume, `local-ebs://dev/xvdbz`: whatever EC2 has attached to the pod's
/// node as `/dev/xvdbz`. Only static `PersistentVolume`s carry it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocalDevice(String);

impl LocalDevice {
    const SCHEME: &str = "local-ebs:/";

    /// Whether a volume handle is meant to be one of these.
    #[must_use]
    pub fn is_meant(handle: &str) -> bool {
        handle.starts_with(Self::SCHEME)
    }

    /// The device name as EC2 has it, `/dev/xvdbz`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl FromStr for LocalDevice {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let name = text.strip_prefix(Self::SCHEME);
        let is_plain = |name: &str| {
            name.strip_prefix("/dev/").is_some_and(|rest| {
                !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_alphanumeric())
            })
        };
        name.filter(|name| is_plain(name)).map(|name| Self(name.to_owned())).ok_or_else(|| {
            InvalidId {
                text: text.chars().take(64).collect(),
                kind: "the handle of a node-local volume",
                rule: "want local-ebs://dev/ and a device's name",
            }
        })
    }
}

impl fmt::Display for LocalDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", Self::SCHEME, self.0)
    }
}

fn is_lower_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

macro_rules! csi_name {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The name as the CO gave it.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                match name_rule(text) {
                    None => Ok(Self(text.to_owned())),
                    Some(rule) => {
                        // A name may be huge; the message must not be.
                        let text = text.chars().take(64).collect();
                        Err(InvalidId { text, kind: $kind, rule })
                    }
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.0)
            }
        }
    };
}

csi_name!(
    /// The name a CO gives to a volume it wants: the key of `CreateVolume`'s idempotency.
    VolumeName, "a volume name"
);
csi_name!(
    /// The name a CO gives to a snapshot it wants: the key of `CreateSnapshot`'s idempotency.
    SnapshotName, "a snapshot name"
);

/// CSI specification, "Size Limits": a string is at most 128 bytes. Names become EC2 tag values,
/// so control characters are refused as the specification's CreateVolumeRequest.name allows.
fn name_rule(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        Some("it must not be empty")
    } else if text.len() > 128 {
        Some("it must not be longer than 128 bytes")
    } else if text.chars().any(char::is_control) {
        Some("it must not contain control characters")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_well_formed_id_round_trips(hex in "[0-9a-f]{17}|[0-9a-f]{8}") {
            let text = format!("vol-{hex}");
            let id: VolumeId = text.parse().unwrap();
            prop_assert_eq!(id.to_string(), text);
            prop_assert_eq!(id.nvme_serial(), format!("vol{hex}"));
        }

        #[test]
        fn random_text_never_panics_and_is_kept_only_if_well_formed(text in ".*") {
            if let Ok(id) = text.parse::<InstanceId>() {
                prop_assert!(id.as_str().starts_with("i-"));
            }
            if let Ok(name) = text.parse::<VolumeName>() {
                prop_assert_eq!(name.as_str(), text);
            }
        }
    }

    #[test]
    fn the_handle_of_a_node_local_volume_names_a_device() {
        let handle = "local-ebs://dev/xvdbz";
        let device: LocalDevice = handle.parse().unwrap();
        assert_eq!((device.name(), device.to_string().as_str()), ("/dev/xvdbz", handle));
        for bad in ["local-ebs://dev/", "local-ebs://etc/x", "local-ebs://dev/../sda", "vol-1", ""]
        {
            assert!(bad.parse::<LocalDevice>().is_err(), "{bad}");
        }
    }

    #[test]
    fn ids_of_another_kind_or_case_or_length_are_refused() {
        for text in [
            "snap-0123456789abcdef0",
            "vol-",
            "vol-0123456789ABCDEF0",
            "vol-012",
            "vol-0123456789abcdef01",
        ] {
            assert!(text.parse::<VolumeId>().is_err(), "{text}");
        }
    }

    #[test]
    fn file_systems_and_access_points_have_8_to_40_digits() {
        for digits in [8, 17, 40] {
            let hex = "a".repeat(digits);
            assert!(format!("fs-{hex}").parse::<FileSystemId>().is_ok(), "{digits}");
            assert!(format!("fsap-{hex}").parse::<AccessPointId>().is_ok(), "{digits}");
        }
        for bad in ["fs-0123456", "fs-", "fsap-01234567", "fs-0123456g", "fs-01234567,x=y", ""] {
            assert!(bad.parse::<FileSystemId>().is_err(), "{bad}");
        }
        assert!(format!("fsap-{}", "a".repeat(41)).parse::<AccessPointId>().is_err());
    }

    #[test]
    fn a_name_of_129_bytes_is_refused_and_128_is_accepted() {
        assert!("x".repeat(128).parse::<VolumeName>().is_ok());
        assert!("x".repeat(129).parse::<VolumeName>().is_err());
    }
}
