//! Root directories that this process is making or deleting: of two volumes that share files one is
//! not deleted while the other is made.

use std::sync::{Arc, Mutex, PoisonError};

use csi_core::FileSystemId;
use csi_core::efs::removal::overlap;

/// The directories in work.
#[derive(Debug, Clone, Default)]
pub(super) struct Roots {
    busy: Arc<Mutex<Vec<Busy>>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Busy {
    file_system: FileSystemId,
    path: String,
    work: Work,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    Making,
    Deleting,
}

/// A directory that is in work until this is dropped.
#[derive(Debug)]
pub(super) struct Held {
    busy: Busy,
    all: Arc<Mutex<Vec<Busy>>>,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = all.iter().position(|one| *one == self.busy) {
            all.swap_remove(at);
        }
    }
}

impl Roots {
    /// A volume with this directory is made; `None` while one that shares files with it is deleted.
    pub(super) fn make(&self, file_system: &FileSystemId, path: &str) -> Option<Held> {
        self.hold(file_system, path, Work::Making)
    }

    /// This directory is deleted; `None` while a volume that shares files with it is made.
    pub(super) fn delete(&self, file_system: &FileSystemId, path: &str) -> Option<Held> {
        self.hold(file_system, path, Work::Deleting)
    }

    fn hold(&self, file_system: &FileSystemId, path: &str, work: Work) -> Option<Held> {
        let mut all = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        let stands_against = |one: &Busy| {
            one.work != work && one.file_system == *file_system && overlap(&one.path, path)
        };
        if all.iter().any(stands_against) {
            return None;
        }
        let busy = Busy { file_system: file_system.clone(), path: path.to_owned(), work };
        all.push(busy.clone());
        drop(all);
        Some(Held { busy, all: Arc::clone(&self.busy) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_shares_files_is_not_made_and_deleted_at_once() {
        let roots = Roots::default();
        let one: FileSystemId = "fs-92107410".parse().unwrap();
        let other: FileSystemId = "fs-00000000".parse().unwrap();
        let making = roots.make(&one, "/a/b").unwrap();
        let again = roots.make(&one, "/a/b").unwrap();
        assert!(roots.delete(&one, "/a/b/c").is_none());
        assert!(roots.delete(&one, "/a").is_none());
        assert!(roots.delete(&one, "/a/bc").is_some());
        assert!(roots.delete(&other, "/a/b").is_some());
        drop(making);
        assert!(roots.delete(&one, "/a/b").is_none());
        drop(again);
        let deleting = roots.delete(&one, "/a/b").unwrap();
        assert!(roots.make(&one, "/a/b").is_none());
        drop(deleting);
        assert!(roots.make(&one, "/a/b").is_some());
    }
}
