//! What an NFS server shows to a client: a directory, and as whom the client acts in it. A root
//! directory that is not there is made as EFS makes it, at the first mount.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use super::check::Client;
use crate::world::efs::{CreationInfo, RootDirectory};

/// Who clients act as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Squash {
    /// Everybody as one user, as an access point enforces it.
    Everybody { uid: u32, gid: u32 },
    /// Root as nobody, all others as they are.
    Root,
    /// Everybody as they are.
    Nobody,
}

/// What a server shows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Export {
    pub(super) path: PathBuf,
    pub(super) squash: Squash,
    pub(super) write: bool,
}

/// Why a directory cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// It is not there and is not to be made.
    #[error("the root directory {0} does not exist and the access point has no CreationInfo")]
    Absent(String),
    /// A name in its path is no directory, perhaps a symbolic link.
    #[error("{} is not a directory", .0.display())]
    NotADirectory(PathBuf),
    /// Its path cannot be written into a configuration.
    #[error("the path {0:?} contains a character that the NFS server's configuration cannot hold")]
    Unwritable(String),
    /// It cannot be made or looked at.
    #[error("cannot make or find {}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl Export {
    /// What a client of the file system whose data lies in `data` sees.
    pub(super) fn of(client: &Client, data: &Path) -> Result<Self, ExportError> {
        let usual = RootDirectory::default();
        let point = client.access_point.as_ref();
        let path = resolve(data, point.map_or(&usual, |point| &point.root))?;
        let squash = match point.and_then(|point| point.posix_user.as_ref()) {
            Some(user) => Squash::Everybody { uid: user.uid, gid: user.gid },
            None if client.access.root => Squash::Nobody,
            None => Squash::Root,
        };
        Ok(Self { path, squash, write: client.access.write })
    }
}

/// The directory below `data`, made if it may be. Symbolic links are not followed.
fn resolve(data: &Path, root: &RootDirectory) -> Result<PathBuf, ExportError> {
    if root.path.contains(['"', '\\']) {
        return Err(ExportError::Unwritable(root.path.clone()));
    }
    let mut path = data.to_owned();
    for name in root.path.split('/').filter(|name| !name.is_empty()) {
        path.push(name);
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => {}
            Ok(_other) => return Err(ExportError::NotADirectory(path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let info = root.creation_info.as_ref();
                let info = info.ok_or_else(|| ExportError::Absent(root.path.clone()))?;
                make(&path, info)
                    .map_err(|source| ExportError::Io { path: path.clone(), source })?;
            }
            Err(source) => return Err(ExportError::Io { path, source }),
        }
    }
    Ok(path)
}

fn make(path: &Path, info: &CreationInfo) -> io::Result<()> {
    let mode = u32::from_str_radix(&info.permissions, 8).unwrap_or(0o700);
    match DirBuilder::new().mode(0o700).create(path) {
        // Another server's start made it just now, for an access point with the same directory.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        other => other?,
    }
    chown(path, Some(info.owner_uid), Some(info.owner_gid))?;
    // After chown, which clears set-id bits, and past the umask.
    fs::set_permissions(path, Permissions::from_mode(mode))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    fn root(path: &str, permissions: Option<&str>) -> RootDirectory {
        let owner = nix::unistd::getuid().as_raw();
        let info = |permissions: &str| CreationInfo {
            owner_uid: owner,
            owner_gid: nix::unistd::getgid().as_raw(),
            permissions: permissions.to_owned(),
        };
        RootDirectory { path: path.to_owned(), creation_info: permissions.map(info) }
    }

    #[test]
    fn a_root_directory_is_made_once_with_its_permissions() {
        let data = tempfile::tempdir().unwrap();
        let path = resolve(data.path(), &root("/a/b", Some("1750"))).unwrap();
        assert_eq!(path, data.path().join("a/b"));
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o1750);
        let again = resolve(data.path(), &root("/a/b", Some("700"))).unwrap();
        assert_eq!(fs::metadata(again).unwrap().mode() & 0o7777, 0o1750, "it was there");
        let error = resolve(data.path(), &root("/c", None)).unwrap_err();
        assert!(matches!(error, ExportError::Absent(_)));
    }

    #[test]
    fn a_symbolic_link_in_the_path_is_not_followed() {
        let data = tempfile::tempdir().unwrap();
        symlink("/etc", data.path().join("a")).unwrap();
        let error = resolve(data.path(), &root("/a/x", Some("700"))).unwrap_err();
        assert!(matches!(error, ExportError::NotADirectory(_)), "{error}");
    }
}
