//! What access point a request amounts to, and whether an existing one is that. Pure decisions.

use std::fmt::Display;
use std::ops::RangeInclusive;

use csi_core::efs::removal::BASE_TAG;
use csi_core::efs::request::CreateVolume as Request;
use csi_core::efs::{
    AccessPoint, CreateAccessPoint, CreationInfo, MANAGED_TAG, PosixUser, RootDirectory, Tags,
    directory_of_name, directory_of_pattern, is_tag_value, unique_suffix,
};
use csi_core::facts::efs::CLIENT_TOKEN_MAX;
use csi_core::parameters::EfsParameters;
use csi_core::{Bytes, FileSystemId, Invalid, VolumeName};
use sha2::{Digest, Sha256};

use super::Settings;
use super::ledger::Pool;

/// Tag with the bytes that were asked for, which EFS does not know otherwise.
pub(super) const BYTES_TAG: &str = "efs.csi.aws.com/requested-bytes";
/// Tag with the group id, for whoever looks at access points.
pub(super) const GID_TAG: &str = "efs.csi.aws.com/gid";
/// Tag with the milliseconds since 1970 when the making began, by which collisions are decided.
pub(super) const BORN_TAG: &str = "efs.csi.aws.com/born";
/// Tag with the claim's name.
pub(super) const PVC_NAME_TAG: &str = "efs.csi.aws.com/pvc-name";
/// Tag with the claim's namespace.
pub(super) const PVC_NAMESPACE_TAG: &str = "efs.csi.aws.com/pvc-namespace";

/// An access point to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spec {
    /// The volume's name.
    pub(super) name: VolumeName,
    /// The file system.
    pub(super) file_system: FileSystemId,
    /// Its client token.
    pub(super) token: String,
    /// The token under which the replaced driver made an access point for reuse.
    pub(super) legacy_token: Option<String>,
    /// The bytes that were asked for.
    pub(super) required: Bytes,
    /// Its root directory.
    pub(super) root: String,
    /// What the class asks for.
    pub(super) class: EfsParameters,
    tags: Tags,
}

/// How an access point differs from what was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Difference {
    /// What differs.
    pub(super) field: &'static str,
    /// What the access point has.
    pub(super) has: String,
    /// What was asked for.
    pub(super) wanted: String,
}

impl Difference {
    fn new(field: &'static str, has: &dyn Display, wanted: &dyn Display) -> Self {
        Self { field, has: has.to_string(), wanted: wanted.to_string() }
    }
}

impl Spec {
    /// Decides on a request.
    pub(super) fn resolve(
        request: Request,
        file_system: FileSystemId,
        settings: &Settings,
    ) -> Result<Self, Invalid> {
        let Request { name, required, class, secrets: _ } = request;
        if !class.tagging && !settings.tags.is_empty() {
            let rule = "must not be false while the driver runs with --tags";
            return Err(Invalid::new("enableTagging", rule));
        }
        let root = root(&class, &name)?;
        let (token, legacy_token) = tokens(&class, &name);
        let tags = settings.tags.clone();
        Ok(Self { name, file_system, token, legacy_token, required, root, class, tags })
    }

    /// What is chosen for the access point, if anything is.
    pub(super) fn pool(&self) -> Option<Pool> {
        match (self.class.uid, self.class.gid) {
            (_, None) => Some(Pool::Gids),
            (None, Some(_)) => Some(Pool::Uids),
            (Some(_), Some(_)) => None,
        }
    }

    /// Numbers to choose from.
    pub(super) fn range(&self) -> RangeInclusive<u32> {
        self.class.gids.clone()
    }

    /// Where in the range the search begins: elsewhere for each volume, so that two controllers
    /// that choose at once seldom choose the same.
    pub(super) fn seed(&self) -> u64 {
        let digest: [u8; 32] = Sha256::digest(self.name.as_str()).into();
        digest.iter().take(8).fold(0, |seed, byte| (seed << 8) | u64::from(*byte))
    }

    /// The creating call with the number that was chosen. `bare` leaves out the tags that the
    /// replaced driver has not.
    pub(super) fn call(&self, number: Option<u32>, born_ms: u64, bare: bool) -> CreateAccessPoint {
        // A number is chosen where one is missing.
        let chosen = number.unwrap_or_default();
        let uid = self.class.uid.unwrap_or(chosen);
        let gid = self.class.gid.unwrap_or(chosen);
        CreateAccessPoint {
            client_token: self.token.clone(),
            file_system: self.file_system.clone(),
            posix_user: PosixUser { uid, gid, secondary_gids: Vec::new() },
            root: RootDirectory {
                path: self.root.clone(),
                creation: Some(CreationInfo {
                    owner_uid: uid,
                    owner_gid: gid,
                    permissions: self.class.permissions.to_string(),
                }),
            },
            tags: self.tags(gid, born_ms, bare),
        }
    }

    fn tags(&self, gid: u32, born_ms: u64, bare: bool) -> Tags {
        if !self.class.tagging {
            return Tags::new();
        }
        let mut tags = self.tags.clone();
        tags.insert(MANAGED_TAG.to_owned(), "true".to_owned());
        if bare {
            return tags;
        }
        let claim = &self.class.claim;
        let own = [
            (BYTES_TAG, Some(self.required.0.to_string())),
            (GID_TAG, Some(gid.to_string())),
            (BORN_TAG, Some(born_ms.to_string())),
            (BASE_TAG, Some(self.class.base_path.clone())),
            (PVC_NAME_TAG, claim.pvc_name.clone()),
            (PVC_NAMESPACE_TAG, claim.pvc_namespace.clone()),
        ];
        for (key, value) in own {
            if let Some(value) = value.filter(|value| is_tag_value(value)) {
                tags.insert(key.to_owned(), value);
            }
        }
        tags
    }

    /// Whether an access point that the token made is the volume that is asked for.
    pub(super) fn check(&self, found: &AccessPoint) -> Result<(), Difference> {
        if found.file_system != self.file_system {
            return Err(Difference::new("file system", &found.file_system, &self.file_system));
        }
        self.check_user(found)?;
        if !self.is_root(&found.root.path) {
            return Err(Difference::new("root directory", &found.root.path, &self.root));
        }
        if self.class.reuse { self.check_claim(found) } else { self.check_bytes(found) }
    }

    fn check_user(&self, found: &AccessPoint) -> Result<(), Difference> {
        let Some(user) = &found.posix_user else {
            return Err(Difference::new("POSIX user", &"none", &"one"));
        };
        let ids = [("uid", user.uid, self.class.uid), ("gid", user.gid, self.class.gid)];
        for (field, has, wanted) in ids {
            match wanted {
                Some(wanted) if wanted != has => return Err(Difference::new(field, &has, &wanted)),
                None if !self.class.gids.contains(&has) => {
                    let gids = &self.class.gids;
                    let wanted = format!("one of {} to {}", gids.start(), gids.end());
                    return Err(Difference::new(field, &has, &wanted));
                }
                Some(_) | None => {}
            }
        }
        Ok(())
    }

    /// The replaced driver's directories end in a random text, and one that is reused was called
    /// after another volume.
    fn is_root(&self, path: &str) -> bool {
        if path == self.root {
            return true;
        }
        let unique = self.class.sub_path.is_some() && self.class.unique_directory;
        if unique {
            let suffix = unique_suffix(self.name.as_str());
            let stem = self.root.strip_suffix(suffix.as_str());
            return stem
                .zip(path.get(..path.len().saturating_sub(suffix.len())))
                .is_some_and(|(ours, theirs)| ours == theirs);
        }
        let base = self.class.base_path.trim_end_matches('/');
        self.class.reuse
            && self.class.sub_path.is_none()
            && path
                .rsplit_once('/')
                .is_some_and(|(parent, last)| parent == base && !last.is_empty())
    }

    fn check_bytes(&self, found: &AccessPoint) -> Result<(), Difference> {
        match found.tags.get(BYTES_TAG) {
            Some(bytes) if *bytes != self.required.0.to_string() => {
                Err(Difference::new("capacity", bytes, &self.required.0))
            }
            // The replaced driver wrote none.
            Some(_) | None => Ok(()),
        }
    }

    /// Another claim's data must not be seen. The token names claim and namespace, except the one
    /// that the replaced driver used.
    fn check_claim(&self, found: &AccessPoint) -> Result<(), Difference> {
        let claim = &self.class.claim;
        let legacy = self.legacy_token.as_ref() == Some(&found.client_token);
        let tags = [
            (PVC_NAME_TAG, &claim.pvc_name, false),
            (PVC_NAMESPACE_TAG, &claim.pvc_namespace, legacy),
        ];
        for (tag, wanted, needed) in tags {
            match (found.tags.get(tag), wanted) {
                (Some(has), Some(wanted)) if has != wanted => {
                    return Err(Difference::new(tag, has, wanted));
                }
                (None, Some(wanted)) if needed => {
                    return Err(Difference::new(tag, &"none (set the tag to allow it)", wanted));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn root(class: &EfsParameters, name: &VolumeName) -> Result<String, Invalid> {
    let Some(pattern) = &class.sub_path else {
        return directory_of_name(&class.base_path, name.as_str());
    };
    let rendered = pattern.render(&class.claim, name.as_str())?;
    let suffix = unique_suffix(name.as_str());
    let unique = class.unique_directory.then_some(suffix.as_str());
    directory_of_pattern(&class.base_path, &rendered, unique)
}

/// The token of the volume, the same as the replaced driver's wherever it has one that suffices,
/// so that a call begun by one is finished by the other.
fn tokens(class: &EfsParameters, name: &VolumeName) -> (String, Option<String>) {
    let hash = |text: &str| hex::encode(Sha256::digest(text));
    if class.reuse
        && let Some(claim) = &class.claim.pvc_name
    {
        let namespace = class.claim.pvc_namespace.as_deref().unwrap_or_default();
        // The replaced driver's knows only the claim's name, and gives its data to every namespace.
        return (hash(&format!("{namespace}/{claim}")), Some(hash(claim)));
    }
    let name = name.as_str();
    let fits = name.len() <= CLIENT_TOKEN_MAX && name.is_ascii();
    (if fits { name.to_owned() } else { hash(name) }, None)
}

#[cfg(test)]
mod tests;
