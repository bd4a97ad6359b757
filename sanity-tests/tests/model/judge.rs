//! Judges answers: is it allowed, and what does it promise?

use std::time::Duration;

use csi_core::ErrorKind;
use csi_core::facts::READ_LAG_BOUND;
use tokio::time::Instant;
use tonic::{Code, Status};

use crate::ask::{Answer, GIB, Request, Source, Spec};
use crate::codes::is_final;
use crate::data::{Call, Model};
use crate::truth::Truth;

type Verdict = Result<(), String>;

impl Model {
    /// A caller was answered.
    pub(crate) fn end(
        &mut self,
        id: u64,
        result: Result<Answer, Status>,
        seen: &[ErrorKind],
        truth: &Truth,
    ) -> Verdict {
        let Some(call) = self.close(id) else { return Err(format!("call {id} ended twice")) };
        let verdict = self.judge(&call, result, seen, truth);
        verdict.map_err(|why| format!("{:?} at process {}: {why}", call.request, call.process))
    }

    fn judge(
        &mut self,
        call: &Call,
        result: Result<Answer, Status>,
        seen: &[ErrorKind],
        truth: &Truth,
    ) -> Verdict {
        let took = call.began.elapsed();
        if took > Duration::from_secs(call.request.bound_secs()) {
            return Err(format!("answered after {} s only", took.as_secs()));
        }
        let is_claimed = !result.as_ref().is_err_and(|status| {
            status.code() == Code::Aborted && status.message().contains("in progress")
        });
        if is_claimed {
            self.has_claimed(call);
        }
        match result {
            Ok(answer) => {
                self.is_done(&call.request);
                self.good(call, answer, truth)
            }
            Err(status) => {
                let code = status.code();
                if !call.request.may_answer(code, seen) && !self.was_overtaken(call, code) {
                    return Err(format!("may not answer {status:?}; EC2 answered {seen:?}"));
                }
                if is_final(&call.request, code) {
                    self.is_done(&call.request);
                    self.refused(call, &status)
                } else {
                    if call.request.changes() {
                        self.unfinished.insert(call.request.clone());
                    }
                    Ok(())
                }
            }
        }
    }

    /// A creation finds its volume gone if somebody deletes it meanwhile.
    fn was_overtaken(&self, call: &Call, code: Code) -> bool {
        let Request::Create { name, .. } = &call.request else { return false };
        let told = self.volume_names.get(name).into_iter().flat_map(|known| &known.told);
        let mut known = told.filter_map(|id| self.volumes.get(id));
        code == Code::FailedPrecondition && known.any(|volume| volume.deletions.has_begun())
    }

    /// Whoever waited for the end of this request has it, unless a call that nobody waits for is
    /// still at work on the same thing.
    fn is_done(&mut self, request: &Request) {
        let works = |call: &Call| match (&call.request, request) {
            (Request::Create { name: a, .. }, Request::Create { name: b, .. })
            | (Request::Snapshot { name: a, .. }, Request::Snapshot { name: b, .. }) => a == b,
            (a, b) => a == b,
        };
        if !self.calls.values().any(works) {
            self.unfinished.remove(request);
        }
    }

    fn good(&mut self, call: &Call, answer: Answer, truth: &Truth) -> Verdict {
        match (&call.request, answer) {
            (Request::Create { name, spec }, Answer::Volume { id, bytes, zone }) => {
                self.created(call, (name, spec), &id, (bytes, &zone), truth)
            }
            (Request::Snapshot { name, volume, .. }, Answer::Snapshot { id, volume: of }) => {
                if of != *volume {
                    return Err(format!("{id} is of {of}"));
                }
                self.snapshot_created(name, id)
            }
            (Request::Delete { volume }, _) => {
                let dead = (Instant::now(), call.process);
                let known = self.volumes.entry(volume.clone()).or_default();
                known.dead.get_or_insert(dead);
                let concerns = |request: &Request| request.volume() == Some(volume);
                self.unfinished.retain(|request| !concerns(request));
                Ok(())
            }
            (Request::DeleteSnapshot { snapshot }, _) => {
                let dead = (Instant::now(), call.process);
                self.snapshots.entry(snapshot.clone()).or_default().dead.get_or_insert(dead);
                Ok(())
            }
            (Request::Publish { volume, node, .. }, Answer::Published { device, bytes }) => {
                self.published(call, &(volume.clone(), node.clone()), device, bytes, truth)
            }
            (Request::Unpublish { .. }, _) => {
                self.unpublished(call);
                Ok(())
            }
            (Request::Expand { volume, gib }, Answer::Size(bytes)) => {
                if bytes < gib * GIB {
                    return Err(format!("expanded to {bytes} bytes only"));
                }
                let known = self.volumes.entry(volume.clone()).or_default();
                known.bytes = known.bytes.max(bytes);
                Ok(())
            }
            (Request::Modify { volume, wish }, _) => {
                let known = self.volumes.entry(volume.clone()).or_default();
                if known.changes.is_quiet_but_for_one_since(call.marks.changes) {
                    known.wish = Some(*wish);
                }
                Ok(())
            }
            (Request::Tag { volume, add }, _) => {
                let known = self.volumes.entry(volume.clone()).or_default();
                if known.changes.is_quiet_but_for_one_since(call.marks.changes) {
                    known.tagged = Some(*add);
                }
                Ok(())
            }
            (_, answer) => self.looked(call, &answer),
        }
    }

    fn created(
        &mut self,
        call: &Call,
        (name, spec): (&String, &Spec),
        id: &String,
        (bytes, zone): (i64, &str),
        truth: &Truth,
    ) -> Verdict {
        if bytes < spec.gib() * GIB {
            return Err(format!("{id} has {bytes} bytes"));
        }
        if !spec.kind.zones().is_empty() && !spec.kind.zones().contains(&zone) {
            return Err(format!("{id} lies in {zone}"));
        }
        let known = self.volume_names.entry(name.clone()).or_default();
        known.told.insert(id.clone());
        for other in known.told.iter().filter(|other| *other != id) {
            if self.volumes.get(other).is_some_and(|other| other.promised) {
                return Err(format!("answered {id}, and {other} before"));
            }
        }
        let known = self.volumes.entry(id.clone()).or_default();
        // What another process deleted, reads may show for a while.
        let stale = |(at, by): (Instant, u64)| {
            at + READ_LAG_BOUND < call.began || by == call.process && at < call.began
        };
        if known.dead.is_some_and(stale) {
            return Err(format!("answered {id}, which was deleted before the call began"));
        }
        if known.deletions.has_begun() {
            return Ok(());
        }
        known.promised = true;
        known.bytes = known.bytes.max(bytes);
        let Some(found) = truth.volumes.get(id) else {
            return Err(format!("answered {id}, which does not exist"));
        };
        let made_from = match (&found.source_volume, &found.snapshot) {
            (Some(volume), _) => Some(Source::Volume(volume.to_string())),
            (None, Some(snapshot)) => Some(Source::Snapshot(snapshot.to_string())),
            (None, None) => None,
        };
        if made_from != spec.source {
            return Err(format!("answered {id}, made from {made_from:?}"));
        }
        Ok(())
    }

    fn snapshot_created(&mut self, name: &str, id: String) -> Verdict {
        let known = self.snapshot_names.entry(name.to_owned()).or_default();
        known.told.insert(id.clone());
        for other in known.told.iter().filter(|other| **other != id) {
            if self.snapshots.get(other).is_some_and(|other| other.promised) {
                return Err(format!("answered {id}, and {other} before"));
            }
        }
        let known = self.snapshots.entry(id).or_default();
        known.promised = !known.deletions.has_begun();
        Ok(())
    }

    fn published(
        &mut self,
        call: &Call,
        place: &(String, String),
        device: String,
        bytes: i64,
        truth: &Truth,
    ) -> Verdict {
        let known = self.places.entry(place.clone()).or_default();
        known.held = true;
        let mark = call.marks.other.get(place).copied().unwrap_or_default();
        if !known.removals.is_quiet_since(mark) {
            return Ok(());
        }
        let size = truth.volumes.get(&place.0).map_or(0, |volume| volume.size.bytes().to_csi());
        if bytes <= 0 || bytes > size {
            return Err(format!("tells {bytes} bytes of a volume of {size}"));
        }
        known.promised = Some(device);
        Ok(())
    }

    fn unpublished(&mut self, call: &Call) {
        for place in self.places_of(&call.request) {
            let Some(mark) = call.marks.other.get(&place) else { continue };
            let known = self.places.entry(place.clone()).or_default();
            if known.publications.is_quiet_since(*mark) {
                known.may = false;
                known.held = false;
                self.unfinished.retain(|request| {
                    !matches!(request, Request::Publish { volume, node, .. }
                        if *volume == place.0 && *node == place.1)
                });
            }
        }
    }

    fn looked(&self, call: &Call, answer: &Answer) -> Verdict {
        let still = |id: &&String| {
            let known = self.volumes.get(*id).or_else(|| self.snapshots.get(*id));
            known.is_some_and(|known| known.promised)
        };
        let promised = call.marks.promised.iter().filter(still);
        match answer {
            Answer::Volumes(shown) => {
                let is_list = matches!(call.request, Request::List { .. });
                for id in promised.filter(|id| id.starts_with("vol-")) {
                    if is_list && !shown.contains_key(id) {
                        return Err(format!("the promised volume {id} is not listed"));
                    }
                }
                self.check_nodes(call, shown)?;
                shown.keys().try_for_each(|id| check_dead(id, self.volumes.get(id), call))
            }
            Answer::Snapshots(shown) => {
                let is_list = matches!(call.request, Request::ListSnapshots { .. });
                for id in promised.filter(|id| id.starts_with("snap-")) {
                    if is_list && !shown.contains(id) {
                        return Err(format!("the promised snapshot {id} is not listed"));
                    }
                }
                shown.iter().try_for_each(|id| check_dead(id, self.snapshots.get(id), call))
            }
            _ => Ok(()),
        }
    }

    fn check_nodes(
        &self,
        call: &Call,
        shown: &std::collections::BTreeMap<String, std::collections::BTreeSet<String>>,
    ) -> Verdict {
        for (place, removals) in &call.marks.published {
            let known = self.places.get(place);
            let stays = known.is_some_and(|known| {
                known.promised.is_some() && known.removals.count() == *removals
            });
            let missing = shown.get(&place.0).is_some_and(|nodes| !nodes.contains(&place.1));
            if stays && missing {
                return Err(format!("the promised attachment {place:?} is not shown"));
            }
        }
        Ok(())
    }

    /// The code is final: the CO forgets the request.
    fn refused(&mut self, call: &Call, status: &Status) -> Verdict {
        let stays = |id: &String| {
            let known = self.volumes.get(id).or_else(|| self.snapshots.get(id));
            known.is_some_and(|known| known.promised) && call.marks.promised.contains(id)
        };
        if status.code() == Code::NotFound
            && let Some(id) = call.request.needs().into_iter().find(|id| stays(id))
        {
            return Err(format!("says that the promised {id} does not exist: {status:?}"));
        }
        match &call.request {
            Request::Create { name, spec } if status.code() == Code::AlreadyExists => {
                let modified = self
                    .volume_names
                    .get(name)
                    .into_iter()
                    .flat_map(|known| &known.told)
                    .any(|id| self.volumes.get(id).is_some_and(|volume| volume.modified));
                let asked = self.volume_names.get(name).is_some_and(|known| {
                    let recent = |since: &Option<Instant>| {
                        since.is_none_or(|since| call.began < since + READ_LAG_BOUND)
                    };
                    known.asked.iter().any(|(other, over)| other != spec && recent(over))
                });
                if asked || modified { Ok(()) } else { Err(format!("nobody asked: {status:?}")) }
            }
            Request::Snapshot { name, volume, .. } if status.code() == Code::AlreadyExists => {
                let asked = self.snapshot_names.get(name).is_some_and(|known| {
                    let recent = |since: &Option<Instant>| {
                        since.is_none_or(|since| call.began < since + READ_LAG_BOUND)
                    };
                    known.asked.iter().any(|(other, over)| other != volume && recent(over))
                });
                if asked { Ok(()) } else { Err(format!("nobody asked: {status:?}")) }
            }
            Request::Publish { volume, node, .. } => {
                let place = self.places.entry((volume.clone(), node.clone())).or_default();
                if !place.publications.is_open() && !place.held {
                    place.may = false;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// What was deleted must not be shown when reads have caught up, and never by who deleted it.
fn check_dead(id: &str, known: Option<&crate::data::Thing>, call: &Call) -> Verdict {
    let Some((at, by)) = known.and_then(|known| known.dead) else { return Ok(()) };
    if at + READ_LAG_BOUND < call.began || by == call.process && at < call.began {
        return Err(format!("shows {id}, which was deleted"));
    }
    Ok(())
}
