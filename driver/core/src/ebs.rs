//! The port to EBS: EC2's actions as this driver uses them, in domain types.
//!
//! The port is EC2's own shape, one method for one API action, so that everything that is hard
//! (idempotency, waiting, batching) is written once above it and tested against the simulated
//! world with paused time. Implementations: the AWS SDK and the simulator.

mod snapshot;
mod status;

use std::collections::BTreeMap;

use crate::api_error::ApiError;
use crate::capacity::GiB;
use crate::id::{InstanceId, SnapshotId, SnapshotName, VolumeId, VolumeName};
use crate::topology::Zone;

pub use snapshot::{CreateSnapshot, LockEnd, LockMode, Snapshot, SnapshotLock, SnapshotState};
pub use status::{Initialization, InitializationState};

/// Tags of an object, by key.
pub type Tags = BTreeMap<String, String>;

/// Tag that carries the CSI name of a volume.
pub const VOLUME_NAME_TAG: &str = "CSIVolumeName";
/// Tag that carries the CSI name of a snapshot.
pub const SNAPSHOT_NAME_TAG: &str = "CSIVolumeSnapshotName";
/// Tag with value `true` on everything this driver makes; IAM policies depend on it.
pub const MANAGED_TAG: &str = "ebs.csi.aws.com/cluster";

/// A volume as `DescribeVolumes` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Its id.
    pub id: VolumeId,
    /// Its state.
    pub state: VolumeState,
    /// Its size.
    pub size: GiB,
    /// Its zone.
    pub zone: Zone,
    /// Its type, `gp3`.
    pub volume_type: String,
    /// Provisioned or included IOPS, where the type has them.
    pub iops: Option<u32>,
    /// Provisioned or included throughput in MiB/s, where the type has it.
    pub throughput: Option<u32>,
    /// Whether it is encrypted.
    pub encrypted: bool,
    /// ARN of its KMS key.
    pub kms_key: Option<String>,
    /// The snapshot it was made from.
    pub snapshot: Option<SnapshotId>,
    /// The volume it was copied from.
    pub source_volume: Option<VolumeId>,
    /// Whether several instances may attach it.
    pub multi_attach: bool,
    /// Its attachments.
    pub attachments: Vec<Attachment>,
    /// Its tags.
    pub tags: Tags,
}

/// `volume.status` of `DescribeVolumes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VolumeState {
    /// Being made.
    Creating,
    /// Ready, not attached.
    Available,
    /// Attached or attaching.
    InUse,
    /// Being deleted.
    Deleting,
    /// Deleted, still listed.
    Deleted,
    /// Creation failed.
    Error,
}

/// A volume at an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// The volume.
    pub volume: VolumeId,
    /// The instance.
    pub instance: InstanceId,
    /// The device name, `/dev/xvdaa`.
    pub device: String,
    /// Its state.
    pub state: AttachmentState,
}

/// `attachment.status` of `DescribeVolumes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AttachmentState {
    /// Being attached.
    Attaching,
    /// Attached.
    Attached,
    /// Being detached.
    Detaching,
    /// Detached, still listed.
    Detached,
    /// The instance does not let go of the device.
    Busy,
}

/// An instance as `DescribeInstances` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Its id.
    pub id: InstanceId,
    /// Its type, `m5.large`.
    pub instance_type: String,
    /// Its zone.
    pub zone: Zone,
    /// `pending`, `running`, `shutting-down`, `terminated`, `stopping`, `stopped`.
    pub state: String,
    /// Device names in use, with the volumes behind them.
    pub devices: BTreeMap<String, VolumeId>,
    /// The device name of the root volume.
    pub root_device: Option<String>,
}

/// A volume's latest modification as `DescribeVolumesModifications` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Modification {
    /// The volume.
    pub volume: VolumeId,
    /// Its state.
    pub state: ModificationState,
    /// The size it leads to.
    pub size: GiB,
    /// The type it leads to.
    pub volume_type: String,
    /// The IOPS it leads to.
    pub iops: Option<u32>,
    /// The throughput in MiB/s it leads to.
    pub throughput: Option<u32>,
    /// Progress in percent.
    pub progress: u8,
    /// EC2's words on a failure.
    pub status_message: Option<String>,
    /// When it began, in milliseconds since 1970.
    pub started_ms: Option<i64>,
}

/// `modificationState` of `DescribeVolumesModifications`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ModificationState {
    /// Not yet in force.
    Modifying,
    /// In force; performance still rises. The size may be used.
    Optimizing,
    /// Done.
    Completed,
    /// Failed; the volume is as before.
    Failed,
}

/// `CreateVolume`, or `CopyVolumes` when `source` is a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateVolume {
    /// Idempotency token, at most 64 characters.
    pub client_token: String,
    /// Size.
    pub size: GiB,
    /// Zone; a copy lies in its source's.
    pub zone: Zone,
    /// Type, as the user wrote it.
    pub volume_type: String,
    /// IOPS, or EC2's default for the type.
    pub iops: Option<u32>,
    /// Throughput in MiB/s, or EC2's default for the type.
    pub throughput: Option<u32>,
    /// Whether to encrypt. Sent even if false, since EC2 compares it with the token's first use.
    pub encrypted: bool,
    /// KMS key, or the account's default.
    pub kms_key: Option<String>,
    /// What the volume shall hold.
    pub source: Option<VolumeSource>,
    /// Rate in MiB/s at which blocks are fetched from the snapshot.
    pub initialization_rate: Option<u32>,
    /// Whether several instances may attach it.
    pub multi_attach: bool,
    /// Tags, written in the same call.
    pub tags: Tags,
}

/// What a new volume holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VolumeSource {
    /// A snapshot's data.
    Snapshot(SnapshotId),
    /// A volume's data.
    Volume(VolumeId),
}

/// `ModifyVolume`: what is `None` stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModifyVolume {
    /// The volume.
    pub volume: VolumeId,
    /// New size.
    pub size: Option<GiB>,
    /// New type.
    pub volume_type: Option<String>,
    /// New IOPS.
    pub iops: Option<u32>,
    /// New throughput in MiB/s.
    pub throughput: Option<u32>,
}

/// Which volumes to describe. Ids and names go into filters of at most 200 values, so that an
/// unknown one is absent from the answer instead of failing it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VolumeQuery {
    /// By id.
    Ids(Vec<VolumeId>),
    /// By the tag [`VOLUME_NAME_TAG`].
    Names(Vec<VolumeName>),
    /// All, a page of at most `max` (5 to 1,000).
    All {
        /// Volumes per page.
        max: u16,
        /// Where the last page ended.
        token: Option<String>,
    },
}

/// Which snapshots to describe; only the account's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SnapshotQuery {
    /// By id.
    Ids(Vec<SnapshotId>),
    /// By the tag [`SNAPSHOT_NAME_TAG`].
    Names(Vec<SnapshotName>),
    /// All, or those of a volume; a page of at most `max` (5 to 1,000).
    All {
        /// Only those made from this volume.
        volume: Option<VolumeId>,
        /// Snapshots per page.
        max: u16,
        /// Where the last page ended.
        token: Option<String>,
    },
}

/// One page of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// What the page holds.
    pub items: Vec<T>,
    /// Where the next page starts, if there is one.
    pub next: Option<String>,
}

/// The EC2 actions that this driver calls, each exactly once per call: no retries hide below.
///
/// Every method fails with [`ApiError`]. Ids are well-formed; objects may not exist.
pub trait Ebs: Send + Sync + 'static {
    /// Starts a volume, or returns the one that the token made before (it may have failed since).
    fn create_volume(
        &self,
        call: CreateVolume,
    ) -> impl Future<Output = Result<Volume, ApiError>> + Send;
    /// Deletes a volume.
    fn delete_volume(&self, id: VolumeId) -> impl Future<Output = Result<(), ApiError>> + Send;
    /// Starts to attach a volume under a device name.
    fn attach_volume(
        &self,
        id: VolumeId,
        instance: InstanceId,
        device: String,
    ) -> impl Future<Output = Result<Attachment, ApiError>> + Send;
    /// Starts to detach a volume, never by force.
    fn detach_volume(
        &self,
        id: VolumeId,
        instance: InstanceId,
    ) -> impl Future<Output = Result<(), ApiError>> + Send;
    /// Starts to modify a volume.
    fn modify_volume(
        &self,
        call: ModifyVolume,
    ) -> impl Future<Output = Result<Modification, ApiError>> + Send;
    /// Starts a snapshot.
    fn create_snapshot(
        &self,
        call: CreateSnapshot,
    ) -> impl Future<Output = Result<Snapshot, ApiError>> + Send;
    /// Deletes a snapshot.
    fn delete_snapshot(&self, id: SnapshotId) -> impl Future<Output = Result<(), ApiError>> + Send;
    /// Checks the parameters of a creation and makes nothing. What EC2 would refuse it refuses as in
    /// [`Ebs::create_volume`].
    fn dry_run_create(
        &self,
        call: CreateVolume,
    ) -> impl Future<Output = Result<(), ApiError>> + Send;
    /// Enables fast restore of a snapshot in zones; where it is enabled already it stays so. Fails
    /// if EC2 enabled it in some of them only.
    fn enable_fast_restore(
        &self,
        id: SnapshotId,
        zones: Vec<Zone>,
    ) -> impl Future<Output = Result<(), ApiError>> + Send;
    /// Locks a snapshot, or changes its lock.
    fn lock_snapshot(
        &self,
        id: SnapshotId,
        lock: SnapshotLock,
    ) -> impl Future<Output = Result<(), ApiError>> + Send;
    /// Adds or overwrites tags of a volume.
    fn create_tags(
        &self,
        id: VolumeId,
        tags: Tags,
    ) -> impl Future<Output = Result<(), ApiError>> + Send;
    /// Removes tags of a volume, by key.
    fn delete_tags(
        &self,
        id: VolumeId,
        keys: Vec<String>,
    ) -> impl Future<Output = Result<(), ApiError>> + Send;
    /// Describes volumes. Answers may lag behind writes.
    fn describe_volumes(
        &self,
        query: VolumeQuery,
    ) -> impl Future<Output = Result<Page<Volume>, ApiError>> + Send;
    /// Describes snapshots. Answers may lag behind writes.
    fn describe_snapshots(
        &self,
        query: SnapshotQuery,
    ) -> impl Future<Output = Result<Page<Snapshot>, ApiError>> + Send;
    /// Describes instances, at most 200; unknown ones are absent from the answer.
    fn describe_instances(
        &self,
        ids: Vec<InstanceId>,
    ) -> impl Future<Output = Result<Vec<Instance>, ApiError>> + Send;
    /// The latest modification of each volume, at most 200; volumes that were never modified are
    /// absent from the answer.
    fn describe_modifications(
        &self,
        ids: Vec<VolumeId>,
    ) -> impl Future<Output = Result<Vec<Modification>, ApiError>> + Send;
    /// How far each volume is filled, at most 200; volumes that do not exist are absent from the
    /// answer.
    fn describe_initialization(
        &self,
        ids: Vec<VolumeId>,
    ) -> impl Future<Output = Result<Vec<Initialization>, ApiError>> + Send;
    /// The zones of the region that are open to the account.
    fn describe_zones(&self) -> impl Future<Output = Result<Vec<Zone>, ApiError>> + Send;
}
