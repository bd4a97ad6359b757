//! Changes of one volume that arrive together become one modification, of which EC2 grants few in
//! a day: the resizer's two halves ask for size and properties in two calls.
//!
//! The first call opens a group and, holding the volume's claim, leads it; calls that arrive while
//! the group is open join it. Then [`merge`] decides whose wishes go into the modification.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use csi_core::ebs::Volume;
use csi_core::parameters::MutableParameters;
use csi_core::{CapacityRange, VolumeId};
use tokio::sync::oneshot;

use super::ModifyError;
use super::target::{Change, decide};

/// What a call wants of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wish {
    /// A size within the range.
    Size(CapacityRange),
    /// Properties and tags.
    Properties(Box<MutableParameters>),
}

impl Wish {
    /// Whether it takes a modification; tags do not.
    pub(super) fn modifies(&self, volume: &Volume) -> bool {
        own_change(volume, self).is_ok_and(|own| !matches!(decide(volume, &own), Ok(None)))
    }
}

/// How a call is answered: with the volume as it is then.
pub(super) type Outcome = Result<Volume, ModifyError>;

/// A call in a group.
#[derive(Debug)]
pub(super) struct Member {
    /// What it wants.
    pub(super) wish: Wish,
    answer: oneshot::Sender<Outcome>,
}

impl Member {
    /// Answers the call, if anybody still waits for it.
    pub(super) fn answer(self, outcome: Outcome) {
        // The caller went away; the work is done all the same.
        let _abandoned = self.answer.send(outcome);
    }
}

/// The groups that are open.
#[derive(Debug, Default)]
pub(in super::super) struct Groups {
    open: Mutex<HashMap<VolumeId, Vec<Member>>>,
}

impl Groups {
    /// Adds a call to the volume's group; the flag says whether it opened it and so has to lead it.
    pub(super) fn join(&self, id: &VolumeId, wish: Wish) -> (oneshot::Receiver<Outcome>, bool) {
        let (answer, receiver) = oneshot::channel();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let leads = !open.contains_key(id);
        open.entry(id.clone()).or_default().push(Member { wish, answer });
        drop(open);
        (receiver, leads)
    }

    /// Whether the leader is alone in its group, with a wish for which `fits` holds.
    pub(super) fn is_single(&self, id: &VolumeId, fits: impl FnOnce(&Wish) -> bool) -> bool {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        matches!(open.get(id).map(Vec::as_slice), Some([only]) if fits(&only.wish))
    }

    /// Closes a group: its members, in the order of their arrival.
    pub(super) fn close(&self, id: &VolumeId) -> Vec<Member> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.remove(id).unwrap_or_default()
    }
}

/// Closes the volume's group when its leader ends, however it ends, so that the next call opens a
/// new one. Calls that come while the leader works are told that a change is under way.
#[derive(Debug)]
pub(super) struct Leading<'a> {
    /// The groups.
    pub(super) groups: &'a Groups,
    /// The volume.
    pub(super) id: &'a VolumeId,
}

impl Drop for Leading<'_> {
    fn drop(&mut self) {
        drop(self.groups.close(self.id));
    }
}

/// Puts the wishes of all members into one change. Who wishes what no volume can have is answered
/// at once, and so is who contradicts an earlier one: that call's next try comes after the change.
pub(super) fn merge(id: &VolumeId, volume: &Volume, members: Vec<Member>) -> (Change, Vec<Member>) {
    let mut merged = Change::default();
    let mut agreed = Vec::new();
    for member in members {
        let own = match own_change(volume, &member.wish) {
            Ok(own) => own,
            Err(error) => {
                member.answer(Err(error));
                continue;
            }
        };
        match merged.and(&own).filter(|both| decide(volume, both).is_ok()) {
            Some(both) => {
                merged = both;
                agreed.push(member);
            }
            None => member.answer(Err(ModifyError::Contradiction { volume: id.clone() })),
        }
    }
    (merged, agreed)
}

/// The change that a wish amounts to, if the volume can be so.
pub(super) fn own_change(volume: &Volume, wish: &Wish) -> Result<Change, ModifyError> {
    let own = match wish {
        Wish::Size(range) => {
            let size = range.choose(volume.size)?;
            if !range.admits(size.max(volume.size)) {
                let (volume, has) = (volume.id.clone(), volume.size);
                return Err(ModifyError::Shrink { volume, has, wanted: size });
            }
            Change::to_size(size)
        }
        Wish::Properties(parameters) => Change::of(parameters),
    };
    decide(volume, &own)?;
    Ok(own)
}
