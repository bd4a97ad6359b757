//! Directories of a file system whose root is open: one is moved into the trash folder, and what is
//! in the trash is deleted.
//!
//! Every name is looked up beneath an open directory, and a symbolic link or another file system on
//! the way ends the look-up (`openat2(2)`), so that nothing outside the tree is ever touched,
//! whatever tenants do to it meanwhile. A directory is moved before anything in it is deleted: from
//! then on no access point shows it, and what is deleted is known to be what was judged.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use csi_core::efs::removal::{Kept, Removal};
use csi_core::{AccessPointId, GrpcCode};
use rustix::fs::{
    AtFlags, Dir, Mode, OFlags, ResolveFlags, Stat, fstat, mkdirat, openat2, renameat, statat,
    unlinkat,
};
use rustix::io::Errno;
use rustix::path::Arg;
use tokio_util::sync::CancellationToken;
use tonic::Code;

/// The folder below the file system's root that takes what is to be deleted.
pub const TRASH: &str = ".efs-csi-trash";
/// What it calls an entry that must not be deleted after all.
const KEPT: &str = "kept-";
/// How deep a directory is walked with one file descriptor for each level. What lies deeper becomes
/// an entry of the trash folder first.
const DEPTH: usize = 32;
/// Names that are read before they are deleted, so that a directory of millions needs no memory.
const AT_ONCE: usize = 2_048;
/// Tries to move a directory while others remove the trash folder, which is empty.
const TRIES: usize = 3;

const BENEATH: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);
/// Without `NOFOLLOW`, by which a link at the end would pass for a wrong kind of file.
const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);

/// Why a tree is not as it should be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TreeError {
    /// The directory must stay.
    #[error("the directory stays")]
    Kept(#[from] Kept),
    /// Somebody else made the trash folder.
    #[error("/{TRASH} is not a directory of the driver's; remove what has that name")]
    Trash,
    /// Somebody put another directory in its place while it was moved.
    #[error("{path:?} was exchanged while it was moved, and is back in its place")]
    Exchanged {
        /// Its path.
        path: String,
    },
    /// The driver is asked to end.
    #[error("the driver is ending; the next try goes on")]
    Stopped,
    /// A call failed.
    #[error("cannot {call} {path:?}{}", hint(*.errno))]
    Call {
        /// The call.
        call: &'static str,
        /// On what, from the file system's root.
        path: String,
        /// What the kernel answered.
        #[source]
        errno: Errno,
    },
    /// The system gives no thread.
    #[error("cannot start a thread")]
    Thread(#[from] io::Error),
}

fn hint(errno: Errno) -> &'static str {
    match errno {
        Errno::ACCESS | Errno::PERM | Errno::ROFS => {
            "; the driver's role needs elasticfilesystem:ClientMount, ClientWrite and \
             ClientRootAccess on the file system"
        }
        _ => "",
    }
}

impl GrpcCode for TreeError {
    fn code(&self) -> Code {
        match self {
            Self::Stopped | Self::Exchanged { .. } => Code::Aborted,
            Self::Kept(_) | Self::Trash => Code::FailedPrecondition,
            Self::Thread(_) => Code::Unavailable,
            Self::Call { errno, .. } => match *errno {
                Errno::ACCESS | Errno::PERM | Errno::ROFS => Code::PermissionDenied,
                Errno::NOSYS => Code::FailedPrecondition,
                _ => Code::Unavailable,
            },
        }
    }
}

fn failed(call: &'static str, path: impl Into<String>) -> impl FnOnce(Errno) -> TreeError {
    let path = path.into();
    move |errno| TreeError::Call { call, path, errno }
}

/// An open directory in which names are looked up.
struct Place {
    folder: OwnedFd,
    name: String,
    /// The whole path, for messages.
    path: String,
}

/// The name of a directory, and the path of its parent beneath the file system's root.
fn split(removal: &Removal) -> Result<(&str, String), TreeError> {
    let Some((name, above)) = removal.components.split_last() else {
        return Err(Kept::NoDirectory { path: path_of(removal) }.into());
    };
    Ok((name, if above.is_empty() { ".".to_owned() } else { above.join("/") }))
}

fn path_of(removal: &Removal) -> String {
    format!("/{}", removal.components.join("/"))
}

/// Finds the parent of a directory, and the directory. `None` if it is not there.
fn find(root: BorrowedFd<'_>, removal: &Removal) -> Result<Option<(Place, Stat)>, TreeError> {
    let path = path_of(removal);
    let (name, above) = split(removal)?;
    let stays = |errno| match errno {
        Errno::LOOP => Some(Kept::Link { path: path.clone() }),
        Errno::NOTDIR => Some(Kept::NotADirectory { path: path.clone() }),
        Errno::XDEV => Some(Kept::OtherFileSystem { path: path.clone() }),
        _ => None,
    };
    let open = |at: BorrowedFd<'_>, name: &str| match open_folder(at, name, OFlags::PATH) {
        Ok(found) => Ok(Some(found)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => {
            Err(stays(errno).map_or_else(|| failed("open", path.clone())(errno), TreeError::from))
        }
    };
    let Some(folder) = open(root, &above)? else { return Ok(None) };
    let Some(found) = open(folder.as_fd(), name)? else {
        return Ok(None);
    };
    let stat = fstat(&found).map_err(failed("look at", path.clone()))?;
    Ok(Some((Place { folder, name: name.to_owned(), path }, stat)))
}

fn open_folder(at: impl AsFd, name: impl Arg, more: OFlags) -> Result<OwnedFd, Errno> {
    openat2(at, name, FOLDER | more, Mode::empty(), BENEATH)
}

/// The trash folder, made if it is not there and wanted.
fn trash(root: BorrowedFd<'_>, make: bool) -> Result<Option<OwnedFd>, TreeError> {
    if make {
        match mkdirat(root, TRASH, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(failed("make", format!("/{TRASH}"))(errno)),
        }
    }
    let folder = match open_folder(root, TRASH, OFlags::RDONLY) {
        Ok(folder) => folder,
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::LOOP | Errno::NOTDIR | Errno::XDEV) => return Err(TreeError::Trash),
        Err(errno) => return Err(failed("open", format!("/{TRASH}"))(errno)),
    };
    let stat = fstat(&folder).map_err(failed("look at", format!("/{TRASH}")))?;
    if stat.st_uid == rustix::process::geteuid().as_raw() {
        Ok(Some(folder))
    } else {
        Err(TreeError::Trash)
    }
}

/// Moves a directory into the trash, as an entry of the access point; the entry's name, or `None` if
/// there is no such directory. It can be repeated.
pub(crate) fn bury(
    root: BorrowedFd<'_>,
    removal: &Removal,
    owner: &AccessPointId,
) -> Result<Option<String>, TreeError> {
    let mut last = None;
    // The trash folder is removed when it is empty, perhaps just now.
    for _ in 0..TRIES {
        let Some((place, stat)) = find(root, removal)? else { return Ok(None) };
        let Some(trash) = trash(root, true)? else { continue };
        let entry = entry_name(owner);
        match renameat(&place.folder, place.name.as_str(), &trash, entry.as_str()) {
            Ok(()) => return proved(&place, &stat, &trash, entry).map(Some),
            Err(Errno::NOENT) => last = Some(failed("move", place.path)(Errno::NOENT)),
            Err(errno) => return Err(failed("move", place.path)(errno)),
        }
    }
    last.map_or(Ok(None), Err)
}

/// That what was moved is what was found; anything else goes back.
fn proved(place: &Place, stat: &Stat, trash: &OwnedFd, entry: String) -> Result<String, TreeError> {
    let moved = statat(trash, entry.as_str(), AtFlags::SYMLINK_NOFOLLOW);
    let moved = moved.map_err(failed("look at", trash_path(&entry)))?;
    if (moved.st_dev, moved.st_ino) == (stat.st_dev, stat.st_ino) {
        return Ok(entry);
    }
    renameat(trash, entry.as_str(), &place.folder, place.name.as_str())
        .map_err(failed("move back", place.path.clone()))?;
    Err(TreeError::Exchanged { path: place.path.clone() })
}

/// Moves an entry back to where it was; false if something is there, and the entry is then kept in
/// the trash under a name that no purge looks at.
pub(crate) fn dig_up(
    root: BorrowedFd<'_>,
    removal: &Removal,
    entry: &str,
) -> Result<bool, TreeError> {
    let gone = || failed("find", trash_path(entry))(Errno::NOENT);
    let trash = trash(root, false)?.ok_or_else(gone)?;
    let (name, above) = split(removal)?;
    let back = open_folder(root, above.as_str(), OFlags::PATH)
        // A directory that is not empty is never replaced (rename(2)).
        .and_then(|folder| renameat(&trash, entry, &folder, name));
    if back.is_ok() {
        return Ok(true);
    }
    let kept = format!("{KEPT}{entry}");
    renameat(&trash, entry, &trash, kept.as_str()).map_err(failed("keep", trash_path(entry)))?;
    Ok(false)
}

/// The name of a new entry: whose it is, and a number that no other has.
fn entry_name(owner: &AccessPointId) -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{owner}.{:x}", since.as_nanos())
}

/// Whose entry a name is.
fn owner_of(entry: &str) -> Option<AccessPointId> {
    entry.split_once('.')?.0.parse().ok()
}

fn trash_path(entry: &str) -> String {
    format!("/{TRASH}/{entry}")
}

/// The entries of an access point, with the times when they were buried.
pub(crate) fn entries(
    root: BorrowedFd<'_>,
    owner: &AccessPointId,
) -> Result<Vec<(String, SystemTime)>, TreeError> {
    let Some(trash) = trash(root, false)? else { return Ok(Vec::new()) };
    let is_own = |name: &CStr| name.to_str().ok().and_then(owner_of).is_some_and(|id| id == *owner);
    let found = names(trash.as_fd(), is_own).map_err(failed("read", format!("/{TRASH}")))?;
    let found = found.into_iter().filter_map(|name| name.into_string().ok());
    Ok(found.map(|name| (name.clone(), buried_at(&name))).collect())
}

/// When an entry was buried; now, if its name does not say so.
fn buried_at(entry: &str) -> SystemTime {
    let nanos = entry.split_once('.').and_then(|(_, at)| u64::from_str_radix(at, 16).ok());
    nanos.map_or_else(SystemTime::now, |nanos| UNIX_EPOCH + Duration::from_nanos(nanos))
}

/// Deletes the entries of the trash whose access points are `wanted`, and the trash folder if it is
/// empty then. Returns how many files and directories are gone. What cannot be deleted does not keep
/// the rest; the first failure is returned at the end.
pub(crate) fn purge(
    root: BorrowedFd<'_>,
    wanted: impl Fn(&AccessPointId) -> bool,
    stop: &CancellationToken,
) -> Result<u64, TreeError> {
    let Some(trash) = trash(root, false)? else { return Ok(0) };
    let mut purge = Purge { trash: trash.as_fd(), stop, removed: 0, first: None };
    // What lies deep becomes an entry on the way.
    loop {
        let before = purge.removed;
        let is_wanted = |name: &CStr| name.to_str().ok().and_then(owner_of).filter(&wanted);
        let entries = names(trash.as_fd(), |name| is_wanted(name).is_some());
        for name in entries.map_err(failed("read", format!("/{TRASH}")))? {
            if let Some(owner) = is_wanted(&name) {
                purge.remove(trash.as_fd(), &name, &owner, 0)?;
            }
        }
        if purge.removed == before {
            break;
        }
    }
    if let Some(error) = purge.first {
        return Err(error);
    }
    // Others may have entries in it.
    let _not_empty = unlinkat(root, TRASH, AtFlags::REMOVEDIR);
    Ok(purge.removed)
}

struct Purge<'a> {
    trash: BorrowedFd<'a>,
    stop: &'a CancellationToken,
    removed: u64,
    first: Option<TreeError>,
}

impl Purge<'_> {
    /// Deletes what has the name, and all that is in it. Only [`TreeError::Stopped`] is returned.
    fn remove(
        &mut self,
        folder: BorrowedFd<'_>,
        name: &CString,
        owner: &AccessPointId,
        depth: usize,
    ) -> Result<(), TreeError> {
        if self.stop.is_cancelled() {
            return Err(TreeError::Stopped);
        }
        match unlinkat(folder, name, AtFlags::empty()) {
            Ok(()) => self.removed += 1,
            Err(Errno::NOENT) => {}
            // Which of them a directory gets depends on the file system (unlink(2)).
            Err(Errno::ISDIR | Errno::PERM) => self.remove_folder(folder, name, owner, depth)?,
            Err(errno) => self.note("delete", name, errno),
        }
        Ok(())
    }

    fn remove_folder(
        &mut self,
        folder: BorrowedFd<'_>,
        name: &CString,
        owner: &AccessPointId,
        depth: usize,
    ) -> Result<(), TreeError> {
        if depth > DEPTH {
            // It is deleted from there.
            match renameat(folder, name, self.trash, entry_name(owner).as_str()) {
                Ok(()) => self.removed += 1,
                Err(errno) => self.note("move", name, errno),
            }
            return Ok(());
        }
        let inside = match open_folder(folder, name, OFlags::RDONLY) {
            Ok(inside) => inside,
            Err(errno) => {
                self.note("open", name, errno);
                return Ok(());
            }
        };
        loop {
            let before = self.removed;
            match names(inside.as_fd(), |_| true) {
                Ok(entries) => {
                    for entry in entries {
                        self.remove(inside.as_fd(), &entry, owner, depth + 1)?;
                    }
                }
                Err(errno) => self.note("read", name, errno),
            }
            match unlinkat(folder, name, AtFlags::REMOVEDIR) {
                Ok(()) => {
                    self.removed += 1;
                    return Ok(());
                }
                Err(Errno::NOENT) => return Ok(()),
                // More than one pass takes, or entries that came meanwhile.
                Err(Errno::NOTEMPTY | Errno::EXIST) if self.removed > before => {}
                Err(errno) => {
                    self.note("delete", name, errno);
                    return Ok(());
                }
            }
        }
    }

    fn note(&mut self, call: &'static str, name: &CString, errno: Errno) {
        let path = format!("/{TRASH}/…/{}", name.to_string_lossy());
        tracing::warn!(call, path, %errno, "an entry of the trash stays for now");
        self.first.get_or_insert_with(|| failed(call, path)(errno));
    }
}

/// Some of what is in a directory and wanted: all of it, unless it is much.
fn names(folder: BorrowedFd<'_>, wanted: impl Fn(&CStr) -> bool) -> Result<Vec<CString>, Errno> {
    let mut found = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." && wanted(name) {
            found.push(name.to_owned());
            if found.len() == AT_ONCE {
                break;
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
