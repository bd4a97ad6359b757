//! Moves: what happens to the driver from outside, as data, so that a failure can be kept, cut
//! down and replayed. They name things by number; which ids these have, the run finds out.

use csi_sim::world::{Action, FaultKind, When};
use serde::{Deserialize, Serialize};

use crate::ask::{Kind, NODES, Request, SnapshotClass, Source, Spec, Wish};
use crate::data::Model;

/// Something happens after a while.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Move {
    pub(crate) after_ms: u64,
    pub(crate) act: Act,
}

/// What happens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Act {
    /// Somebody asks one of the two controllers, and perhaps gives up.
    Call { driver: usize, op: Op, patience_ms: Option<u64> },
    /// A controller is killed and another one takes its place.
    Kill { driver: usize },
    /// A call to EC2 goes wrong.
    Fault { action: Action, when: When, fault: FaultKind },
    /// Something at EC2 goes wrong.
    Trouble(Bad),
}

/// What a CO wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Op {
    /// A volume as it was wanted before, if it was.
    Create {
        name: u64,
        kind: Kind,
        from: From,
    },
    /// A volume of this kind, whatever was wanted before.
    CreateOther {
        name: u64,
        kind: Kind,
    },
    Delete {
        name: u64,
    },
    Publish {
        name: u64,
        node: usize,
    },
    Unpublish {
        name: u64,
        node: usize,
    },
    UnpublishEverywhere {
        name: u64,
    },
    Expand {
        name: u64,
        gib: i64,
    },
    Modify {
        name: u64,
        iops: u32,
    },
    Tag {
        name: u64,
        add: bool,
    },
    Snapshot {
        name: u64,
        of: u64,
    },
    DeleteSnapshot {
        name: u64,
    },
    Get {
        name: u64,
    },
    Validate {
        name: u64,
    },
    List {
        page: i32,
    },
    GetSnapshot {
        name: u64,
    },
    ListSnapshots {
        page: i32,
    },
}

/// What a new volume is made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum From {
    Nothing,
    Volume(u64),
    Snapshot(u64),
}

/// Things that go wrong at EC2 beside its calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Bad {
    /// Attachments at a node stick.
    StickAttaching { node: usize, times: u64 },
    /// A detachment sticks once.
    StickBusy { node: usize },
    /// A device name is taken though no list shows it.
    HiddenDevice { node: usize, letter: u8 },
    /// Modifications fail.
    FailModification { times: u64 },
    /// A zone has room, or not.
    Zone { zone: usize, full: bool },
    /// The account may have more volumes, or not.
    Quota { full: bool },
    /// The KMS key can be used, or not.
    Key { unusable: bool },
}

impl Op {
    /// The request that it amounts to now. What needs a volume that is not known asks for it.
    pub(crate) fn resolve(self, model: &mut Model) -> Request {
        let or_create = |name: u64, model: &mut Model, make: &dyn Fn(String) -> Request| match model
            .volume_of(&volume_name(name))
        {
            Some(volume) => make(volume),
            None => create(model, name, Kind::Plain, From::Nothing),
        };
        match self {
            Self::Create { name, kind, from } => create(model, name, kind, from),
            Self::CreateOther { name, kind } => {
                Request::Create { name: volume_name(name), spec: Spec { kind, source: None } }
            }
            Self::Delete { name } => or_create(name, model, &|volume| Request::Delete { volume }),
            Self::Publish { name, node } => publish(model, name, node),
            Self::Unpublish { name, node } => or_create(name, model, &|volume| {
                Request::Unpublish { volume, node: Some(NODES[node].0.to_owned()) }
            }),
            Self::UnpublishEverywhere { name } => {
                or_create(name, model, &|volume| Request::Unpublish { volume, node: None })
            }
            Self::Expand { name, gib } => {
                or_create(name, model, &|volume| Request::Expand { volume, gib })
            }
            Self::Modify { name, iops } => {
                or_create(name, model, &|volume| Request::Modify { volume, wish: Wish { iops } })
            }
            Self::Tag { name, add } => {
                or_create(name, model, &|volume| Request::Tag { volume, add })
            }
            Self::Get { name } => or_create(name, model, &|volume| Request::Get { volume }),
            Self::Validate { name } => {
                or_create(name, model, &|volume| Request::Validate { volume })
            }
            Self::List { page } => Request::List { page },
            Self::Snapshot { name, of } => snapshot(model, name, of),
            Self::DeleteSnapshot { name } => match model.snapshot_of(&snapshot_name(name)) {
                Some(snapshot) => Request::DeleteSnapshot { snapshot },
                None => snapshot_request(model, name),
            },
            Self::GetSnapshot { name } => match model.snapshot_of(&snapshot_name(name)) {
                Some(snapshot) => Request::GetSnapshot { snapshot },
                None => snapshot_request(model, name),
            },
            Self::ListSnapshots { page } => Request::ListSnapshots { page },
        }
    }
}

fn snapshot_request(model: &mut Model, name: u64) -> Request {
    snapshot(model, name, name)
}

fn volume_name(name: u64) -> String {
    format!("pvc-{name}")
}

fn snapshot_name(name: u64) -> String {
    format!("snapshot-{name}")
}

/// A CO repeats what it wanted until the volume is gone; then it may want another.
fn create(model: &mut Model, name: u64, kind: Kind, from: From) -> Request {
    let text = volume_name(name);
    let source = match from {
        From::Nothing => None,
        From::Volume(of) => {
            model.volume_of(&volume_name(of)).filter(|_| of != name).map(Source::Volume)
        }
        From::Snapshot(of) => model.snapshot_of(&snapshot_name(of)).map(Source::Snapshot),
    };
    // A copy must lie where its source does.
    let kind = if source.is_some() { Kind::Anywhere } else { kind };
    let is_over = model.is_over(&text);
    let known = model.volume_names.entry(text.clone()).or_default();
    if is_over || known.wanted.is_none() {
        known.wanted = Some(Spec { kind, source });
    }
    let spec = known.wanted.clone().unwrap_or(Spec { kind, source: None });
    Request::Create { name: text, spec }
}

fn publish(model: &mut Model, name: u64, node: usize) -> Request {
    let text = volume_name(name);
    match model.volume_of(&text) {
        None => create(model, name, Kind::Plain, From::Nothing),
        Some(volume) => {
            let wanted = model.volume_names.get(&text).and_then(|known| known.wanted.as_ref());
            let shared = wanted.is_some_and(|spec| spec.kind == Kind::Shared);
            Request::Publish { volume, node: NODES[node].0.to_owned(), shared }
        }
    }
}

fn snapshot(model: &mut Model, name: u64, of: u64) -> Request {
    let text = snapshot_name(name);
    let Some(volume) = model.volume_of(&volume_name(of)) else {
        return create(model, of, Kind::Plain, From::Nothing);
    };
    let is_over = model.is_snapshot_over(&text);
    let known = model.snapshot_names.entry(text.clone()).or_default();
    if is_over || known.wanted.is_none() {
        known.wanted = Some(volume);
    }
    let volume = known.wanted.clone().unwrap_or_default();
    let class = if name == 2 { SnapshotClass::Fast } else { SnapshotClass::Plain };
    Request::Snapshot { name: text, volume, class }
}
