//! Ids as they come in calls: malformed ones are told from unknown ones.

use std::str::FromStr;

use csi_core::{InstanceId, SnapshotId, VolumeId};

use super::World;
use super::error::AwsError;

pub(crate) fn volume(text: &str) -> Result<VolumeId, AwsError> {
    VolumeId::from_str(text).map_err(|_malformed| {
        AwsError::value(format!(
            "Value ({text}) for parameter volumeId is invalid. Expected: 'vol-...'."
        ))
    })
}

pub(crate) fn snapshot(text: &str) -> Result<SnapshotId, AwsError> {
    SnapshotId::from_str(text).map_err(|_malformed| {
        AwsError::value(format!(
            "Value ({text}) for parameter snapshotId is invalid. Expected: 'snap-...'."
        ))
    })
}

pub(crate) fn instance(text: &str) -> Result<InstanceId, AwsError> {
    InstanceId::from_str(text).map_err(|_malformed| {
        AwsError::new("InvalidInstanceID.Malformed", format!("Invalid id: \"{text}\""))
    })
}

impl World {
    pub(crate) fn new_volume_id(&mut self) -> VolumeId {
        self.new_id("vol-", |world, id| {
            world.volumes.contains_key(id) || world.gone.contains_key(id)
        })
    }

    pub(crate) fn new_snapshot_id(&mut self) -> SnapshotId {
        self.new_id("snap-", |world, id| world.snapshots.contains_key(id))
    }

    pub(crate) fn new_instance_id(&mut self) -> InstanceId {
        self.new_id("i-", |world, id| world.instances.contains_key(id))
    }

    fn new_id<T: FromStr>(&mut self, prefix: &str, taken: impl Fn(&Self, &T) -> bool) -> T {
        loop {
            let text = format!("{prefix}{}", self.rng.id_digits());
            if let Ok(id) = text.parse::<T>()
                && !taken(self, &id)
            {
                return id;
            }
        }
    }
}
