//! The actions of EC2 and EFS that the drivers call, with their names and documented quotas.

use csi_core::facts;

/// A service of AWS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    Ec2,
    Efs,
}

impl Service {
    /// The name as users know it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ec2 => "EC2",
            Self::Efs => "EFS",
        }
    }

    /// The beginning of the user agent: the driver that calls the service.
    pub(crate) const fn driver(self) -> &'static str {
        match self {
            Self::Ec2 => concat!("aws-ebs-csi-driver-", env!("CARGO_PKG_VERSION")),
            Self::Efs => concat!("aws-efs-csi-driver-", env!("CARGO_PKG_VERSION")),
        }
    }

    /// The service's actions.
    pub(crate) fn actions(self) -> impl Iterator<Item = Action> {
        Action::ALL.into_iter().filter(move |action| action.service() == self)
    }
}

/// An action of the API of EC2 or EFS.
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
    DescribeVolumeStatus,
    DescribeAvailabilityZones,
    CreateAccessPoint,
    DeleteAccessPoint,
    DescribeAccessPoints,
    DescribeFileSystems,
    DescribeMountTargets,
}

impl Action {
    /// Every action, in the order of the enum.
    pub(crate) const ALL: [Self; 23] = [
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
        Self::DescribeVolumeStatus,
        Self::DescribeAvailabilityZones,
        Self::CreateAccessPoint,
        Self::DeleteAccessPoint,
        Self::DescribeAccessPoints,
        Self::DescribeFileSystems,
        Self::DescribeMountTargets,
    ];

    /// The service that has the action.
    pub(crate) const fn service(self) -> Service {
        match self {
            Self::CreateAccessPoint
            | Self::DeleteAccessPoint
            | Self::DescribeAccessPoints
            | Self::DescribeFileSystems
            | Self::DescribeMountTargets => Service::Efs,
            _ => Service::Ec2,
        }
    }

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
            Self::DescribeVolumeStatus => "DescribeVolumeStatus",
            Self::DescribeAvailabilityZones => "DescribeAvailabilityZones",
            Self::CreateAccessPoint => "CreateAccessPoint",
            Self::DeleteAccessPoint => "DeleteAccessPoint",
            Self::DescribeAccessPoints => "DescribeAccessPoints",
            Self::DescribeFileSystems => "DescribeFileSystems",
            Self::DescribeMountTargets => "DescribeMountTargets",
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
            | Self::DescribeVolumeStatus
            | Self::DescribeAvailabilityZones => facts::READ_BUCKET,
            Self::CreateAccessPoint
            | Self::DeleteAccessPoint
            | Self::DescribeAccessPoints
            | Self::DescribeFileSystems
            | Self::DescribeMountTargets => facts::efs::BUCKET,
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
        let of_services = Service::Ec2.actions().chain(Service::Efs.actions());
        assert_eq!(of_services.collect::<Vec<_>>(), Action::ALL);
        for (place, action) in Action::ALL.into_iter().enumerate() {
            assert_eq!(action as usize, place);
            assert_eq!(Action::named(action.name()), Some(action));
        }
        assert_eq!(Action::named("RunInstances"), None);
    }
}
