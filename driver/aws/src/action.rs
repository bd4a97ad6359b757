//! The EC2 actions that this driver calls, with their names and documented quotas.

use csi_core::facts;

/// An action of the EC2 API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    CreateVolume,
    CopyVolumes,
    DeleteVolume,
    AttachVolume,
    DetachVolume,
    ModifyVolume,
    CreateSnapshot,
    DeleteSnapshot,
    EnableFastSnapshotRestores,
    LockSnapshot,
    CreateTags,
    DeleteTags,
    DescribeVolumes,
    DescribeSnapshots,
    DescribeInstances,
    DescribeVolumesModifications,
    DescribeAvailabilityZones,
}

impl Action {
    /// Every action, in the order of the enum.
    pub(crate) const ALL: [Self; 17] = [
        Self::CreateVolume,
        Self::CopyVolumes,
        Self::DeleteVolume,
        Self::AttachVolume,
        Self::DetachVolume,
        Self::ModifyVolume,
        Self::CreateSnapshot,
        Self::DeleteSnapshot,
        Self::EnableFastSnapshotRestores,
        Self::LockSnapshot,
        Self::CreateTags,
        Self::DeleteTags,
        Self::DescribeVolumes,
        Self::DescribeSnapshots,
        Self::DescribeInstances,
        Self::DescribeVolumesModifications,
        Self::DescribeAvailabilityZones,
    ];

    /// The name in the API, in IAM policies and in metrics.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::CreateVolume => "CreateVolume",
            Self::CopyVolumes => "CopyVolumes",
            Self::DeleteVolume => "DeleteVolume",
            Self::AttachVolume => "AttachVolume",
            Self::DetachVolume => "DetachVolume",
            Self::ModifyVolume => "ModifyVolume",
            Self::CreateSnapshot => "CreateSnapshot",
            Self::DeleteSnapshot => "DeleteSnapshot",
            Self::EnableFastSnapshotRestores => "EnableFastSnapshotRestores",
            Self::LockSnapshot => "LockSnapshot",
            Self::CreateTags => "CreateTags",
            Self::DeleteTags => "DeleteTags",
            Self::DescribeVolumes => "DescribeVolumes",
            Self::DescribeSnapshots => "DescribeSnapshots",
            Self::DescribeInstances => "DescribeInstances",
            Self::DescribeVolumesModifications => "DescribeVolumesModifications",
            Self::DescribeAvailabilityZones => "DescribeAvailabilityZones",
        }
    }

    /// The action's token bucket by default: burst and refill per second.
    pub(crate) const fn bucket(self) -> (u32, u32) {
        match self {
            Self::CreateVolume => facts::CREATE_VOLUME_BUCKET,
            Self::CopyVolumes
            | Self::DeleteVolume
            | Self::AttachVolume
            | Self::DetachVolume
            | Self::ModifyVolume
            | Self::CreateSnapshot
            | Self::DeleteSnapshot
            | Self::EnableFastSnapshotRestores
            | Self::LockSnapshot
            | Self::CreateTags
            | Self::DeleteTags => facts::WRITE_BUCKET,
            Self::DescribeVolumes
            | Self::DescribeSnapshots
            | Self::DescribeInstances
            | Self::DescribeVolumesModifications
            | Self::DescribeAvailabilityZones => facts::READ_BUCKET,
        }
    }

    /// The action of that name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_stands_in_the_list_at_its_own_place_and_is_found_by_name() {
        for (place, action) in Action::ALL.into_iter().enumerate() {
            assert_eq!(action as usize, place);
            assert_eq!(Action::named(action.name()), Some(action));
        }
        assert_eq!(Action::named("RunInstances"), None);
    }
}
