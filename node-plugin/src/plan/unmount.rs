//! `NodeUnpublishVolume` and `NodeUnstageVolume`: peel everything off a path and remove it.

use super::Place;
use crate::kernel::{PathKind, Step};

/// Why a path is not cleared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the path is a symbolic link, which this driver never makes; remove it by hand")]
pub struct IsSymlink;

/// The steps after which nothing is mounted at the places and nothing is left of them.
///
/// # Errors
/// [`IsSymlink`]: what it leads to is not ours to remove.
pub fn plan(places: &[&Place]) -> Result<Vec<Step>, IsSymlink> {
    if places.iter().any(|place| place.kind == PathKind::Symlink) {
        return Err(IsSymlink);
    }
    Ok(places.iter().flat_map(|place| place.clear()).collect())
}
