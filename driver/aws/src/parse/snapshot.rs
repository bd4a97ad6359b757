//! Snapshots.

use aws_sdk_ec2::operation::create_snapshot::CreateSnapshotOutput;
use aws_sdk_ec2::types;
use csi_core::ebs::{Snapshot, SnapshotState};

use super::{Odd, need, need_id, size, tags, text, value};

/// A row of `DescribeSnapshots`.
pub(crate) fn snapshot(found: &types::Snapshot) -> Result<Snapshot, Odd> {
    let started = need("startTime", found.start_time())?;
    Ok(Snapshot {
        id: need_id("snapshotId", found.snapshot_id())?,
        // EC2 API reference, `Snapshot.volumeId`: of copies "an arbitrary volume ID".
        volume: text(found.volume_id()).and_then(|id| id.parse().ok()),
        state: snapshot_state(need("status", found.state())?)?,
        size: size("volumeSize", found.volume_size())?,
        started_ms: started.to_millis().map_err(|_range| value("startTime", started))?,
        progress: progress(found.progress())?,
        tags: tags(found.tags())?,
    })
}

/// The answer of `CreateSnapshot`, which the SDK gives a type of its own with the same fields.
pub(crate) fn snapshot_from(made: CreateSnapshotOutput) -> Result<Snapshot, Odd> {
    let row = types::Snapshot::builder()
        .set_snapshot_id(made.snapshot_id)
        .set_volume_id(made.volume_id)
        .set_state(made.state)
        .set_volume_size(made.volume_size)
        .set_start_time(made.start_time)
        .set_progress(made.progress)
        .set_tags(made.tags)
        .build();
    snapshot(&row)
}

/// `42%`; EC2 leaves it empty until the first block is copied.
fn progress(found: Option<&str>) -> Result<u8, Odd> {
    let Some(text) = text(found) else { return Ok(0) };
    let percent = text.strip_suffix('%').unwrap_or(text);
    percent.parse().ok().filter(|percent| *percent <= 100).ok_or_else(|| value("progress", text))
}

fn snapshot_state(found: &types::SnapshotState) -> Result<SnapshotState, Odd> {
    Ok(match found {
        types::SnapshotState::Pending => SnapshotState::Pending,
        types::SnapshotState::Completed => SnapshotState::Completed,
        types::SnapshotState::Error => SnapshotState::Error,
        types::SnapshotState::Recoverable => SnapshotState::Recoverable,
        types::SnapshotState::Recovering => SnapshotState::Recovering,
        other => return Err(value("status", other.as_str())),
    })
}
