//! Snapshots and their locks.

use super::Tags;
use crate::capacity::GiB;
use crate::id::{SnapshotId, VolumeId};

/// A snapshot as `DescribeSnapshots` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Its id.
    pub id: SnapshotId,
    /// The volume it was made from; copied snapshots have an arbitrary id, so it may be absent.
    pub volume: Option<VolumeId>,
    /// Its state.
    pub state: SnapshotState,
    /// Size of the volume it was made from.
    pub size: GiB,
    /// When it was started, in milliseconds since 1970.
    pub started_ms: i64,
    /// Progress in percent.
    pub progress: u8,
    /// Its tags.
    pub tags: Tags,
}

/// `status` of `DescribeSnapshots`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SnapshotState {
    /// Being made. The point in time is fixed already.
    Pending,
    /// Ready.
    Completed,
    /// Failed.
    Error,
    /// In the recycle bin.
    Recoverable,
    /// Coming back from the recycle bin.
    Recovering,
}

/// `CreateSnapshot`. EC2 knows no client token for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateSnapshot {
    /// The volume.
    pub volume: VolumeId,
    /// Description, for people.
    pub description: String,
    /// Tags, written in the same call.
    pub tags: Tags,
}

/// A lock of a snapshot, against its deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotLock {
    /// How firm it is.
    pub mode: LockMode,
    /// When it ends.
    pub end: LockEnd,
    /// For how many hours a lock in compliance mode can still be changed.
    pub cool_off_hours: Option<u32>,
}

/// `lockMode` of `LockSnapshot`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LockMode {
    /// Privileged users can take it away.
    Governance,
    /// Nobody can, once the cool-off period is over.
    Compliance,
}

/// When a lock ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockEnd {
    /// So many days after the snapshot is complete.
    AfterDays(u32),
    /// At a time.
    At {
        /// In seconds since 1970.
        seconds: i64,
    },
}
