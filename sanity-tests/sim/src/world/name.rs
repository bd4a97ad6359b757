//! States by the names that the API gives them.

use csi_core::ebs::{AttachmentState, ModificationState, SnapshotState, VolumeState};

/// `Volume.status`.
#[must_use]
pub fn volume_state(state: VolumeState) -> &'static str {
    match state {
        VolumeState::Creating => "creating",
        VolumeState::Available => "available",
        VolumeState::InUse => "in-use",
        VolumeState::Deleting => "deleting",
        VolumeState::Deleted => "deleted",
        VolumeState::Error => "error",
    }
}

/// `VolumeAttachment.status`.
#[must_use]
pub fn attachment_state(state: AttachmentState) -> &'static str {
    match state {
        AttachmentState::Attaching => "attaching",
        AttachmentState::Attached => "attached",
        AttachmentState::Detaching => "detaching",
        AttachmentState::Detached => "detached",
        AttachmentState::Busy => "busy",
    }
}

/// `VolumeModification.modificationState`.
#[must_use]
pub fn modification_state(state: ModificationState) -> &'static str {
    match state {
        ModificationState::Modifying => "modifying",
        ModificationState::Optimizing => "optimizing",
        ModificationState::Completed => "completed",
        ModificationState::Failed => "failed",
    }
}

/// `Snapshot.status`.
#[must_use]
pub fn snapshot_state(state: SnapshotState) -> &'static str {
    match state {
        SnapshotState::Pending => "pending",
        SnapshotState::Completed => "completed",
        SnapshotState::Error => "error",
        SnapshotState::Recoverable => "recoverable",
        SnapshotState::Recovering => "recovering",
    }
}
