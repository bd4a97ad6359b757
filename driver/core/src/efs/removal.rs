//! Whether the directory of a deleted volume may be deleted with it, and which one that is.
//!
//! The driver that this one replaces deletes whatever the access point's path names: the whole
//! file system where that is `/`, another volume's files where one directory lies inside the
//! other. Here a directory goes only if it is proved to be the volume's alone. Everything else
//! stays, and the reason is said: a directory too many costs money, one too few costs data.

use super::{AccessPoint, MANAGED_TAG};
use crate::id::AccessPointId;

/// Tag with the directory that holds the directories of a class's volumes.
pub const BASE_TAG: &str = "efs.csi.aws.com/base-path";

/// A directory that may be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    /// Its path from the file system's root, component by component; never empty, and none is
    /// empty, `.` or `..`.
    pub components: Vec<String>,
}

impl Removal {
    /// The directory of a path, whoever it belongs to; `None` if the path is none of a directory below
    /// the file system's root.
    #[must_use]
    pub fn of_path(path: &str) -> Option<Self> {
        let parts = components(path).filter(|parts| !parts.is_empty())?;
        Some(Self { components: parts.into_iter().map(str::to_owned).collect() })
    }
}

/// Another access point of the same file system, as far as its files matter. One that goes away
/// counts: a retry may still need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Neighbour<'a> {
    /// Its id.
    pub id: &'a AccessPointId,
    /// Its root directory.
    pub path: &'a str,
}

/// Why a directory stays.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Kept {
    /// The driver did not make the access point.
    #[error(
        "the access point does not carry the tag {MANAGED_TAG}=true, so it is not the driver's"
    )]
    NotOurs,
    /// The path is the root, or none that the driver makes.
    #[error("{path:?} is not the path of a directory below the file system's root")]
    NoDirectory {
        /// The path.
        path: String,
    },
    /// The directory lies outside the base path.
    #[error("{path:?} is not below the base path {base:?} of its class")]
    OutsideBase {
        /// The path.
        path: String,
        /// The base path.
        base: String,
    },
    /// Nothing says that EFS made the directory for this access point.
    #[error(
        "there is no base path to compare with, and the directory's owner is not the access \
         point's user, so it may have been there before"
    )]
    Foreign,
    /// Another access point shows the directory, one above or one below it.
    #[error("access point {other} has the root directory {path:?}, which shares files with it")]
    Shared {
        /// The other access point.
        other: AccessPointId,
        /// Its root directory.
        path: String,
    },
    /// A name in the path is a symbolic link.
    #[error("{path:?} leads through a symbolic link")]
    Link {
        /// The path.
        path: String,
    },
    /// What is there is no directory, or its path leads through something that is none.
    #[error("{path:?} is no directory, or what it leads through is none")]
    NotADirectory {
        /// The path.
        path: String,
    },
    /// Another file system begins on the way.
    #[error("{path:?} leads into another file system")]
    OtherFileSystem {
        /// The path.
        path: String,
    },
}

/// Judges the root directory of an access point among all others of its file system.
///
/// # Errors
/// Why the directory stays.
pub fn judge<'a>(
    own: &AccessPoint,
    all: impl IntoIterator<Item = Neighbour<'a>>,
) -> Result<Removal, Kept> {
    if own.tags.get(MANAGED_TAG).map(String::as_str) != Some("true") {
        return Err(Kept::NotOurs);
    }
    let path = &own.root.path;
    let no_directory = || Kept::NoDirectory { path: path.clone() };
    let removal = Removal::of_path(path).ok_or_else(no_directory)?;
    let parts = &removal.components;
    match own.tags.get(BASE_TAG) {
        Some(base) => {
            let outside = || Kept::OutsideBase { path: path.clone(), base: base.clone() };
            let above = components(base).ok_or_else(outside)?;
            let is_above = || parts.iter().zip(&above).all(|(own, above)| own == above);
            if above.len() >= parts.len() || !is_above() {
                return Err(outside());
            }
        }
        None if !is_made_for_it(own) => return Err(Kept::Foreign),
        None => {}
    }
    for other in all.into_iter().filter(|other| *other.id != own.id) {
        if overlap(path, other.path) {
            return Err(Kept::Shared { other: other.id.clone(), path: other.path.to_owned() });
        }
    }
    Ok(removal)
}

/// Whether two root directories share files: equal, or one inside the other. One that cannot be read
/// may be any.
#[must_use]
pub fn overlap(one: &str, other: &str) -> bool {
    let (Some(one), Some(other)) = (components(one), components(other)) else { return true };
    one.starts_with(&other) || other.starts_with(&one)
}

/// Whether EFS made the directory with the identity that the access point enforces.
fn is_made_for_it(own: &AccessPoint) -> bool {
    match (&own.posix_user, &own.root.creation) {
        (Some(user), Some(made)) => (user.uid, user.gid) == (made.owner_uid, made.owner_gid),
        _ => false,
    }
}

/// The components of a clean absolute path.
fn components(path: &str) -> Option<Vec<&str>> {
    let rest = path.strip_prefix('/')?;
    if rest.is_empty() {
        return Some(Vec::new());
    }
    let parts: Vec<&str> = rest.strip_suffix('/').unwrap_or(rest).split('/').collect();
    let is_clean = |part: &&str| !matches!(*part, "" | "." | "..") && !part.contains('\0');
    parts.iter().all(is_clean).then_some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::efs::{CreationInfo, LifeCycleState, PosixUser, RootDirectory, Tags};
    use proptest::prelude::*;
    use test_case::test_case;

    fn point(n: u32, path: &str, base: Option<&str>) -> AccessPoint {
        let mut tags = Tags::from([(MANAGED_TAG.to_owned(), "true".to_owned())]);
        tags.extend(base.map(|base| (BASE_TAG.to_owned(), base.to_owned())));
        AccessPoint {
            id: format!("fsap-{n:08x}").parse().unwrap(),
            client_token: format!("pvc-{n}"),
            file_system: "fs-92107410".parse().unwrap(),
            state: LifeCycleState::Available,
            posix_user: Some(PosixUser { uid: 1000, gid: 1000, secondary_gids: vec![] }),
            root: RootDirectory {
                path: path.to_owned(),
                creation: Some(CreationInfo {
                    owner_uid: 1000,
                    owner_gid: 1000,
                    permissions: "700".to_owned(),
                }),
            },
            tags,
        }
    }

    fn neighbour(point: &AccessPoint) -> Neighbour<'_> {
        Neighbour { id: &point.id, path: &point.root.path }
    }

    fn stays(own: &AccessPoint) -> Kept {
        judge(own, []).unwrap_err()
    }

    #[test]
    fn a_volumes_own_directory_goes() {
        let own = point(1, "/dynamic/pvc-1", Some("/dynamic"));
        let others = [point(2, "/dynamic/pvc-10", None), point(3, "/other", None), own.clone()];
        let removal = judge(&own, others.iter().map(neighbour)).unwrap();
        assert_eq!(removal.components, ["dynamic", "pvc-1"]);
        assert!(judge(&point(1, "/pvc-1", Some("/")), []).is_ok());
        assert!(judge(&point(1, "/pvc-1", None), []).is_ok(), "made before there were such tags");
    }

    #[test]
    fn what_is_not_the_drivers_stays() {
        let mut own = point(1, "/dynamic/pvc-1", Some("/dynamic"));
        own.tags.insert(MANAGED_TAG.to_owned(), "false".to_owned());
        assert_eq!(stays(&own), Kept::NotOurs);
        own.tags.clear();
        assert_eq!(stays(&own), Kept::NotOurs);
    }

    #[test_case("/"; "the file system itself")]
    #[test_case(""; "no path")]
    #[test_case("pvc-1"; "a relative path")]
    #[test_case("/a/../b"; "a step up")]
    #[test_case("/a//b"; "an empty component")]
    #[test_case("/./a"; "a dot")]
    #[test_case("//"; "two slashes")]
    fn a_path_that_is_no_directory_below_the_root_stays(path: &str) {
        for base in [None, Some("/")] {
            assert!(matches!(stays(&point(1, path, base)), Kept::NoDirectory { .. }), "{base:?}");
        }
    }

    #[test_case("/dynamic", "/dynamic"; "the base path itself")]
    #[test_case("/dynamic2/pvc-1", "/dynamic"; "a longer name")]
    #[test_case("/other/pvc-1", "/dynamic"; "another directory")]
    #[test_case("/a", "/a/b"; "above the base path")]
    #[test_case("/a/b", "a"; "a base path that is none")]
    fn what_lies_outside_the_base_path_stays(path: &str, base: &str) {
        assert!(matches!(stays(&point(1, path, Some(base))), Kept::OutsideBase { .. }));
    }

    #[test]
    fn without_a_base_path_the_owner_must_be_the_user() {
        let mut own = point(1, "/pvc-1", None);
        own.root.creation.as_mut().unwrap().owner_gid = 0;
        assert_eq!(stays(&own), Kept::Foreign);
        own.root.creation = None;
        assert_eq!(stays(&own), Kept::Foreign);
        own = point(1, "/pvc-1", None);
        own.posix_user = None;
        assert_eq!(stays(&own), Kept::Foreign);
    }

    #[test_case("/dynamic/pvc-1"; "the same")]
    #[test_case("/dynamic/pvc-1/sub"; "one inside it")]
    #[test_case("/dynamic"; "one that holds it")]
    #[test_case("/"; "the whole file system")]
    #[test_case("odd"; "one that cannot be read")]
    fn a_directory_that_another_access_point_shows_stays(other: &str) {
        let own = point(1, "/dynamic/pvc-1", Some("/dynamic"));
        let other = point(2, other, None);
        assert!(matches!(judge(&own, [neighbour(&other)]), Err(Kept::Shared { .. })));
    }

    proptest! {
        #[test]
        fn whatever_the_paths_the_root_and_shared_files_stay(
            path in "[/.ab]{0,9}", base in proptest::option::of("[/.ab]{0,6}"), other in "[/.ab]{0,9}",
        ) {
            let own = point(1, &path, base.as_deref());
            if let Ok(removal) = judge(&own, [neighbour(&point(2, &other, None))]) {
                prop_assert!(!removal.components.is_empty());
                let clean = format!("/{}/", removal.components.join("/"));
                let theirs = format!("{}/", other.trim_end_matches('/'));
                prop_assert!(!clean.starts_with(&theirs) && !theirs.starts_with(&clean));
                prop_assert!(removal.components.iter().all(|part| part != ".." && part != "."));
            }
        }
    }
}
