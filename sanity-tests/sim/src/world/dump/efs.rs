//! EFS's part of the dump.

use std::collections::BTreeMap;
use std::net::IpAddr;

use csi_core::ebs::Tags;
use serde::{Deserialize, Serialize};

use crate::world::World;
use crate::world::efs::{CreationInfo, PosixUser};

/// A file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSystemDump {
    /// Its state.
    pub state: String,
    /// The only zone of a One Zone file system.
    pub one_zone: Option<String>,
    /// Mount targets by id.
    pub mount_targets: BTreeMap<String, MountTargetDump>,
}

/// A mount target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountTargetDump {
    /// Its state.
    pub state: String,
    /// Its zone.
    pub zone: String,
    /// Its address.
    pub address: IpAddr,
}

/// An access point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessPointDump {
    /// Its state.
    pub state: String,
    /// Its file system.
    pub file_system: String,
    /// The token it was created with.
    pub client_token: String,
    /// The identity it enforces.
    pub posix_user: Option<PosixUser>,
    /// Its root directory.
    pub path: String,
    /// How that is made.
    pub creation_info: Option<CreationInfo>,
    /// Its tags.
    pub tags: Tags,
}

impl World {
    pub(super) fn dump_file_systems(&self) -> BTreeMap<String, FileSystemDump> {
        let targets = |id: &str| {
            self.mount_targets()
                .filter(|target| target.file_system == id)
                .map(|target| {
                    let dump = MountTargetDump {
                        state: target.state.name().to_owned(),
                        zone: target.zone.clone(),
                        address: target.address,
                    };
                    (target.id.clone(), dump)
                })
                .collect()
        };
        self.file_systems()
            .map(|record| {
                let dump = FileSystemDump {
                    state: record.state.name().to_owned(),
                    one_zone: record.one_zone.clone(),
                    mount_targets: targets(&record.id),
                };
                (record.id.clone(), dump)
            })
            .collect()
    }

    pub(super) fn dump_access_points(&self) -> BTreeMap<String, AccessPointDump> {
        self.access_points()
            .map(|record| {
                let dump = AccessPointDump {
                    state: record.state.name().to_owned(),
                    file_system: record.file_system.clone(),
                    client_token: record.client_token.clone(),
                    posix_user: record.posix_user.clone(),
                    path: record.root.path.clone(),
                    creation_info: record.root.creation_info.clone(),
                    tags: record.tags.clone(),
                };
                (record.id.clone(), dump)
            })
            .collect()
    }
}
