//! The plain data that the driver is compared with: what was asked, what was promised, what is
//! still open. It knows nothing of tokens, device names, polls or lag.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

use crate::ask::{Request, Spec, Wish};

/// Calls that concern one thing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Activity {
    begun: u64,
    open: BTreeSet<u64>,
}

/// A moment in the life of an [`Activity`].
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Mark {
    begun: u64,
    busy: bool,
}

impl Activity {
    fn begin(&mut self, call: u64) {
        self.begun += 1;
        self.open.insert(call);
    }

    pub(crate) fn mark(&self) -> Mark {
        Mark { begun: self.begun, busy: !self.open.is_empty() }
    }

    /// Whether nothing was open at the mark and nothing began since.
    pub(crate) fn is_quiet_since(&self, mark: Mark) -> bool {
        !mark.busy && self.begun == mark.begun
    }

    /// As [`Self::is_quiet_since`], where the asking call itself began at the mark.
    pub(crate) fn is_quiet_but_for_one_since(&self, mark: Mark) -> bool {
        !mark.busy && self.begun == mark.begun + 1
    }

    pub(crate) fn count(&self) -> u64 {
        self.begun
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.begun > 0
    }

    pub(crate) fn is_open(&self) -> bool {
        !self.open.is_empty()
    }
}

/// A CSI name of volumes or snapshots.
#[derive(Debug, Clone)]
pub(crate) struct Name<S> {
    pub(crate) creations: Activity,
    /// Ids that the driver gave for it.
    pub(crate) told: BTreeSet<String>,
    /// What was asked for, and when that was over.
    pub(crate) asked: BTreeMap<S, Option<Instant>>,
    /// What the CO repeats.
    pub(crate) wanted: Option<S>,
}

impl<S> Default for Name<S> {
    fn default() -> Self {
        Self {
            creations: Activity::default(),
            told: BTreeSet::new(),
            asked: BTreeMap::new(),
            wanted: None,
        }
    }
}

/// A volume or snapshot that the driver told of.
#[derive(Debug, Clone, Default)]
pub(crate) struct Thing {
    pub(crate) deletions: Activity,
    /// Promised to stay until its deletion is asked for.
    pub(crate) promised: bool,
    /// When its deletion was confirmed, and by which process.
    pub(crate) dead: Option<(Instant, u64)>,
    /// The least size in bytes that was promised.
    pub(crate) bytes: i64,
    /// Expansions and modifications.
    pub(crate) changes: Activity,
    /// Whether a modification was ever asked for.
    pub(crate) modified: bool,
    /// The performance that was promised.
    pub(crate) wish: Option<Wish>,
    /// Whether the tag was promised to be there, or not to be.
    pub(crate) tagged: Option<bool>,
}

/// A volume at a node.
#[derive(Debug, Clone, Default)]
pub(crate) struct Place {
    pub(crate) publications: Activity,
    pub(crate) removals: Activity,
    /// Whether an attachment may be there: one was asked for, and its removal is not confirmed.
    pub(crate) may: bool,
    /// Whether somebody was told that an attachment is there, and its removal is not confirmed.
    pub(crate) held: bool,
    /// The device name of an attachment that was promised.
    pub(crate) promised: Option<String>,
}

/// A call that was begun and whose work is not known to have ended.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) request: Request,
    /// Number of the process that works on it.
    pub(crate) process: u64,
    pub(crate) began: Instant,
    /// Whether the caller does not wait any more.
    pub(crate) abandoned: bool,
    pub(crate) marks: Marks,
}

/// What was so when the call began.
#[derive(Debug, Clone, Default)]
pub(crate) struct Marks {
    /// Of publications, if it removes; of removals, if it publishes.
    pub(crate) other: BTreeMap<(String, String), Mark>,
    /// Of changes.
    pub(crate) changes: Mark,
    /// Volumes and snapshots that were promised.
    pub(crate) promised: BTreeSet<String>,
    /// Attachments that were promised.
    pub(crate) published: BTreeMap<(String, String), u64>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Model {
    pub(crate) volume_names: BTreeMap<String, Name<Spec>>,
    pub(crate) volumes: BTreeMap<String, Thing>,
    pub(crate) places: BTreeMap<(String, String), Place>,
    pub(crate) snapshot_names: BTreeMap<String, Name<String>>,
    pub(crate) snapshots: BTreeMap<String, Thing>,
    /// Calls whose end the caller does not know, to be repeated.
    pub(crate) unfinished: BTreeSet<Request>,
    pub(crate) calls: BTreeMap<u64, Call>,
    last: u64,
}

impl Model {
    /// A caller asks.
    pub(crate) fn begin(&mut self, request: &Request, process: u64) -> u64 {
        self.last += 1;
        let marks = self.marks(request);
        let call = Call {
            request: request.clone(),
            process,
            began: Instant::now(),
            abandoned: false,
            marks,
        };
        self.calls.insert(self.last, call);
        match request {
            Request::Create { name, spec } => {
                let name = self.volume_names.entry(name.clone()).or_default();
                name.asked.insert(spec.clone(), None);
            }
            Request::Snapshot { name, volume, .. } => {
                let name = self.snapshot_names.entry(name.clone()).or_default();
                name.asked.insert(volume.clone(), None);
            }
            Request::Publish { volume, node, .. } => {
                self.places.entry((volume.clone(), node.clone())).or_default().may = true;
            }
            Request::Unpublish { .. } => {
                for place in self.places_of(request) {
                    self.places.entry(place).or_default().promised = None;
                }
            }
            Request::Delete { volume } => {
                self.volumes.entry(volume.clone()).or_default().promised = false;
            }
            Request::DeleteSnapshot { snapshot } => {
                self.snapshots.entry(snapshot.clone()).or_default().promised = false;
            }
            Request::Modify { volume, .. } => {
                let volume = self.volumes.entry(volume.clone()).or_default();
                volume.wish = None;
                volume.modified = true;
            }
            Request::Tag { volume, .. } => {
                self.volumes.entry(volume.clone()).or_default().tagged = None;
            }
            _ => {}
        }
        let call = self.last;
        for activity in self.activities(request) {
            activity.begin(call);
        }
        call
    }

    fn marks(&self, request: &Request) -> Marks {
        let mut marks = Marks::default();
        for place in self.places_of(request) {
            let known = self.places.get(&place).cloned().unwrap_or_default();
            let other = match request {
                Request::Publish { .. } => known.removals.mark(),
                _ => known.publications.mark(),
            };
            marks.other.insert(place, other);
        }
        if let Some(volume) = request.changed() {
            marks.changes =
                self.volumes.get(volume).map(|volume| volume.changes.mark()).unwrap_or_default();
        }
        let things = self.volumes.iter().chain(&self.snapshots);
        marks.promised =
            things.filter(|(_, thing)| thing.promised).map(|(id, _)| id.clone()).collect();
        let published = self.places.iter().filter(|(_, place)| place.promised.is_some());
        marks.published =
            published.map(|(place, known)| (place.clone(), known.removals.mark().begun)).collect();
        marks
    }

    /// The places that a publication or removal is about.
    pub(crate) fn places_of(&self, request: &Request) -> Vec<(String, String)> {
        match request {
            Request::Publish { volume, node, .. }
            | Request::Unpublish { volume, node: Some(node) } => {
                vec![(volume.clone(), node.clone())]
            }
            Request::Unpublish { volume, node: None } => {
                self.places.keys().filter(|(here, _)| here == volume).cloned().collect()
            }
            _ => Vec::new(),
        }
    }

    /// What a request takes part in.
    fn activities(&mut self, request: &Request) -> Vec<&mut Activity> {
        let places = self.places_of(request);
        match request {
            Request::Create { name, .. } => {
                vec![&mut self.volume_names.entry(name.clone()).or_default().creations]
            }
            Request::Snapshot { name, .. } => {
                vec![&mut self.snapshot_names.entry(name.clone()).or_default().creations]
            }
            Request::Delete { volume } => {
                vec![&mut self.volumes.entry(volume.clone()).or_default().deletions]
            }
            Request::DeleteSnapshot { snapshot } => {
                vec![&mut self.snapshots.entry(snapshot.clone()).or_default().deletions]
            }
            Request::Expand { volume, .. }
            | Request::Modify { volume, .. }
            | Request::Tag { volume, .. } => {
                vec![&mut self.volumes.entry(volume.clone()).or_default().changes]
            }
            Request::Publish { .. } => {
                let here = self.places.iter_mut().filter(|(place, _)| places.contains(place));
                here.map(|(_, place)| &mut place.publications).collect()
            }
            Request::Unpublish { .. } => {
                let here = self.places.iter_mut().filter(|(place, _)| places.contains(place));
                here.map(|(_, place)| &mut place.removals).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The caller does not learn the end: it gave up, or the process was killed.
    pub(crate) fn abandon(&mut self, call: u64) {
        if let Some(call) = self.calls.get_mut(&call) {
            call.abandoned = true;
            if call.request.changes() {
                self.unfinished.insert(call.request.clone());
            }
        }
    }

    /// The work of a call has ended.
    pub(crate) fn close(&mut self, id: u64) -> Option<Call> {
        let call = self.calls.remove(&id)?;
        for activity in self.all_activities(&call.request) {
            activity.open.remove(&id);
        }
        Some(call)
    }

    /// As [`Self::activities`], but of all places: some may have become known since.
    fn all_activities(&mut self, request: &Request) -> Vec<&mut Activity> {
        match request {
            Request::Unpublish { .. } => {
                self.places.values_mut().map(|place| &mut place.removals).collect()
            }
            request => self.activities(request),
        }
    }

    /// The abandoned calls of a process have ended: it is idle, or long dead.
    pub(crate) fn is_idle(&mut self, process: u64) {
        let ended: Vec<u64> = self
            .calls
            .iter()
            .filter(|(_, call)| call.abandoned && call.process == process)
            .map(|(id, _)| *id)
            .collect();
        for call in ended {
            self.close(call);
        }
    }

    /// A process took up a call, so the earlier ones with the same claim have ended.
    pub(crate) fn has_claimed(&mut self, later: &Call) {
        let Some(claim) = later.request.claim() else { return };
        let ended: Vec<u64> = self
            .calls
            .iter()
            .filter(|(_, call)| {
                call.abandoned
                    && call.process == later.process
                    && call.began < later.began
                    && call.request.claim().as_ref() == Some(&claim)
            })
            .map(|(id, _)| *id)
            .collect();
        for call in ended {
            self.close(call);
        }
    }

    /// Whether nobody waits for, works on or knows of a volume of that name.
    pub(crate) fn is_over(&self, volume_name: &str) -> bool {
        let Some(name) = self.volume_names.get(volume_name) else { return true };
        let is_dead = |id| self.volumes.get(id).is_some_and(|volume| volume.dead.is_some());
        let waits = |request: &Request| matches!(request, Request::Create { name, .. } if name == volume_name);
        !name.creations.is_open()
            && name.told.iter().all(is_dead)
            && !self.unfinished.iter().any(waits)
    }

    /// The same of a snapshot.
    pub(crate) fn is_snapshot_over(&self, snapshot_name: &str) -> bool {
        let Some(name) = self.snapshot_names.get(snapshot_name) else { return true };
        let is_dead = |id| self.snapshots.get(id).is_some_and(|snapshot| snapshot.dead.is_some());
        let waits = |request: &Request| matches!(request, Request::Snapshot { name, .. } if name == snapshot_name);
        !name.creations.is_open()
            && name.told.iter().all(is_dead)
            && !self.unfinished.iter().any(waits)
    }

    /// The id that stands for a volume's name, if one is known and not deleted.
    pub(crate) fn volume_of(&self, name: &str) -> Option<String> {
        let told = &self.volume_names.get(name)?.told;
        let lives = |id: &&String| self.volumes.get(*id).is_some_and(|known| known.dead.is_none());
        told.iter().find(lives).cloned()
    }

    /// The same of a snapshot.
    pub(crate) fn snapshot_of(&self, name: &str) -> Option<String> {
        let told = &self.snapshot_names.get(name)?.told;
        let lives =
            |id: &&String| self.snapshots.get(*id).is_some_and(|known| known.dead.is_none());
        told.iter().find(lives).cloned()
    }
}
