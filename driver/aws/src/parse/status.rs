//! The status of volumes, as far as it tells how they are filled.

use std::time::Duration;

use aws_sdk_ec2::types;
use csi_core::ebs::{Initialization, InitializationState};

use super::{Odd, need_id};

/// A row of `DescribeVolumeStatus`.
///
/// EC2 user guide, "Monitor Amazon EBS volume initialization": the detail `initialization-state` is
/// `initializing` until all blocks are there. What else it may say is taken for the end, as EC2 says
/// different things of volumes that had nothing to fetch.
pub(crate) fn initialization(found: &types::VolumeStatusItem) -> Result<Initialization, Odd> {
    let details = found.volume_status().map(types::VolumeStatusInfo::details).unwrap_or_default();
    let named = |detail: &&types::VolumeStatusDetails| {
        detail.name() == Some(&types::VolumeStatusName::InitializationState)
    };
    let state = match details.iter().find(named).and_then(types::VolumeStatusDetails::status) {
        None => InitializationState::Unknown,
        Some("initializing") => {
            let more = found.initialization_status_details();
            let progress = more.and_then(types::InitializationStatusDetails::progress);
            let left = more.and_then(
                types::InitializationStatusDetails::estimated_time_to_complete_in_seconds,
            );
            InitializationState::Initializing {
                progress: progress.and_then(|percent| u8::try_from(percent).ok()),
                left: left.and_then(|left| u64::try_from(left).ok()).map(Duration::from_secs),
            }
        }
        Some(_) => InitializationState::Initialized,
    };
    Ok(Initialization { volume: need_id("volumeId", found.volume_id())?, state })
}
