//! The API actions that the world knows.

use csi_core::facts;
use serde::{Deserialize, Serialize};

macro_rules! actions {
    ($($name:ident => $bucket:expr),* $(,)?) => {
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

            /// EC2's default token bucket: burst, and refill per second.
            #[must_use]
            pub fn default_bucket(self) -> (u32, u32) {
                match self { $(Self::$name => $bucket),* }
            }
        }
    };
}

actions! {
    CreateVolume => facts::CREATE_VOLUME_BUCKET,
    CopyVolumes => facts::CREATE_VOLUME_BUCKET,
    DeleteVolume => facts::WRITE_BUCKET,
    AttachVolume => facts::WRITE_BUCKET,
    DetachVolume => facts::WRITE_BUCKET,
    ModifyVolume => facts::WRITE_BUCKET,
    CreateSnapshot => facts::WRITE_BUCKET,
    DeleteSnapshot => facts::WRITE_BUCKET,
    EnableFastSnapshotRestores => facts::WRITE_BUCKET,
    LockSnapshot => facts::WRITE_BUCKET,
    CreateTags => facts::WRITE_BUCKET,
    DeleteTags => facts::WRITE_BUCKET,
    DescribeVolumes => facts::READ_BUCKET,
    DescribeSnapshots => facts::READ_BUCKET,
    DescribeInstances => facts::READ_BUCKET,
    DescribeVolumesModifications => facts::READ_BUCKET,
    DescribeAvailabilityZones => facts::READ_BUCKET,
    DescribeInstanceTypes => facts::READ_BUCKET,
    GetCallerIdentity => facts::READ_BUCKET,
}

impl Action {
    /// The action of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|action| action.name() == name)
    }
}
