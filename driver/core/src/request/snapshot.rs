//! Requests about one snapshot.

use csi_proto::csi;

use super::{BadRequest, name, not_local, present};
use crate::id::{SnapshotId, SnapshotName, VolumeId};
use crate::parameters::{InvalidTags, SnapshotParameters};

/// `CreateSnapshot`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateSnapshot {
    /// The snapshot's name, the key of idempotency.
    pub name: SnapshotName,
    /// The volume.
    pub volume: VolumeId,
    /// What its `VolumeSnapshotClass` asks for.
    pub parameters: SnapshotParameters,
}

impl CreateSnapshot {
    /// Reads a message.
    ///
    /// # Errors
    /// A field that breaks a rule, or a volume that cannot exist.
    pub fn parse(
        message: &csi::CreateSnapshotRequest,
        invalid_tags: InvalidTags,
    ) -> Result<Self, BadRequest> {
        let name = name(&message.name)?;
        let volume = present("source_volume_id", &message.source_volume_id)?;
        not_local("source_volume_id", volume, "captured in a snapshot")?;
        let parameters = SnapshotParameters::parse(&message.parameters, invalid_tags)?;
        Ok(Self { name, volume: volume.parse()?, parameters })
    }
}

/// A request that names a snapshot and nothing else: `DeleteSnapshot`, `GetSnapshot`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotOnly {
    /// The snapshot.
    pub snapshot: SnapshotId,
}

impl TryFrom<csi::DeleteSnapshotRequest> for SnapshotOnly {
    type Error = BadRequest;

    fn try_from(message: csi::DeleteSnapshotRequest) -> Result<Self, BadRequest> {
        Ok(Self { snapshot: present("snapshot_id", &message.snapshot_id)?.parse()? })
    }
}

impl TryFrom<csi::GetSnapshotRequest> for SnapshotOnly {
    type Error = BadRequest;

    fn try_from(message: csi::GetSnapshotRequest) -> Result<Self, BadRequest> {
        Ok(Self { snapshot: present("snapshot_id", &message.snapshot_id)?.parse()? })
    }
}
