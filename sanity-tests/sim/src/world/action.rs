//! The API actions that the world knows.

use csi_core::facts;
use serde::{Deserialize, Serialize};

/// A service with an API of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Service {
    /// Elastic Compute Cloud, with EBS's actions.
    Ec2,
    /// Elastic File System.
    Efs,
    /// Security Token Service.
    Sts,
}

macro_rules! actions {
    ($($name:ident => $service:ident $bucket:expr),* $(,)?) => {
        /// An API action, named as AWS names it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Action {
            $(
                #[doc = concat!("`", stringify!($name), "`.")]
                $name,
            )*
        }

        impl Action {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The name in the API.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name)),* }
            }

            /// The service that it belongs to.
            #[must_use]
            pub fn service(self) -> Service {
                match self { $(Self::$name => Service::$service),* }
            }

            /// Its default token bucket: burst, and refill per second.
            #[must_use]
            pub fn default_bucket(self) -> (u32, u32) {
                match self { $(Self::$name => $bucket),* }
            }
        }
    };
}

actions! {
    CreateVolume => Ec2 facts::CREATE_VOLUME_BUCKET,
    CopyVolumes => Ec2 facts::CREATE_VOLUME_BUCKET,
    DeleteVolume => Ec2 facts::WRITE_BUCKET,
    AttachVolume => Ec2 facts::WRITE_BUCKET,
    DetachVolume => Ec2 facts::WRITE_BUCKET,
    ModifyVolume => Ec2 facts::WRITE_BUCKET,
    CreateSnapshot => Ec2 facts::WRITE_BUCKET,
    DeleteSnapshot => Ec2 facts::WRITE_BUCKET,
    EnableFastSnapshotRestores => Ec2 facts::WRITE_BUCKET,
    LockSnapshot => Ec2 facts::WRITE_BUCKET,
    CreateTags => Ec2 facts::WRITE_BUCKET,
    DeleteTags => Ec2 facts::WRITE_BUCKET,
    DescribeVolumes => Ec2 facts::READ_BUCKET,
    DescribeSnapshots => Ec2 facts::READ_BUCKET,
    DescribeInstances => Ec2 facts::READ_BUCKET,
    DescribeVolumesModifications => Ec2 facts::READ_BUCKET,
    DescribeVolumeStatus => Ec2 facts::READ_BUCKET,
    DescribeAvailabilityZones => Ec2 facts::READ_BUCKET,
    DescribeInstanceTypes => Ec2 facts::READ_BUCKET,
    CreateAccessPoint => Efs facts::efs::BUCKET,
    DeleteAccessPoint => Efs facts::efs::BUCKET,
    DescribeAccessPoints => Efs facts::efs::BUCKET,
    DescribeFileSystems => Efs facts::efs::BUCKET,
    DescribeMountTargets => Efs facts::efs::BUCKET,
    GetCallerIdentity => Sts facts::READ_BUCKET,
    AssumeRole => Sts facts::READ_BUCKET,
    AssumeRoleWithWebIdentity => Sts facts::READ_BUCKET,
}

impl Action {
    /// The action of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|action| action.name() == name)
    }
}
