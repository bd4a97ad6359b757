//! What must be so: plain data, changed by rules that know nothing of kernels or plans.

use std::collections::BTreeMap;

use tonic::Code;

use crate::step::{Call, PODS, Pod, V, VOLUMES};

/// What a volume is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// ext4 on a disk that grows.
    Ext4,
    /// XFS on a disk that can be torn out.
    TornXfs,
    /// ext4 on a disk that can break.
    Breaking,
    /// No file system, on a disk that grows.
    Block,
}

pub(crate) const KINDS: [Kind; VOLUMES] = [Kind::Ext4, Kind::TornXfs, Kind::Breaking, Kind::Block];

/// What is on a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// Nothing, or a file system that was begun and not promised.
    Nothing,
    /// Somebody else's.
    Foreign,
    /// A file system that a call has promised: it must never be made again.
    Promised,
}

/// A mount that calls have promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mounted {
    /// Of the disk that is plugged.
    Alive,
    /// Of a disk that was torn out.
    Dead,
}

/// All that must be so of one volume.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "what can be wrong with a disk is independent")]
pub(crate) struct Volume {
    pub(crate) kind: Kind,
    pub(crate) plugged: bool,
    pub(crate) held: bool,
    pub(crate) broken: bool,
    pub(crate) misled: bool,
    pub(crate) content: Content,
    pub(crate) staged: Option<Mounted>,
    /// Where it is published, and whether read-only.
    pub(crate) pods: BTreeMap<Pod, (Mounted, bool)>,
    /// What was written and synced, by file, with its checksum.
    pub(crate) files: BTreeMap<String, String>,
    pub(crate) gib: u64,
    /// How often its file system was made since the node came up; known once it is promised.
    pub(crate) runs: Option<usize>,
}

impl Volume {
    fn new(kind: Kind) -> Self {
        Self {
            kind,
            plugged: true,
            held: false,
            broken: false,
            misled: false,
            content: Content::Nothing,
            staged: None,
            pods: BTreeMap::new(),
            files: BTreeMap::new(),
            gib: 1,
            runs: None,
        }
    }

    /// Whether anything of it is mounted.
    pub(crate) fn is_used(&self) -> bool {
        (self.staged.is_some() && self.kind != Kind::Block) || !self.pods.is_empty()
    }

    /// A pod that can read, or write, it.
    pub(crate) fn pod(&self, writable: bool) -> Option<Pod> {
        let fits = |(at, ro): &(Mounted, bool)| *at == Mounted::Alive && !(writable && *ro);
        self.pods.iter().find(|(_, pod)| fits(pod)).map(|(pod, _)| *pod)
    }

    /// Whether a test may do something to its disk that needs it free.
    pub(crate) fn is_free(&self) -> bool {
        self.plugged && !self.is_used() && !self.held && !self.misled && !self.broken
    }
}

/// All that must be so.
#[derive(Debug, Clone)]
pub(crate) struct Truth(pub(crate) [Volume; VOLUMES]);

impl Truth {
    pub(crate) fn new() -> Self {
        Self(KINDS.map(Volume::new))
    }

    /// What a call must be answered, and what is so when it was answered that.
    pub(crate) fn answer(&mut self, call: Call) -> Result<(), Code> {
        match call {
            Call::Stage(v) => self.stage(v),
            Call::Publish(v, pod, ro) => self.publish(v, pod, ro),
            Call::Unpublish(v, pod) => {
                self.0[v].pods.remove(&pod);
                Ok(())
            }
            Call::Unstage(v) => {
                self.0[v].staged = None;
                Ok(())
            }
        }
    }

    /// Whether the disk can be found and is beyond doubt.
    fn find(&self, v: V) -> Result<(), Code> {
        let volume = &self.0[v];
        if !volume.plugged {
            Err(Code::NotFound)
        } else if volume.held || volume.misled {
            Err(Code::FailedPrecondition)
        } else {
            Ok(())
        }
    }

    fn stage(&mut self, v: V) -> Result<(), Code> {
        self.find(v)?;
        let volume = &mut self.0[v];
        if volume.kind != Kind::Block {
            match (volume.broken, volume.content) {
                (true, _) => return Err(Code::Internal),
                (_, Content::Foreign) => return Err(Code::FailedPrecondition),
                _ => volume.content = Content::Promised,
            }
        }
        volume.staged = Some(Mounted::Alive);
        Ok(())
    }

    fn publish(&mut self, v: V, pod: Pod, ro: bool) -> Result<(), Code> {
        self.find(v)?;
        let volume = &mut self.0[v];
        if volume.kind != Kind::Block && volume.staged != Some(Mounted::Alive) {
            return Err(Code::FailedPrecondition);
        }
        match volume.pods.get(&pod) {
            Some((Mounted::Alive, was)) if *was != ro => Err(Code::AlreadyExists),
            _ => {
                volume.pods.insert(pod, (Mounted::Alive, ro));
                Ok(())
            }
        }
    }

    /// The disk is torn out.
    pub(crate) fn tear_out(&mut self, v: V) {
        let volume = &mut self.0[v];
        volume.plugged = false;
        volume.staged = volume.staged.map(|_| Mounted::Dead);
        for (at, _) in volume.pods.values_mut() {
            *at = Mounted::Dead;
        }
    }

    /// The node comes up again: nothing is mounted, and what was done to its disks is undone.
    pub(crate) fn reboot(&mut self) {
        for volume in &mut self.0 {
            volume.staged = None;
            volume.pods.clear();
            (volume.held, volume.broken, volume.misled) = (false, false, false);
            volume.runs = volume.runs.map(|_| 0);
        }
    }

    /// Pods at which a volume is, and is not.
    pub(crate) fn pods(&self, v: V) -> impl Iterator<Item = (Pod, Option<(Mounted, bool)>)> + '_ {
        (0..PODS).map(move |pod| (pod, self.0[v].pods.get(&pod).copied()))
    }
}
