//! `ControllerExpandVolume` and `ControllerModifyVolume`: one way to change a volume.
//!
//! *Flow*: gather what arrives together, compare the volume with what is wanted; if it differs, wait for a modification that
//! is under way, modify once, wait until the change is in force and reads show it.
//!
//! *Guarantees*: what is in force already costs no modification, of which a volume has few in a
//! day. EC2's brakes (one at a time, then a pause) are answered with UNAVAILABLE, which the
//! resizer retries; `FAILED_PRECONDITION` would mean "in use" to it.

mod error;
mod gather;
mod target;

use std::sync::Arc;
use std::time::Duration;

use csi_core::ebs::{Ebs, Modification, ModificationState, ModifyVolume as Call, Volume};
use csi_core::facts::READ_LAG_BOUND;
use csi_core::request::{ExpandVolume, ModifyVolume};
use csi_core::{ApiError, ErrorKind, GiB, RunError, VolumeId};
use tokio::time::{Instant, sleep_until};

pub(crate) use error::ModifyError;
pub(super) use gather::Groups;

use super::iops_limit::depends_on_zone;
use super::look::WaitEnd;
use super::spec::is_live;
use super::{APPEARING, Key, SLOW, Shared};
use crate::call::{bounded, repeat};
use gather::{Leading, Wish};
use target::{Change, TagChange, shows};

/// The whole operation. Large volumes take longer; the next try then finds their modification.
const BOUND: Duration = Duration::from_mins(2);
/// Sendings of one modification whose replies are lost.
const TRIES: u32 = 3;

/// Gives the volume the size; returns the size it has then.
pub(super) async fn expand<C: Ebs>(
    shared: Arc<Shared<C>>,
    request: ExpandVolume,
) -> Result<GiB, RunError<ModifyError>> {
    Ok(together(shared, request.volume, Wish::Size(request.range)).await?.size)
}

/// Gives the volume the properties and the tags.
pub(super) async fn modify<C: Ebs>(
    shared: Arc<Shared<C>>,
    request: ModifyVolume,
) -> Result<(), RunError<ModifyError>> {
    let wish = Wish::Properties(Box::new(request.parameters));
    together(shared, request.volume, wish).await.map(drop)
}

/// Makes a change together with those that arrive at the same time.
async fn together<C: Ebs>(
    shared: Arc<Shared<C>>,
    id: VolumeId,
    wish: Wish,
) -> Result<Volume, RunError<ModifyError>> {
    let (answer, leads) = shared.groups.join(&id, wish);
    if leads {
        let modifier =
            Modifier { shared: Arc::clone(&shared), id: id.clone(), until: Instant::now() + BOUND };
        let lead = async move {
            modifier.lead().await;
            Ok::<(), ModifyError>(())
        };
        if let Err(refused) = shared.operations.run(Key::Modify(id.clone()), lead).await {
            // An earlier change is under way: nobody of this group is served.
            drop(shared.groups.close(&id));
            return Err(refused);
        }
    }
    match answer.await {
        Ok(outcome) => outcome.map_err(RunError::Work),
        Err(_no_leader) => Err(RunError::Work(ModifyError::Leaderless { volume: id })),
    }
}

struct Modifier<C> {
    shared: Arc<Shared<C>>,
    id: VolumeId,
    until: Instant,
}

impl<C: Ebs> Modifier<C> {
    /// Leads the volume's group: gathers, changes the volume once, answers every call.
    async fn lead(&self) {
        let _leading = Leading { groups: &self.shared.groups, id: &self.id };
        let volume = match self.gathered().await {
            Ok(volume) => volume,
            Err(error) => {
                for member in self.shared.groups.close(&self.id) {
                    member.answer(Err(error.clone()));
                }
                return;
            }
        };
        let members = self.shared.groups.close(&self.id);
        let (change, members) = gather::merge(&self.id, &volume, members);
        let changed = self.change(volume.clone(), &change).await;
        // Whose wish EC2 does not like it does not say, so each has a try of its own.
        let apart =
            members.len() > 1 && changed.as_ref().is_err_and(ModifyError::is_refused_as_wrong);
        for member in members {
            let changed =
                if apart { self.alone(&volume, &member.wish).await } else { changed.clone() };
            let outcome = self.finish(&member.wish, changed).await;
            member.answer(outcome);
        }
    }

    /// Makes the change of one call only.
    async fn alone(&self, volume: &Volume, wish: &Wish) -> Result<Volume, ModifyError> {
        let own = gather::own_change(volume, wish)?;
        self.change(volume.clone(), &own).await
    }

    /// The volume, when others have had the time to join. A single call that changes nothing waits
    /// for nobody.
    async fn gathered(&self) -> Result<Volume, ModifyError> {
        let closes = Instant::now() + self.shared.settings.modify_window;
        let volume = self.volume().await?;
        if !self.shared.groups.is_single(&self.id, |wish| !wish.modifies(&volume)) {
            sleep_until(closes).await;
        }
        Ok(volume)
    }

    /// What is left for one call when the volume is changed: its tags. They are written too when
    /// EC2 makes the volume wait for its next modification.
    async fn finish(
        &self,
        wish: &Wish,
        changed: Result<Volume, ModifyError>,
    ) -> Result<Volume, ModifyError> {
        let waits = matches!(&changed, Err(ModifyError::Refused { error, .. }) if matches!(
            error.kind,
            ErrorKind::ModificationInProgress | ErrorKind::ModificationRate
        ));
        if let Wish::Properties(parameters) = wish
            && (changed.is_ok() || waits)
        {
            self.change_tags(TagChange::of(parameters)).await?;
        }
        changed
    }

    async fn volume(&self) -> Result<Volume, ModifyError> {
        let found = self.shared.volume(&self.id, self.until).await;
        let found = found.map_err(|error| self.look_failed(error))?;
        let volume = found.filter(|volume| is_live(volume.state));
        volume.ok_or_else(|| ModifyError::NoVolume { volume: self.id.clone() })
    }

    fn look_failed(&self, error: ApiError) -> ModifyError {
        ModifyError::Look { volume: self.id.clone(), error }
    }

    async fn change(&self, volume: Volume, change: &Change) -> Result<Volume, ModifyError> {
        let Some(call) = target::decide(&volume, change)? else { return Ok(volume) };
        let limited;
        let type_name = call.volume_type.as_ref().unwrap_or(&volume.volume_type);
        let change = if depends_on_zone(type_name, call.iops) {
            let zone_iops = self.shared.most_iops(type_name, &volume.zone).await;
            limited = change.within(zone_iops);
            if target::decide(&volume, &limited)?.is_none() {
                return Ok(volume);
            }
            &limited
        } else {
            change
        };
        // Something is to be done, unless what is under way does it.
        let look = || self.shared.modifications.up(self.id.clone());
        let latest = repeat(self.until, look).await;
        let latest = latest.map_err(|failed| self.look_failed(failed.error))?;
        let before = latest.clone();
        let volume = match latest {
            Some(latest) if latest.state == ModificationState::Modifying => {
                let latest =
                    self.wait_for(|seen| seen.state != ModificationState::Modifying).await?;
                let grown = |seen: &Volume| {
                    latest.state == ModificationState::Failed
                        || seen.size >= latest.size && seen.volume_type == latest.volume_type
                };
                self.settled(grown).await?
            }
            _ => volume,
        };
        let Some(call) = target::decide(&volume, change)? else { return Ok(volume) };
        self.send(&call, before).await?;
        let latest = self
            .wait_for(|seen| shows(seen, &call) && seen.state != ModificationState::Modifying)
            .await?;
        if latest.state == ModificationState::Failed {
            let reason = latest.status_message.unwrap_or_else(|| "no reason given".to_owned());
            return Err(ModifyError::Failed { volume: self.id.clone(), reason });
        }
        self.settled(|seen| matches!(target::decide(seen, change), Ok(None))).await
    }

    /// Sends a modification. It has no client token, so a lost reply is looked for.
    async fn send(&self, call: &Call, before: Option<Modification>) -> Result<(), ModifyError> {
        let mut in_doubt = false;
        for attempt in 1.. {
            let sent = bounded(self.until, self.shared.ec2.modify_volume(call.clone())).await;
            let Err(error) = sent else { return Ok(()) };
            match error.kind {
                ErrorKind::Unavailable | ErrorKind::NoAnswer if attempt < TRIES => {
                    in_doubt = true;
                    if self.is_under_way(call, Duration::from_secs(2)).await {
                        return Ok(());
                    }
                }
                ErrorKind::Throttled if Instant::now() + Duration::from_secs(2) < self.until => {
                    tokio::time::sleep(Duration::from_secs(2)).await;
                }
                // Perhaps by the try whose reply was lost.
                ErrorKind::ModificationInProgress | ErrorKind::ModificationRate
                    if in_doubt && self.is_under_way(call, READ_LAG_BOUND).await =>
                {
                    return Ok(());
                }
                _ => {
                    let (volume, latest) = (self.id.clone(), before.map(Box::new));
                    let error = Box::new(error);
                    return Err(ModifyError::Refused { volume, latest, error });
                }
            }
        }
        Ok(())
    }

    /// Whether a modification like `call` shows up in time.
    async fn is_under_way(&self, call: &Call, within: Duration) -> bool {
        let until = (Instant::now() + within).min(self.until);
        let judge = |seen: Option<Modification>| {
            seen.filter(|seen| shows(seen, call) && seen.state != ModificationState::Failed)
        };
        self.shared.modifications.until(&self.id, APPEARING, until, judge).await.is_ok()
    }

    async fn wait_for(
        &self,
        found: impl Fn(&Modification) -> bool,
    ) -> Result<Modification, ModifyError> {
        let mut progress = 0;
        let judge = |seen: Option<Modification>| {
            progress = seen.as_ref().map_or(progress, |seen| seen.progress);
            seen.filter(&found)
        };
        let end = self.shared.modifications.until(&self.id, SLOW, self.until, judge).await;
        end.map_err(|end| self.unfinished(end, progress))
    }

    /// The volume when reads show what a modification led to.
    async fn settled(&self, shows: impl Fn(&Volume) -> bool) -> Result<Volume, ModifyError> {
        let judge = |seen: Option<Volume>| seen.filter(&shows);
        let end = self.shared.volumes.until(&self.id, APPEARING, self.until, judge).await;
        end.map_err(|end| self.unfinished(end, 100))
    }

    fn unfinished(&self, end: WaitEnd, progress: u8) -> ModifyError {
        let volume = self.id.clone();
        match end {
            WaitEnd::TimedOut => ModifyError::Unfinished { volume, progress },
            WaitEnd::Refused(error) => ModifyError::Look { volume, error },
        }
    }

    async fn change_tags(&self, tags: TagChange) -> Result<(), ModifyError> {
        let failed = |error| ModifyError::Tags { volume: self.id.clone(), error };
        if !tags.delete.is_empty() {
            let call = || self.shared.ec2.delete_tags(self.id.clone(), tags.delete.clone());
            repeat(self.until, call).await.map_err(|end| failed(end.error))?;
        }
        if !tags.add.is_empty() {
            let call = || self.shared.ec2.create_tags(self.id.clone(), tags.add.clone());
            repeat(self.until, call).await.map_err(|end| failed(end.error))?;
        }
        Ok(())
    }
}
