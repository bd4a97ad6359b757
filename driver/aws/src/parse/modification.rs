//! Modifications of volumes.

use aws_sdk_ec2::types;
use csi_core::ebs::{Modification, ModificationState};

use super::{Odd, maybe_count, need, need_id, size, text, value};

/// Whether the row is about a modification at all. Of a volume that was never modified, "some
/// information in the output will be null" (EC2 API reference, `VolumeModification`).
pub(crate) fn was_modified(found: &types::VolumeModification) -> bool {
    found.modification_state().is_some()
}

/// A row of `DescribeVolumesModifications`, or the answer of `ModifyVolume`.
pub(crate) fn modification(found: &types::VolumeModification) -> Result<Modification, Odd> {
    let progress = need("progress", found.progress())?;
    Ok(Modification {
        volume: need_id("volumeId", found.volume_id())?,
        state: state(need("modificationState", found.modification_state())?)?,
        size: size("targetSize", found.target_size())?,
        volume_type: need("targetVolumeType", found.target_volume_type())?.as_str().to_owned(),
        iops: maybe_count("targetIops", found.target_iops())?,
        throughput: maybe_count("targetThroughput", found.target_throughput())?,
        progress: u8::try_from(progress)
            .ok()
            .filter(|percent| *percent <= 100)
            .ok_or_else(|| value("progress", &progress))?,
        status_message: text(found.status_message()).map(str::to_owned),
        started_ms: found.start_time().and_then(|time| time.to_millis().ok()),
    })
}

fn state(found: &types::VolumeModificationState) -> Result<ModificationState, Odd> {
    Ok(match found {
        types::VolumeModificationState::Modifying => ModificationState::Modifying,
        types::VolumeModificationState::Optimizing => ModificationState::Optimizing,
        types::VolumeModificationState::Completed => ModificationState::Completed,
        types::VolumeModificationState::Failed => ModificationState::Failed,
        other => return Err(value("modificationState", other.as_str())),
    })
}
