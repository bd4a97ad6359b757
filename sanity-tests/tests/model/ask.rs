//! What a CO asks and what it is told, as plain data.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

pub(crate) const GIB: i64 = 1 << 30;
pub(crate) const ZONES: [&str; 2] = ["us-east-1a", "us-east-1b"];
/// Two in the first zone, one in the second.
pub(crate) const NODES: [(&str, &str); 3] = [
    ("i-0000000000000000a", ZONES[0]),
    ("i-0000000000000000b", ZONES[0]),
    ("i-0000000000000000c", ZONES[1]),
];
/// The KMS key of [`Kind::Secret`].
pub(crate) const KEY: &str = "arn:aws:kms:us-east-1:123456789012:key/model";

/// A `StorageClass` with a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// gp3 of 10 GiB in the first zone.
    Plain,
    /// The same with 4,000 IOPS.
    Fast,
    /// gp3 of 20 GiB in the second zone.
    Large,
    /// io2 that several nodes may attach.
    Shared,
    /// gp3 encrypted with [`KEY`].
    Secret,
    /// gp3 wherever there is room.
    Anywhere,
    /// gp3 in the second zone, or else in the first.
    Either,
    /// gp3 with more IOPS than every zone grants, so that the driver asks first.
    Vast,
}

impl Kind {
    pub(crate) const ALL: [Self; 8] = [
        Self::Plain,
        Self::Fast,
        Self::Large,
        Self::Shared,
        Self::Secret,
        Self::Anywhere,
        Self::Either,
        Self::Vast,
    ];

    pub(crate) fn zones(self) -> &'static [&'static str] {
        match self {
            Self::Plain | Self::Fast | Self::Shared | Self::Secret | Self::Vast => &ZONES[..1],
            Self::Large => &ZONES[1..],
            Self::Anywhere => &[],
            Self::Either => &["us-east-1b", "us-east-1a"],
        }
    }

    pub(crate) fn parameters(self) -> BTreeMap<String, String> {
        let pairs: &[(&str, &str)] = match self {
            Self::Fast => &[("iops", "4000")],
            Self::Shared => &[("type", "io2"), ("iops", "500")],
            Self::Vast => &[("iops", "20000")],
            Self::Secret => &[("encrypted", "true"), ("kmsKeyId", KEY)],
            Self::Plain | Self::Large | Self::Anywhere | Self::Either => &[],
        };
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }
}

/// What a volume is made from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    Volume(String),
    Snapshot(String),
}

/// What a volume shall be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Spec {
    pub(crate) kind: Kind,
    pub(crate) source: Option<Source>,
}

impl Spec {
    /// A copy has room for sources that were expanded meanwhile.
    pub(crate) fn gib(&self) -> i64 {
        match (self.kind, &self.source) {
            (_, Some(_)) => 60,
            (Kind::Large, None) => 20,
            (Kind::Vast, None) => 40,
            _ => 10,
        }
    }
}

/// What a modification asks for. Each sets the same fields, so that two can be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Wish {
    pub(crate) iops: u32,
}

/// A `VolumeSnapshotClass`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SnapshotClass {
    Plain,
    /// With fast restore in the second zone.
    Fast,
    /// Locked for a day.
    Locked,
}

/// The tag of [`Request::Tag`].
pub(crate) const TAG: (&str, &str) = ("colour", "blue");

/// A call of the Controller service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Request {
    Create {
        name: String,
        spec: Spec,
    },
    Delete {
        volume: String,
    },
    Publish {
        volume: String,
        node: String,
        shared: bool,
    },
    Unpublish {
        volume: String,
        node: Option<String>,
    },
    Expand {
        volume: String,
        gib: i64,
    },
    Modify {
        volume: String,
        wish: Wish,
    },
    /// Adds a tag, or deletes it.
    Tag {
        volume: String,
        add: bool,
    },
    Snapshot {
        name: String,
        volume: String,
        class: SnapshotClass,
    },
    DeleteSnapshot {
        snapshot: String,
    },
    Get {
        volume: String,
    },
    Validate {
        volume: String,
    },
    List {
        page: i32,
    },
    GetSnapshot {
        snapshot: String,
    },
    ListSnapshots {
        page: i32,
    },
}

/// A good answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Volume {
        id: String,
        bytes: i64,
        zone: String,
    },
    Published {
        device: String,
        bytes: i64,
    },
    Size(i64),
    Snapshot {
        id: String,
        volume: String,
    },
    /// Volumes with the nodes they are published at.
    Volumes(BTreeMap<String, BTreeSet<String>>),
    Snapshots(BTreeSet<String>),
    Done,
}

impl Request {
    /// Whether it may change something.
    pub(crate) fn changes(&self) -> bool {
        !matches!(
            self,
            Self::Get { .. }
                | Self::Validate { .. }
                | Self::List { .. }
                | Self::GetSnapshot { .. }
                | Self::ListSnapshots { .. }
        )
    }

    /// The volume whose properties it changes.
    pub(crate) fn changed(&self) -> Option<&String> {
        match self {
            Self::Expand { volume, .. }
            | Self::Modify { volume, .. }
            | Self::Tag { volume, .. } => Some(volume),
            _ => None,
        }
    }

    /// What only one call of a process works on at a time.
    pub(crate) fn claim(&self) -> Option<(&'static str, String, String)> {
        let claim = |what, one: &String| Some((what, one.clone(), String::new()));
        match self {
            Self::Create { name, .. } => claim("create", name),
            Self::Snapshot { name, .. } => claim("snapshot", name),
            Self::Delete { volume } => claim("delete", volume),
            Self::DeleteSnapshot { snapshot } => claim("delete", snapshot),
            Self::Expand { volume, .. }
            | Self::Modify { volume, .. }
            | Self::Tag { volume, .. } => claim("change", volume),
            Self::Publish { volume, node, .. } | Self::Unpublish { volume, node: Some(node) } => {
                Some(("place", volume.clone(), node.clone()))
            }
            _ => None,
        }
    }

    /// The volume that a request is about.
    pub(crate) fn volume(&self) -> Option<&String> {
        match self {
            Self::Delete { volume }
            | Self::Publish { volume, .. }
            | Self::Unpublish { volume, .. }
            | Self::Expand { volume, .. }
            | Self::Modify { volume, .. }
            | Self::Tag { volume, .. }
            | Self::Get { volume }
            | Self::Validate { volume } => Some(volume),
            _ => None,
        }
    }

    /// What must exist for it to succeed.
    pub(crate) fn needs(&self) -> Vec<String> {
        match self {
            Self::Create { spec: Spec { source: Some(source), .. }, .. } => match source {
                Source::Volume(id) | Source::Snapshot(id) => vec![id.clone()],
            },
            Self::Snapshot { volume, .. } => vec![volume.clone()],
            Self::GetSnapshot { snapshot } => vec![snapshot.clone()],
            request => request.volume().into_iter().cloned().collect(),
        }
    }
}
