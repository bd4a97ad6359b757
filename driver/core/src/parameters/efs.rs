//! Parameters of an EFS `StorageClass`.
//!
//! The driver that this one replaces ignores a key that it does not know, so that a misspelt
//! `basepath` silently puts volumes beside it; here an unknown key is refused by name.

mod table;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::{Claim, Given, InvalidTags};
use crate::efs::{ObjectKey, Permissions, SubPath, base_path};
use crate::id::FileSystemId;
use crate::rpc_error::Invalid;
use crate::topology::Zone;

pub use table::EFS_CLASS;

/// GIDs of a class that names none: what the replaced driver does, whose documentation says
/// otherwise.
const DEFAULT_GIDS: RangeInclusive<u32> = 50_000..=60_000;

/// What an EFS `StorageClass` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a parameter that users write")]
pub struct EfsParameters {
    /// Where the file system's id stands.
    pub file_system: FileSystemRef,
    /// Permissions of the root directory.
    pub permissions: Permissions,
    /// User id of the access point; without one, the number that is chosen for the group.
    pub uid: Option<u32>,
    /// Group id of the access point; without one, a free number of `gids`.
    pub gid: Option<u32>,
    /// Numbers to choose from.
    pub gids: RangeInclusive<u32>,
    /// Directory that holds the volumes' directories: absolute and clean.
    pub base_path: String,
    /// How a volume's directory is called; without it, as the volume.
    pub sub_path: Option<SubPath>,
    /// Whether something unique follows a name made by `sub_path`.
    pub unique_directory: bool,
    /// Zone of the mount target to use, for a file system of another account.
    pub zone: Option<Zone>,
    /// Whether claims of one name and namespace get the same access point again.
    pub reuse: bool,
    /// Whether volumes of a One Zone file system are restricted to its zone.
    pub enforce_zone: bool,
    /// Whether access points get tags.
    pub tagging: bool,
    /// The claim that the volume is for.
    pub claim: Claim,
}

/// Where the id of a file system stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileSystemRef {
    /// In the class itself.
    Id(FileSystemId),
    /// In a `ConfigMap`.
    ConfigMap(ObjectKey),
    /// In a Secret.
    Secret(ObjectKey),
}

/// What the table collects, before it is known whether it fits together.
#[derive(Debug, Default)]
pub struct Collected {
    mode: bool,
    file_systems: BTreeMap<&'static str, FileSystemRef>,
    permissions: Option<Permissions>,
    uid: Option<u32>,
    gid: Option<u32>,
    first_gid: Option<u32>,
    last_gid: Option<u32>,
    base_path: Option<String>,
    sub_path: Option<SubPath>,
    unique_directory: Option<bool>,
    zone: Option<Zone>,
    reuse: bool,
    enforce_zone: bool,
    tagging: Option<bool>,
    claim: Claim,
}

impl EfsParameters {
    /// Reads a `StorageClass`'s parameters.
    ///
    /// # Errors
    /// The first parameter that is unknown, breaks its rule or does not fit the others, by name.
    pub fn parse(parameters: &BTreeMap<String, String>) -> Result<Self, Invalid> {
        let empty = Collected::default();
        let mut found = super::parse(EFS_CLASS, empty, parameters, InvalidTags::Refuse)?;
        if !found.mode {
            return Err(Invalid::new("provisioningMode", "must be set to efs-ap"));
        }
        let file_system = only(&mut found.file_systems)?;
        let Some(permissions) = found.permissions else {
            return Err(Invalid::new("directoryPerms", "must be set, such as \"700\""));
        };
        let gids = gids(found.first_gid, found.last_gid)?;
        if found.reuse && found.claim.pvc_name.is_none() {
            return Err(Invalid::new(
                "reuseAccessPoint",
                "needs the claim's name, by which access points are found again; run the \
                 provisioner with --extra-create-metadata",
            ));
        }
        Ok(Self {
            file_system,
            permissions,
            uid: found.uid,
            gid: found.gid,
            gids,
            base_path: found.base_path.unwrap_or_else(|| "/".to_owned()),
            sub_path: found.sub_path,
            unique_directory: found.unique_directory.unwrap_or(true),
            zone: found.zone,
            reuse: found.reuse,
            enforce_zone: found.enforce_zone,
            tagging: found.tagging.unwrap_or(true),
            claim: found.claim,
        })
    }
}

/// The one source of the file system's id.
fn only(found: &mut BTreeMap<&'static str, FileSystemRef>) -> Result<FileSystemRef, Invalid> {
    match (found.pop_first(), found.pop_first()) {
        (Some((_key, source)), None) => Ok(source),
        (Some((one, _)), Some((other, _))) => {
            Err(Invalid::new(other, format!("must not be set together with {one}")))
        }
        (None, _) => Err(Invalid::new(
            "fileSystemId",
            "must be set (or fileSystemIdConfigRef, or fileSystemIdSecretRef)",
        )),
    }
}

fn gids(first: Option<u32>, last: Option<u32>) -> Result<RangeInclusive<u32>, Invalid> {
    match (first, last) {
        (None, None) => Ok(DEFAULT_GIDS),
        (Some(first), Some(last)) if first < last => Ok(first..=last),
        (Some(first), Some(last)) => {
            let rule = format!("must be greater than gidRangeStart {first}, got {last}");
            Err(Invalid::new("gidRangeEnd", rule))
        }
        (Some(_), None) => Err(Invalid::new("gidRangeEnd", "must be set, as gidRangeStart is")),
        (None, Some(_)) => Err(Invalid::new("gidRangeStart", "must be set, as gidRangeEnd is")),
    }
}

impl Given<'_> {
    /// A user or group id.
    fn posix_id(&self) -> Result<u32, Invalid> {
        self.value.parse().or_else(|_not_a_number| {
            self.refuse(format!(
                "must be a whole number from 0 to 4294967295, got {:?}",
                self.value
            ))
        })
    }

    /// What Go reads as a truth value, as the replaced driver does.
    fn go_flag(&self) -> Result<bool, Invalid> {
        go_flag(self.key, self.value)
    }
}

/// Reads what Go reads as a truth value.
///
/// # Errors
/// Another text.
pub(crate) fn go_flag(field: &str, text: &str) -> Result<bool, Invalid> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        other => Err(Invalid::new(field, format!("must be true or false, got {other:?}"))),
    }
}

#[cfg(test)]
mod tests;
