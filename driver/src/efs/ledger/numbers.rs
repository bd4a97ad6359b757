//! Numbers of a file system: which are taken, reserved or resting. Time is an argument.

use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;
use std::time::Duration;

use csi_core::AccessPointId;
use csi_core::efs::removal::Neighbour;
use csi_core::efs::{AccessPoint, LifeCycleState};
use csi_core::facts::efs::READ_LAG_BOUND;
use tokio::time::Instant;

use super::super::spec::BORN_TAG;
use super::MAX_AGE;

/// How long a freed number is not chosen: pods may still have the old volume mounted, whose
/// directory stays and belongs to the number.
pub(super) const REST: Duration = Duration::from_mins(5);

/// How long a number rests of which it is unknown whether an access point has it: after that, every
/// listing that a choice may rely on shows the access point.
pub(super) const DOUBT: Duration =
    Duration::from_secs(READ_LAG_BOUND.as_secs() + MAX_AGE.as_secs());

/// What a number is chosen for, and so among whose numbers it must be unique.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Pool {
    /// The group, and the user if it is not fixed.
    Gids,
    /// The user, with a fixed group.
    Uids,
}

/// No number is free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Exhausted {
    /// Numbers that access points have.
    pub(in super::super) taken: usize,
    /// Numbers that calls under way hold.
    pub(in super::super) reserved: usize,
    /// Freed numbers that rest.
    pub(in super::super) resting: usize,
    /// When the first of them may be chosen.
    pub(in super::super) next: Option<Duration>,
}

/// What the listings say about the number of an access point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) enum Verdict {
    /// No other has it.
    Own,
    /// The access point is not shown yet.
    Unseen,
    /// An older access point has it too.
    Yield(AccessPointId),
    /// A younger access point has it too, and should yield.
    Wait(AccessPointId),
}

/// An access point, as far as numbers matter.
#[derive(Debug, Clone)]
struct Known {
    user: Option<(u32, u32)>,
    token: Box<str>,
    root: Box<str>,
    /// When its making began, if its maker said so.
    born_ms: u64,
    /// Whether it goes away.
    leaving: bool,
    /// Whether the last listing shows it.
    shown: bool,
    /// When this process learned of it otherwise than by a listing.
    learned: Option<Instant>,
}

impl Known {
    fn new(found: &AccessPoint, learned: Option<Instant>) -> Self {
        let born = found.tags.get(BORN_TAG).and_then(|text| text.parse().ok());
        Self {
            user: found.posix_user.as_ref().map(|user| (user.uid, user.gid)),
            token: found.client_token.as_str().into(),
            root: found.root.path.as_str().into(),
            // Whoever does not say so is older than all who do.
            born_ms: born.unwrap_or(0),
            leaving: is_leaving(found.state),
            shown: learned.is_none(),
            learned,
        }
    }

    fn number(&self, pool: Pool) -> Option<u32> {
        self.user.map(|(uid, gid)| match pool {
            Pool::Gids => gid,
            Pool::Uids => uid,
        })
    }
}

fn is_leaving(state: LifeCycleState) -> bool {
    matches!(state, LifeCycleState::Deleting | LifeCycleState::Deleted)
}

/// The numbers of a file system.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    known: HashMap<AccessPointId, Known>,
    /// How many access points have each group.
    gids: HashMap<u32, u32>,
    reserved: HashSet<u32>,
    /// Until when a number rests.
    resting: HashMap<u32, Instant>,
    /// Resting numbers of calls whose effect is unknown, by token.
    doubtful: HashMap<String, u32>,
    /// What this process deleted lately.
    deleted: HashMap<AccessPointId, Instant>,
    unproved: HashSet<AccessPointId>,
}

impl Numbers {
    /// Takes in a listing that began at `began`.
    pub(super) fn listed(&mut self, all: Vec<AccessPoint>, began: Instant, now: Instant) {
        self.forget_deletions(now);
        let mut known: HashMap<AccessPointId, Known> = HashMap::with_capacity(all.len());
        for found in all {
            if found.state != LifeCycleState::Deleted && !self.deleted.contains_key(&found.id) {
                known.insert(found.id.clone(), Known::new(&found, None));
            }
        }
        for (id, mut old) in self.known.drain() {
            if known.contains_key(&id) {
                continue;
            }
            // Too young to be shown, or gone.
            if old.learned.is_some_and(|learned| learned + READ_LAG_BOUND > began) {
                old.shown = false;
                known.insert(id, old);
            } else {
                self.unproved.remove(&id);
                if let Some((uid, gid)) = old.user {
                    self.resting.extend([(uid, now + REST), (gid, now + REST)]);
                }
            }
        }
        self.known = known;
        self.gids.clear();
        for gid in self.known.values().filter_map(|known| known.number(Pool::Gids)) {
            *self.gids.entry(gid).or_default() += 1;
        }
    }

    pub(super) fn reserve(
        &mut self,
        pool: Pool,
        range: &RangeInclusive<u32>,
        (seed, token): (u64, &str),
        now: Instant,
    ) -> Result<u32, Exhausted> {
        self.resting.retain(|_number, until| *until > now);
        self.doubtful.retain(|_token, number| self.resting.contains_key(number));
        if let Some(number) = self.doubtful.remove(token).filter(|number| range.contains(number)) {
            self.resting.remove(&number);
            // Another's access point may have it by now.
            if !self.gids.contains_key(&number) && self.reserved.insert(number) {
                return Ok(number);
            }
        }
        let uids: HashSet<u32> = match pool {
            Pool::Gids => HashSet::new(),
            Pool::Uids => self.known.values().filter_map(|known| known.number(pool)).collect(),
        };
        let is_taken = |number: &u32| self.gids.contains_key(number) || uids.contains(number);
        let is_busy = |number: &u32| {
            is_taken(number) || self.reserved.contains(number) || self.resting.contains_key(number)
        };
        let (first, last) = (*range.start(), *range.end());
        let count = u64::from(last - first) + 1;
        // At most one number more than there are busy ones is looked at.
        let offset = u32::try_from(seed % count).unwrap_or(0);
        let middle = first.saturating_add(offset);
        let free = (middle..=last).chain(first..middle).find(|number| !is_busy(number));
        let Some(number) = free else {
            let within = |number: &&u32| range.contains(number);
            let rest = self.resting.iter().filter(|(number, _)| range.contains(number));
            return Err(Exhausted {
                taken: range.clone().filter(is_taken).count(),
                reserved: self.reserved.iter().filter(within).count(),
                resting: rest.clone().count(),
                next: rest.map(|(_, until)| *until - now).min(),
            });
        };
        self.reserved.insert(number);
        Ok(number)
    }

    pub(super) fn release(&mut self, number: u32) {
        self.reserved.remove(&number);
    }

    /// Whether an access point has the number is unknown; `token` made it, if any did.
    pub(super) fn doubt(&mut self, number: u32, token: &str, now: Instant) {
        self.reserved.remove(&number);
        self.resting.insert(number, now + DOUBT);
        self.doubtful.insert(token.to_owned(), number);
    }

    pub(super) fn by_token(&self, token: &str) -> Option<AccessPointId> {
        let alive = self.known.iter().filter(|(_, known)| !known.leaving);
        let mut of_token = alive.filter(|(_, known)| &*known.token == token);
        of_token.next().map(|(id, _)| id.clone())
    }

    /// Every access point that is known, for its files.
    pub(super) fn neighbours(&self) -> impl Iterator<Item = Neighbour<'_>> {
        self.known.iter().map(|(id, known)| Neighbour { id, path: &known.root })
    }

    pub(super) fn ids(&self) -> HashSet<AccessPointId> {
        self.known.keys().cloned().collect()
    }

    pub(super) fn made(&mut self, access_point: &AccessPoint, now: Instant) {
        self.unproved.insert(access_point.id.clone());
        self.found(access_point, now);
    }

    pub(super) fn found(&mut self, access_point: &AccessPoint, now: Instant) {
        if self.known.contains_key(&access_point.id) {
            return;
        }
        let known = Known::new(access_point, Some(now));
        if let Some(gid) = known.number(Pool::Gids) {
            *self.gids.entry(gid).or_default() += 1;
        }
        self.known.insert(access_point.id.clone(), known);
    }

    pub(super) fn deleted(&mut self, id: &AccessPointId, now: Instant) {
        self.forget_deletions(now);
        self.deleted.insert(id.clone(), now);
        self.unproved.remove(id);
        let Some(known) = self.known.remove(id) else { return };
        let Some((uid, gid)) = known.user else { return };
        if let Some(count) = self.gids.get_mut(&gid) {
            *count -= 1;
            if *count == 0 {
                self.gids.remove(&gid);
            }
        }
        self.resting.extend([(uid, now + REST), (gid, now + REST)]);
    }

    fn forget_deletions(&mut self, now: Instant) {
        self.deleted.retain(|_id, at| now.saturating_duration_since(*at) < READ_LAG_BOUND);
    }

    pub(super) fn is_deleted(&self, id: &AccessPointId, now: Instant) -> bool {
        let at = self.deleted.get(id);
        at.is_some_and(|at| now.saturating_duration_since(*at) < READ_LAG_BOUND)
    }

    pub(super) fn is_unproved(&self, id: &AccessPointId) -> bool {
        self.unproved.contains(id)
    }

    pub(super) fn verdict(&mut self, id: &AccessPointId, pool: Pool) -> Verdict {
        let Some(own) = self.known.get(id).filter(|own| own.shown) else { return Verdict::Unseen };
        let number = own.number(pool);
        let age = (own.born_ms, id);
        let others = self.known.iter().filter(|(other, known)| {
            *other != id && known.shown && !known.leaving && known.number(pool) == number
        });
        let oldest = others.map(|(id, known)| (known.born_ms, id)).min();
        match oldest {
            None => {
                self.unproved.remove(id);
                Verdict::Own
            }
            Some(other) if other < age => Verdict::Yield(other.1.clone()),
            Some(other) => Verdict::Wait(other.1.clone()),
        }
    }
}

#[cfg(test)]
mod tests;
