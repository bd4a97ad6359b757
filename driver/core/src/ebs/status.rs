//! How far a volume is filled, as `DescribeVolumeStatus` tells it.

use std::time::Duration;

use crate::id::VolumeId;

/// The filling of a volume that was made from a snapshot or a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Initialization {
    /// The volume.
    pub volume: VolumeId,
    /// How far it is.
    pub state: InitializationState,
}

/// The detail `initialization-state` of a volume's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InitializationState {
    /// Blocks are still fetched; those that were not yet are slow to read.
    Initializing {
        /// In percent, if EC2 tells.
        progress: Option<u8>,
        /// The time left, which EC2 tells of volumes with a `VolumeInitializationRate`.
        left: Option<Duration>,
    },
    /// Every block is there, or none was ever missing.
    Initialized,
    /// EC2 does not say. So it is of a volume that was made a moment ago.
    Unknown,
}
