//! Listings.

use csi_proto::csi;

use super::BadRequest;
use crate::id::{SnapshotId, VolumeId};
use crate::rpc_error::Invalid;

/// Which page of a listing is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest {
    /// At most so many entries; `None` leaves it to the driver.
    pub max_entries: Option<u32>,
    /// Where the last page ended; empty is the beginning.
    pub starting_token: String,
}

impl PageRequest {
    fn parse(max_entries: i32, starting_token: String) -> Result<Self, Invalid> {
        let max_entries = u32::try_from(max_entries).map_err(|_negative| {
            Invalid::new("max_entries", format!("must not be negative, got {max_entries}"))
        })?;
        Ok(Self { max_entries: (max_entries > 0).then_some(max_entries), starting_token })
    }
}

/// `ListVolumes`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListVolumes {
    /// The page.
    pub page: PageRequest,
}

impl TryFrom<csi::ListVolumesRequest> for ListVolumes {
    type Error = BadRequest;

    fn try_from(message: csi::ListVolumesRequest) -> Result<Self, BadRequest> {
        Ok(Self { page: PageRequest::parse(message.max_entries, message.starting_token)? })
    }
}

/// `ListSnapshots`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListSnapshots {
    /// Which snapshots.
    pub filter: SnapshotFilter,
    /// The page.
    pub page: PageRequest,
}

/// Which snapshots to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SnapshotFilter {
    /// All.
    All,
    /// Those made from a volume.
    Source(VolumeId),
    /// One, only if it was made from the volume where that is given.
    One(SnapshotId, Option<VolumeId>),
}

impl TryFrom<csi::ListSnapshotsRequest> for ListSnapshots {
    type Error = BadRequest;

    fn try_from(message: csi::ListSnapshotsRequest) -> Result<Self, BadRequest> {
        let page = PageRequest::parse(message.max_entries, message.starting_token)?;
        let source = match message.source_volume_id.as_str() {
            "" => None,
            id => Some(id.parse()?),
        };
        let filter = match (message.snapshot_id.as_str(), source) {
            ("", None) => SnapshotFilter::All,
            ("", Some(source)) => SnapshotFilter::Source(source),
            (id, source) => SnapshotFilter::One(id.parse()?, source),
        };
        Ok(Self { filter, page })
    }
}
