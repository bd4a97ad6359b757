//! Snapshots that were made for one name at the same moment.
//!
//! Of two, the maker of the younger one deletes it; but it may have been killed just then, or have
//! lost the reply that named its snapshot, and then nobody knows of it. Before the CO deletes the
//! name's snapshot, the younger one is left alone: it might be the one that the CO was given.

use std::time::Duration;

use csi_core::ebs::{Ebs, MANAGED_TAG, SNAPSHOT_NAME_TAG, Snapshot};
use csi_core::{ApiError, SnapshotId, SnapshotName};
use tokio::time::Instant;

use super::super::Shared;
use super::BOUND;
use crate::call::repeat;

/// The other snapshots of the snapshot's name and volume, made while an operation may last. The
/// name is the CO's for one snapshot only, so they end with it. A copy that somebody made, tags
/// and all, shows another volume and is none.
pub(super) async fn of<C: Ebs>(
    shared: &Shared<C>,
    snapshot: &SnapshotId,
    until: Instant,
) -> Result<Vec<SnapshotId>, ApiError> {
    let look = || shared.snapshots.up(snapshot.clone());
    let own = repeat(until, look).await.map_err(|failed| failed.error)?;
    let Some(own) = own else { return Ok(Vec::new()) };
    let Some(name) = name(&own) else { return Ok(Vec::new()) };
    let look = || shared.snapshots_by_name.up(name.clone());
    let named = repeat(until, look).await.map_err(|failed| failed.error)?.unwrap_or_default();
    let is_sibling = |other: &Snapshot| {
        let apart = Duration::from_millis(other.started_ms.abs_diff(own.started_ms));
        other.id != own.id
            && other.volume == own.volume
            && other.tags.contains_key(MANAGED_TAG)
            && apart <= BOUND
    };
    Ok(named.into_iter().filter(is_sibling).map(|other| other.id).collect())
}

/// The name that this driver gave.
fn name(snapshot: &Snapshot) -> Option<SnapshotName> {
    snapshot.tags.get(MANAGED_TAG)?;
    snapshot.tags.get(SNAPSHOT_NAME_TAG)?.parse().ok()
}
