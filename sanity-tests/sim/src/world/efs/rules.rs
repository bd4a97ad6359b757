//! What EFS checks of a call by itself. Source: EFS API reference, data types `PosixUser`,
//! `RootDirectory`, `CreationInfo`, `Tag` and action `CreateAccessPoint`.

use csi_core::ebs::Tags;
use csi_core::facts::efs as facts;

use super::super::AwsError;
use super::{CreateAccessPoint, CreationInfo, RootDirectory, bad_request};

/// Most further groups of a POSIX user.
const GIDS_MOST: usize = 16;
/// Characters that a path may not contain.
const UNWANTED: &str = "$#<>;`|&?{}^*\n";

pub(super) fn check(call: &CreateAccessPoint) -> Result<(), AwsError> {
    let token = &call.client_token;
    if token.is_empty() || token.len() > facts::CLIENT_TOKEN_MAX || !token.is_ascii() {
        return Err(bad_request("ClientToken must have 1 to 64 ASCII characters."));
    }
    file_system_id(&call.file_system)?;
    if call.posix_user.as_ref().is_some_and(|user| user.secondary_gids.len() > GIDS_MOST) {
        return Err(bad_request("PosixUser.SecondaryGids must have at most 16 members."));
    }
    root(&call.root)?;
    tags(&call.tags)
}

pub(super) fn file_system_id(text: &str) -> Result<(), AwsError> {
    id(text, "fs-", "FileSystemId")
}

pub(super) fn access_point_id(text: &str) -> Result<(), AwsError> {
    id(text, "fsap-", "AccessPointId")
}

fn id(text: &str, prefix: &str, parameter: &str) -> Result<(), AwsError> {
    let digits = text.strip_prefix(prefix).unwrap_or_default();
    let is_hex = digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if (8..=40).contains(&digits.len()) && is_hex {
        return Ok(());
    }
    let shown: String = text.chars().take(80).collect();
    Err(bad_request(format!("invalid {parameter}: {shown}")))
}

fn root(root: &RootDirectory) -> Result<(), AwsError> {
    path(&root.path).map_err(|rule| bad_request(format!("RootDirectory.Path {rule}.")))?;
    root.creation_info.as_ref().map_or(Ok(()), creation_info)
}

/// The rule that a path breaks.
fn path(path: &str) -> Result<(), &'static str> {
    if path == "/" {
        return Ok(());
    }
    if path.len() > facts::ROOT_PATH_MAX {
        return Err("must not be longer than 100 bytes");
    }
    if path.contains(|c| UNWANTED.contains(c)) {
        return Err("contains a character that is not allowed");
    }
    let rest = path.strip_prefix('/').ok_or("must begin with /")?;
    let names: Vec<&str> = rest.split('/').collect();
    if names.len() > facts::ROOT_PATH_DEPTH {
        return Err("has too many subdirectories");
    }
    if names.iter().any(|name| name.is_empty() || name.starts_with('.')) {
        return Err("has an empty name or one that begins with a dot");
    }
    Ok(())
}

fn creation_info(info: &CreationInfo) -> Result<(), AwsError> {
    let text = &info.permissions;
    if matches!(text.len(), 3 | 4) && text.bytes().all(|b| matches!(b, b'0'..=b'7')) {
        return Ok(());
    }
    Err(bad_request("RootDirectory.CreationInfo.Permissions must be three or four octal digits."))
}

fn tags(tags: &Tags) -> Result<(), AwsError> {
    if tags.len() > facts::TAGS_MAX {
        return Err(bad_request("Tags must have at most 50 members."));
    }
    for (key, value) in tags {
        if key.is_empty() || key.chars().count() > 128 {
            return Err(bad_request("a tag's key must have 1 to 128 characters."));
        }
        if key.to_ascii_lowercase().starts_with("aws:") {
            return Err(bad_request("tag keys that begin with aws: are reserved."));
        }
        if value.chars().count() > 256 {
            return Err(bad_request("a tag's value must have at most 256 characters."));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_path_has_at_most_five_names_and_100_bytes() {
        for right in ["/", "/a", "/a/b/c/d/e", &format!("/{}", "x".repeat(99))] {
            assert_eq!(path(right), Ok(()), "{right}");
        }
        let long = format!("/{}", "ä".repeat(50));
        for wrong in ["", "a", "/a/", "//a", "/a/b/c/d/e/f", "/.a", "/a/..", "/a*", "/$x", &long] {
            assert!(path(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn permissions_are_octal_and_required() {
        for (text, right) in [("700", true), ("0755", true), ("", false), ("8", false)] {
            let info = CreationInfo { owner_uid: 1, owner_gid: 1, permissions: text.to_owned() };
            assert_eq!(creation_info(&info).is_ok(), right, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_path_that_passes_leaves_the_file_system(text in "/?[a-z./$]{0,30}") {
            if path(&text).is_ok() && text != "/" {
                prop_assert!(text.split('/').skip(1).all(|name| !name.is_empty() && name != ".."));
            }
        }
    }
}
