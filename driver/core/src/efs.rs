//! The port to EFS: the actions as this driver uses them, in domain types.
//!
//! The port is EFS's own shape, one method for one API action, like [`crate::ebs::Ebs`], so that
//! everything that is hard (idempotency, the choice of GIDs) is written once above it and tested
//! against the simulated world with paused time. Implementations: the AWS SDK and the simulator.

mod capability;
mod handle;
mod path;
pub mod removal;
pub mod request;
mod secrets;
mod tags;

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::api_error::ApiError;
use crate::id::{AccessPointId, FileSystemId};
use crate::topology::Zone;

pub use crate::ebs::{Page, Tags};
pub use capability::EfsCapability;
pub use handle::{InvalidHandle, VolumeHandle};
pub use path::{
    Permissions, SubPath, base_path, directory_of_name, directory_of_pattern, unique_suffix,
};
pub use secrets::{ObjectKey, Secrets};
pub use tags::{is_tag_value, parse_tags};

/// Tag with value `true` on every access point that this driver makes; IAM policies depend on it,
/// and only what carries it is ever taken for the driver's own.
pub const MANAGED_TAG: &str = "efs.csi.aws.com/cluster";

/// An access point as `DescribeAccessPoints` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessPoint {
    /// Its id.
    pub id: AccessPointId,
    /// The token that made it.
    pub client_token: String,
    /// The file system that it opens.
    pub file_system: FileSystemId,
    /// Its state.
    pub state: LifeCycleState,
    /// The identity that every access through it gets; without one, the client's own.
    pub posix_user: Option<PosixUser>,
    /// The directory that clients see as `/`.
    pub root: RootDirectory,
    /// Its tags.
    pub tags: Tags,
}

/// `LifeCycleState` of file systems, access points and mount targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LifeCycleState {
    /// Being made.
    Creating,
    /// Ready.
    Available,
    /// Being changed, and usable meanwhile.
    Updating,
    /// Being deleted.
    Deleting,
    /// Deleted, still listed.
    Deleted,
    /// Broken.
    Error,
}

/// The POSIX identity that an access point enforces.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PosixUser {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Further group ids.
    pub secondary_gids: Vec<u32>,
}

/// The directory behind an access point.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RootDirectory {
    /// Its path from the file system's root, absolute.
    pub path: String,
    /// How EFS makes it at the first access, if it is not there.
    pub creation: Option<CreationInfo>,
}

/// Owner and permissions of a directory that EFS makes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CreationInfo {
    /// User id of the owner.
    pub owner_uid: u32,
    /// Group id of the owner.
    pub owner_gid: u32,
    /// Permissions, octal, `700`.
    pub permissions: String,
}

/// A file system as `DescribeFileSystems` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSystem {
    /// Its id.
    pub id: FileSystemId,
    /// Its state.
    pub state: LifeCycleState,
    /// Its only zone, if it is a One Zone file system.
    pub zone: Option<Zone>,
}

/// A mount target as `DescribeMountTargets` shows it: a file system's address in one zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountTarget {
    /// Its id, `fsmt-0123456789abcdef0`.
    pub id: String,
    /// The file system.
    pub file_system: FileSystemId,
    /// Its state.
    pub state: LifeCycleState,
    /// Its zone by the account's name, `us-east-1a`.
    pub zone: Zone,
    /// Its zone by the name that all accounts share, `use1-az1`.
    pub zone_id: String,
    /// Its IPv4 address, if it has one.
    pub ipv4: Option<Ipv4Addr>,
    /// Its IPv6 address, if it has one.
    pub ipv6: Option<Ipv6Addr>,
}

/// `CreateAccessPoint`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateAccessPoint {
    /// Idempotency token, at most 64 characters.
    pub client_token: String,
    /// The file system to open.
    pub file_system: FileSystemId,
    /// The identity to enforce.
    pub posix_user: PosixUser,
    /// The directory to show.
    pub root: RootDirectory,
    /// Tags, written in the same call.
    pub tags: Tags,
}

/// What `CreateAccessPoint` came to. EFS refuses a token that it knows, whatever the other
/// parameters are, and names the access point that the token made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CreatedAccessPoint {
    /// It was made by this call; it may still be [`LifeCycleState::Creating`].
    New(AccessPoint),
    /// `AccessPointAlreadyExists`: the token made this one before.
    Existing(AccessPointId),
}

/// Which access points to describe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessPointQuery {
    /// One; an unknown one fails the call.
    Id(AccessPointId),
    /// Those of a file system, a page of at most `max` (1 to 1,000).
    FileSystem {
        /// The file system.
        file_system: FileSystemId,
        /// Access points per page.
        max: u16,
        /// Where the last page ended.
        token: Option<String>,
    },
}

/// A role to act as, for file systems of another account.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Role {
    /// Its ARN.
    pub arn: String,
    /// What the role's owner demands to hear before it is given.
    pub external_id: Option<String>,
}

impl fmt::Debug for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The external id comes from a Secret.
        f.debug_struct("Role").field("arn", &self.arn).finish_non_exhaustive()
    }
}

/// The EFS actions that this driver calls, each exactly once per call: no retries hide below.
///
/// Every method fails with [`ApiError`]. Ids are well-formed; objects may not exist.
pub trait Efs: Clone + Send + Sync + 'static {
    /// The same EFS with the credentials of a role, which is assumed when it is needed. If the
    /// role is refused, each call fails, as denied.
    #[must_use]
    fn as_role(&self, role: &Role) -> Self;
    /// Makes an access point.
    fn create_access_point(
        &self,
        call: CreateAccessPoint,
    ) -> impl Future<Output = Result<CreatedAccessPoint, ApiError>> + Send;
    /// Deletes an access point. Its directory stays.
    fn delete_access_point(
        &self,
        id: AccessPointId,
    ) -> impl Future<Output = Result<(), ApiError>> + Send;
    /// Describes access points. Answers may lag behind writes.
    fn describe_access_points(
        &self,
        query: AccessPointQuery,
    ) -> impl Future<Output = Result<Page<AccessPoint>, ApiError>> + Send;
    /// Describes one file system (`DescribeFileSystems`).
    fn describe_file_system(
        &self,
        id: FileSystemId,
    ) -> impl Future<Output = Result<FileSystem, ApiError>> + Send;
    /// The mount targets of a file system, all pages.
    fn describe_mount_targets(
        &self,
        id: FileSystemId,
    ) -> impl Future<Output = Result<Vec<MountTarget>, ApiError>> + Send;
}
