//! Who asked what, when, and what the answer was.

use std::collections::{BTreeMap, VecDeque};

use csi_core::VolumeId;
use serde::{Deserialize, Serialize};

use super::{Action, Due, Millis};

/// Records kept; the oldest are dropped. A burst of 1,000 volumes makes a tenth of this.
const KEPT: usize = 50_000;

/// One call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallRecord {
    /// When it took effect or was refused, in milliseconds since the world began.
    pub at_ms: Millis,
    /// The action.
    pub action: Action,
    /// What it was about: the ids or names it gave.
    pub subject: String,
    /// `ok`, AWS's error code, `lost` or `hung`.
    pub outcome: String,
    /// Its request id.
    pub request_id: String,
}

/// The counts of one action.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Count {
    /// Calls, answered or not.
    pub calls: u64,
    /// Calls by outcome: `ok`, AWS's error code, `lost`, `hung`.
    pub outcomes: BTreeMap<String, u64>,
}

/// A change of a volume that took its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// `CreateVolume`, `AttachVolume` or `DetachVolume`.
    pub action: Action,
    /// The volume.
    pub volume: String,
    /// When it was asked for, in milliseconds since the world began.
    pub asked_ms: Millis,
    /// From when on Describe calls show that it is done.
    pub shown_ms: Millis,
}

/// The calls since the beginning or the last reset.
#[derive(Debug, Clone, Default)]
pub(crate) struct History {
    pub(crate) records: VecDeque<CallRecord>,
    pub(crate) counts: BTreeMap<Action, Count>,
    pub(crate) changes: VecDeque<Change>,
    asked: BTreeMap<(Action, VolumeId), Millis>,
}

impl History {
    pub(crate) fn add(&mut self, record: CallRecord) {
        let count = self.counts.entry(record.action).or_default();
        count.calls += 1;
        *count.outcomes.entry(record.outcome.clone()).or_default() += 1;
        if self.records.len() == KEPT {
            self.records.pop_front();
        }
        self.records.push_back(record);
    }

    /// A change begins.
    pub(crate) fn asked(&mut self, due: &Due, now: Millis) {
        if let Some((action, volume)) = due.change() {
            self.asked.insert((action, volume.clone()), now);
        }
    }

    /// A change is done, and readers see it from `shown_ms` on.
    pub(crate) fn shown(&mut self, action: Action, volume: VolumeId, shown_ms: Millis) {
        let key = (action, volume);
        if let Some(asked_ms) = self.asked.remove(&key) {
            if self.changes.len() == KEPT {
                self.changes.pop_front();
            }
            let volume = key.1.to_string();
            self.changes.push_back(Change { action, volume, asked_ms, shown_ms });
        }
    }
}
