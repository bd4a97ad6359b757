//! Decides: pure functions from a wish and an observation to steps. What a call finds half-done it
//! completes, so each plan may be cut after any step and made again.

use std::path::{Path, PathBuf};

use crate::kernel::{MountEntry, PathKind, Step};

pub mod publish;
pub mod stage;
pub mod unmount;

/// What is at a path: the mounts stacked there, oldest first, and what lies at the top.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The path, as the mount table prints it.
    pub path: PathBuf,
    /// Mounts there; the last one is seen.
    pub mounts: Vec<MountEntry>,
    /// What `lstat` says.
    pub kind: PathKind,
}

impl Place {
    /// The mount that is seen.
    #[must_use]
    pub fn top(&self) -> Option<&MountEntry> {
        self.mounts.last()
    }

    /// Steps that take away all mounts.
    fn peel(&self) -> impl Iterator<Item = Step> + '_ {
        self.mounts.iter().map(|_| Step::Unmount(self.path.clone()))
    }

    /// Steps that take away everything.
    fn clear(&self) -> Vec<Step> {
        if self.mounts.is_empty() && self.kind == PathKind::Absent {
            return Vec::new();
        }
        self.peel().chain([Step::Remove(self.path.clone())]).collect()
    }
}

/// Where a mount gets its flags before it is shown at `target`: beside it, under a name that nobody
/// else uses.
///
/// A bind mount is born with the flags of its source, so binding from here makes a read-only
/// target appear at once. Made the usual way, by binding and then remounting, it would be writable
/// for a moment, and for ever in the host's mount table, to which remounts do not propagate; and
/// after a crash between the two nobody could tell it from one that is meant to be writable.
#[must_use]
pub fn antechamber(target: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".csi-");
    name.push(target.file_name().unwrap_or_default());
    target.with_file_name(name)
}
