//! EFS: file systems and mount targets, which are seeded, and access points, which are called
//! for. Source: EFS API reference, version 2015-02-01.

mod access_point;
mod describe;
mod policy;
mod rules;
mod seed;

use std::collections::BTreeMap;
use std::net::IpAddr;

use csi_core::ebs::Tags;
use serde::{Deserialize, Serialize};

use super::lagged::Lagged;
use super::{AwsError, Millis};

pub use policy::{Access, FileSystemPolicy};
pub use seed::{AccessPointSeed, FileSystemSeed, MountTargetSeed};

/// Where an object of EFS's is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LifeCycle {
    /// Not usable yet.
    Creating,
    /// Usable.
    #[default]
    Available,
    /// Going away.
    Deleting,
    /// Never usable.
    Error,
}

impl LifeCycle {
    /// `LifeCycleState` in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Available => "available",
            Self::Deleting => "deleting",
            Self::Error => "error",
        }
    }
}

/// A file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSystemRecord {
    /// Its id, `fs-…`.
    pub id: String,
    /// The only zone of a One Zone file system.
    pub one_zone: Option<String>,
    /// Its state.
    pub state: LifeCycle,
    /// Who may do what; everybody everything if absent, as on EFS.
    pub policy: Option<FileSystemPolicy>,
    /// Its tags.
    pub tags: Tags,
    /// When it was seeded.
    pub created: Millis,
}

/// A mount target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountTargetRecord {
    /// Its id, `fsmt-…`.
    pub id: String,
    /// Its file system.
    pub file_system: String,
    /// Its zone.
    pub zone: String,
    /// Its address.
    pub address: IpAddr,
    /// Its state.
    pub state: LifeCycle,
}

/// The identity that an access point enforces.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct PosixUser {
    /// `Uid`.
    pub uid: u32,
    /// `Gid`.
    pub gid: u32,
    /// `SecondaryGids`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secondary_gids: Vec<u32>,
}

/// How an access point's root directory is made if it is not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CreationInfo {
    /// `OwnerUid`.
    pub owner_uid: u32,
    /// `OwnerGid`.
    pub owner_gid: u32,
    /// `Permissions`, in octal.
    pub permissions: String,
}

/// What an access point shows as the root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RootDirectory {
    /// `Path`; `/` if absent.
    #[serde(default = "slash")]
    pub path: String,
    /// `CreationInfo`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creation_info: Option<CreationInfo>,
}

fn slash() -> String {
    "/".to_owned()
}

impl Default for RootDirectory {
    fn default() -> Self {
        Self { path: slash(), creation_info: None }
    }
}

/// An access point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessPointRecord {
    /// Its id, `fsap-…`.
    pub id: String,
    /// The token it was created with.
    pub client_token: String,
    /// Its file system.
    pub file_system: String,
    /// The identity it enforces.
    pub posix_user: Option<PosixUser>,
    /// Its root.
    pub root: RootDirectory,
    /// Its tags.
    pub tags: Tags,
    /// Its state.
    pub state: LifeCycle,
    /// When it was created.
    pub created: Millis,
}

/// `CreateAccessPoint`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CreateAccessPoint {
    /// `ClientToken`.
    pub client_token: String,
    /// `FileSystemId`.
    pub file_system: String,
    /// `PosixUser`.
    pub posix_user: Option<PosixUser>,
    /// `RootDirectory`.
    pub root: RootDirectory,
    /// `Tags`.
    pub tags: Tags,
}

/// What EFS's Describe calls share.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DescribeEfs {
    /// `AccessPointId`.
    pub access_point: Option<String>,
    /// `FileSystemId`.
    pub file_system: Option<String>,
    /// `MountTargetId`.
    pub mount_target: Option<String>,
    /// `CreationToken`.
    pub creation_token: Option<String>,
    /// `MaxResults` or `MaxItems`.
    pub max_results: Option<u32>,
    /// `NextToken` or `Marker`.
    pub next_token: Option<String>,
}

impl DescribeEfs {
    /// What the call asks for, in a few words for the history.
    #[must_use]
    pub fn subject(&self) -> String {
        let ids = [&self.access_point, &self.file_system, &self.mount_target];
        ids.into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join(" ")
    }
}

/// All of EFS.
#[derive(Debug, Clone, Default)]
pub(crate) struct Efs {
    file_systems: BTreeMap<String, FileSystemRecord>,
    mount_targets: BTreeMap<String, MountTargetRecord>,
    access_points: BTreeMap<String, Lagged<AccessPointRecord>>,
}

impl Efs {
    pub(crate) fn forget(&mut self, access_point: &str) {
        self.access_points.remove(access_point);
    }
}

fn bad_request(message: impl Into<String>) -> AwsError {
    AwsError::new("BadRequest", message)
}

fn no_file_system(id: &str) -> AwsError {
    AwsError::new("FileSystemNotFound", format!("File system '{id}' does not exist."))
}

fn no_access_point(id: &str) -> AwsError {
    AwsError::new("AccessPointNotFound", format!("Access point '{id}' does not exist."))
}
