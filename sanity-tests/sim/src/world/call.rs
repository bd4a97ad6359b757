//! The calls as AWS's API carries them: nothing is checked yet, ids are plain text.

use csi_core::ebs::Tags;

/// `CreateVolume`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CreateVolume {
    /// `ClientToken`.
    pub client_token: Option<String>,
    /// `AvailabilityZone`.
    pub zone: Option<String>,
    /// `Size` in GiB.
    pub size: Option<u32>,
    /// `VolumeType`; EC2's default is gp2.
    pub volume_type: Option<String>,
    /// `Iops`.
    pub iops: Option<u32>,
    /// `Throughput` in MiB/s.
    pub throughput: Option<u32>,
    /// `Encrypted`.
    pub encrypted: Option<bool>,
    /// `KmsKeyId`.
    pub kms_key: Option<String>,
    /// `SnapshotId`.
    pub snapshot: Option<String>,
    /// `VolumeInitializationRate` in MiB/s.
    pub initialization_rate: Option<u32>,
    /// `MultiAttachEnabled`.
    pub multi_attach: Option<bool>,
    /// `TagSpecification` for the volume.
    pub tags: Tags,
    /// `DryRun`.
    pub dry_run: bool,
}

/// `CopyVolumes`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CopyVolumes {
    /// `SourceVolumeId`.
    pub source: String,
    /// `ClientToken`.
    pub client_token: Option<String>,
    /// `Size` in GiB; the source's by default.
    pub size: Option<u32>,
    /// `VolumeType`; gp3 by default.
    pub volume_type: Option<String>,
    /// `Iops`.
    pub iops: Option<u32>,
    /// `Throughput` in MiB/s.
    pub throughput: Option<u32>,
    /// `Encrypted`; a copy of an encrypted volume is encrypted whatever this says.
    pub encrypted: Option<bool>,
    /// `KmsKeyId`; the source's key by default, or the account's.
    pub kms_key: Option<String>,
    /// `MultiAttachEnabled`.
    pub multi_attach: Option<bool>,
    /// `TagSpecification` for the volume.
    pub tags: Tags,
    /// `DryRun`.
    pub dry_run: bool,
}

/// `ModifyVolume`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ModifyVolume {
    /// `VolumeId`.
    pub volume: String,
    /// `Size` in GiB.
    pub size: Option<u32>,
    /// `VolumeType`.
    pub volume_type: Option<String>,
    /// `Iops`.
    pub iops: Option<u32>,
    /// `Throughput` in MiB/s.
    pub throughput: Option<u32>,
    /// `MultiAttachEnabled`.
    pub multi_attach: Option<bool>,
}

/// `CreateSnapshot`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CreateSnapshot {
    /// `VolumeId`.
    pub volume: String,
    /// `Description`.
    pub description: String,
    /// `TagSpecification` for the snapshot.
    pub tags: Tags,
}

/// What all Describe actions share.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Describe {
    /// `VolumeId.N`, `SnapshotId.N`, `InstanceId.N`: one bad id fails the call.
    pub ids: Vec<String>,
    /// `Filter.N`: values that nothing matches are just absent.
    pub filters: Vec<Filter>,
    /// `MaxResults`.
    pub max_results: Option<u32>,
    /// `NextToken`.
    pub next_token: Option<String>,
}

/// One `Filter.N`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// `Name`.
    pub name: String,
    /// `Value.N`, any of which may match; `*` and `?` are wildcards.
    pub values: Vec<String>,
}

/// One page of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing<T> {
    /// The rows.
    pub items: Vec<T>,
    /// `nextToken`.
    pub next_token: Option<String>,
}

impl Describe {
    /// What the call asks for, in a few words for the history.
    #[must_use]
    pub fn subject(&self) -> String {
        let filters = self
            .filters
            .iter()
            .map(|filter| format!("{}={}", filter.name, filter.values.join(",")));
        self.ids.iter().cloned().chain(filters).collect::<Vec<_>>().join(" ")
    }
}
