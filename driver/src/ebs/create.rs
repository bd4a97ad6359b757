//! `CreateVolume`.
//!
//! *Flow*: look at the source, decide on the volume, create it with a client token in the first
//! zone that has room, wait until it is available.
//!
//! *Guarantees*: one volume for each name, whatever is repeated, lost or cut short. Once the
//! creating call was sent, every failure that is not proved to have left nothing is ABORTED,
//! since the provisioner takes other codes for the end and forgets the volume.

mod error;
mod mismatch;

use std::sync::Arc;
use std::time::Duration;

use csi_core::ebs::{Ebs, SnapshotState, Volume, VolumeSource, VolumeState};
use csi_core::facts::READ_LAG_BOUND;
use csi_core::request::CreateVolume as Request;
use csi_core::rpc_error::is_final;
use csi_core::{ApiError, ErrorKind, GrpcCode, VolumeId, Zone};
use tokio::time::Instant;

pub(crate) use error::{CreateVolumeError, Death};

use super::look::WaitEnd;
use super::spec::{SourceFacts, Spec, is_live};
use super::token::token;
use super::{APPEARING, CREATING, SLOW, Shared};
use crate::call::{Failed, repeat};

/// The whole operation; the provisioner waits for a minute at a time.
const BOUND: Duration = Duration::from_mins(2);
/// How long a source that is still being made is waited for before the CO is asked to come again.
const SOURCE_BOUND: Duration = Duration::from_secs(45);
/// More dead volumes of one name than anybody has patience for.
const MOST_TOKENS: u32 = 1_000;

/// A volume that exists as asked for.
#[derive(Debug)]
pub(super) struct Created {
    /// The volume.
    pub(super) volume: Volume,
    /// What was asked for.
    pub(super) spec: Spec,
}

/// Makes the volume, or finds the one that was made before.
pub(super) async fn create<C: Ebs>(
    shared: Arc<Shared<C>>,
    request: Request,
) -> Result<Created, CreateVolumeError> {
    let began = Instant::now();
    let until = began + BOUND;
    let (source, gone) = match observe_source(&shared, request.source.as_ref(), until).await {
        Err(gone @ CreateVolumeError::NoSource { .. }) => (None, Some(gone)),
        source => (source?, None),
    };
    let spec = Spec::resolve(&request, source.as_ref(), &shared.settings)?;
    let mut maker = Maker { shared, spec, began, until };
    let volume = if let Some(gone) = gone {
        maker.made_before(gone).await?
    } else {
        let zones = match source.and_then(|source| source.zone) {
            Some(zone) => vec![zone],
            None => zones(&maker.shared, &maker.spec, until).await?,
        };
        maker.learn_limits(&zones).await;
        maker.make(&zones).await?
    };
    let volume = maker.finish(volume).await?;
    Ok(Created { volume, spec: maker.spec })
}

async fn zones<C: Ebs>(
    shared: &Shared<C>,
    spec: &Spec,
    until: Instant,
) -> Result<Vec<Zone>, CreateVolumeError> {
    if !spec.zones.is_open() {
        return Ok(spec.zones.in_order());
    }
    let failed = |failed: Failed| CreateVolumeError::Zones(failed.error);
    let mut zones = repeat(until, || shared.ec2.describe_zones()).await.map_err(failed)?;
    // In the same order each time, since EC2 compares the zone with a token's first use.
    zones.sort();
    if zones.is_empty() { Err(CreateVolumeError::NoZone) } else { Ok(zones) }
}

async fn observe_source<C: Ebs>(
    shared: &Shared<C>,
    source: Option<&VolumeSource>,
    until: Instant,
) -> Result<Option<SourceFacts>, CreateVolumeError> {
    match source {
        None => Ok(None),
        Some(VolumeSource::Volume(id)) => {
            let found = shared.volume(id, until).await.map_err(CreateVolumeError::Source)?;
            let Some(volume) = found.filter(|volume| is_live(volume.state)) else {
                return Err(CreateVolumeError::NoSource { id: id.to_string() });
            };
            let facts =
                SourceFacts { size: volume.size, zone: Some(volume.zone), kms_key: volume.kms_key };
            Ok(Some(facts))
        }
        Some(VolumeSource::Snapshot(id)) => {
            let look = || shared.snapshots.up(id.clone());
            let failed = |failed: Failed| CreateVolumeError::Source(failed.error);
            // A snapshot that is not shown may be another account's; EC2 decides at the creation.
            let Some(mut snapshot) = repeat(until, look).await.map_err(failed)? else {
                return Ok(None);
            };
            if snapshot.state == SnapshotState::Pending {
                let mut progress = snapshot.progress;
                let until = until.min(Instant::now() + SOURCE_BOUND);
                let done = |seen: Option<csi_core::ebs::Snapshot>| {
                    progress = seen.as_ref().map_or(progress, |seen| seen.progress);
                    seen.filter(|seen| seen.state != SnapshotState::Pending)
                };
                let end = shared.snapshots.until(id, SLOW, until, done).await;
                snapshot = end.map_err(|_end| CreateVolumeError::SourcePending {
                    snapshot: id.clone(),
                    progress,
                })?;
            }
            Ok(Some(SourceFacts { size: snapshot.size, zone: None, kms_key: None }))
        }
    }
}

/// What a client token gave.
enum Tried {
    /// A volume.
    Volume(Box<Volume>),
    /// Nothing, and it never will: its volume failed or was deleted.
    Spent,
}

struct Maker<C> {
    shared: Arc<Shared<C>>,
    spec: Spec,
    began: Instant,
    until: Instant,
}

impl<C: Ebs> Maker<C> {
    /// Learns what the zones grant, if that matters.
    async fn learn_limits(&mut self, zones: &[Zone]) {
        if !self.spec.depends_on_zone() {
            return;
        }
        for zone in zones {
            if let Some(most) = self.shared.most_iops(&self.spec.volume_type, zone).await {
                self.spec.limit_iops(zone.clone(), most);
            }
        }
    }

    /// Walks the tokens of the name from the first; nothing is remembered between calls.
    async fn make(&self, zones: &[Zone]) -> Result<Volume, CreateVolumeError> {
        for n in 1..=MOST_TOKENS {
            if let Tried::Volume(volume) = self.try_token(n, zones).await? {
                return Ok(*volume);
            }
        }
        Err(CreateVolumeError::TokensSpent { name: self.spec.name.clone() })
    }

    async fn try_token(&self, n: u32, zones: &[Zone]) -> Result<Tried, CreateVolumeError> {
        let mut full = None;
        for zone in zones {
            let call = self.spec.call(token(&self.spec.name, n), zone.clone());
            let made = repeat(self.until, || self.shared.ec2.create_volume(call.clone())).await;
            let failed = match made {
                Ok(volume) if is_live(volume.state) => return Ok(Tried::Volume(Box::new(volume))),
                // The token's own volume is dead. A call with another source may have made a live
                // one since, which reads do not show yet.
                Ok(_replayed) if Instant::now() >= self.began + READ_LAG_BOUND => {
                    return Ok(Tried::Spent);
                }
                Ok(_replayed) => return self.after_mismatch(n).await,
                Err(failed) => failed,
            };
            match failed.error.kind {
                ErrorKind::TokenMismatch => return self.after_mismatch(n).await,
                // It is checked before the token, so the volume may exist since an earlier call.
                // Another zone is at hand, so this is not the place to wait for reads.
                ErrorKind::ZoneCapacity => {
                    if let Some(volume) = self.existing().await? {
                        return Ok(Tried::Volume(Box::new(volume)));
                    }
                    let end = self.refused(failed);
                    if matches!(end, CreateVolumeError::Unknown { .. }) {
                        return Err(end);
                    }
                    full = Some(end);
                }
                // With the zone's limit it would be another call, and perhaps it was before.
                ErrorKind::InvalidParameter if self.spec.misses_limit(zone) => {
                    let (name, error) = (self.spec.name.clone(), Box::new(failed.error));
                    return Err(CreateVolumeError::NoLimit { name, zone: zone.clone(), error });
                }
                // What can never succeed never did.
                ErrorKind::InvalidParameter => return Err(self.refused(failed)),
                _ => {
                    let end = self.refused(failed);
                    return Ok(Tried::Volume(Box::new(self.made_before(end).await?)));
                }
            }
        }
        Err(full.unwrap_or(CreateVolumeError::NoZone))
    }

    /// A refusal is final only if no try before it may have had an effect.
    fn refused(&self, Failed { error, in_doubt }: Failed) -> CreateVolumeError {
        let name = self.spec.name.clone();
        match (in_doubt, error.kind) {
            (true, _) => CreateVolumeError::Unknown { name, error },
            (false, ErrorKind::VolumeNotFound | ErrorKind::SnapshotNotFound) => {
                let id = match &self.spec.source {
                    Some(VolumeSource::Volume(id)) => id.to_string(),
                    Some(VolumeSource::Snapshot(id)) => id.to_string(),
                    None => String::new(),
                };
                CreateVolumeError::NoSource { id }
            }
            (false, _) => CreateVolumeError::Refused { name, error },
        }
    }

    /// The volume that an earlier call, perhaps another process's, made before `end` became the
    /// answer: the role, the quota or the source may have changed since. `end` is what remains if
    /// none shows up as long as reads may lag behind that call.
    async fn made_before(&self, end: CreateVolumeError) -> Result<Volume, CreateVolumeError> {
        if !is_final(end.code()) {
            return Err(end);
        }
        match self.appears(self.began + READ_LAG_BOUND).await {
            Ok(found) => found?.ok_or(end),
            Err(_unseen) => {
                let name = self.spec.name.clone();
                Err(CreateVolumeError::Unproved { name, end: Box::new(end) })
            }
        }
    }

    /// Waits until the volume can be used.
    async fn finish(&self, volume: Volume) -> Result<Volume, CreateVolumeError> {
        // A volume that an earlier call made may be ready before reads show it, and the next call
        // for it would not find it.
        let cadence = match volume.state {
            VolumeState::Available | VolumeState::InUse => APPEARING,
            _ => CREATING,
        };
        let began = Instant::now();
        let mut seen_before = false;
        let judge = |seen: Option<Volume>| {
            let Some(seen) = seen else {
                // Too young to be seen, or gone again.
                let gone = seen_before || began.elapsed() > READ_LAG_BOUND;
                return gone.then_some(Err(Death::Vanished));
            };
            seen_before = true;
            match seen.state {
                VolumeState::Creating => None,
                VolumeState::Available | VolumeState::InUse => Some(Ok(seen)),
                VolumeState::Error => Some(Err(Death::Failed)),
                VolumeState::Deleting | VolumeState::Deleted => Some(Err(Death::Vanished)),
            }
        };
        match self.shared.volumes.until(&volume.id, cadence, self.until, judge).await {
            Ok(Ok(volume)) => Ok(volume),
            Ok(Err(death)) => Err(self.bury(volume.id, death).await),
            Err(end) => {
                let after = began.elapsed();
                let refusal = match end {
                    WaitEnd::TimedOut => None,
                    WaitEnd::Refused(error) => Some(Box::new(error)),
                };
                Err(CreateVolumeError::Unfinished { volume: volume.id, after, refusal })
            }
        }
    }

    /// Removes a volume that failed, so that nothing is left, and says why it may have failed.
    async fn bury(&self, volume: VolumeId, death: Death) -> CreateVolumeError {
        let left_over = match death {
            Death::Vanished => None,
            Death::Failed => {
                let delete = || self.shared.ec2.delete_volume(volume.clone());
                match repeat(self.until, delete).await {
                    Ok(()) => None,
                    Err(failed) if failed.error.kind == ErrorKind::VolumeNotFound => None,
                    Err(failed) => Some(Box::new(failed.error)),
                }
            }
        };
        let key = self.spec.kms_key.clone();
        CreateVolumeError::Died { volume, death, key, left_over }
    }

    /// The volume that an earlier call made, by its name tag.
    async fn existing(&self) -> Result<Option<Volume>, CreateVolumeError> {
        let unknown =
            |error: ApiError| CreateVolumeError::Unknown { name: self.spec.name.clone(), error };
        let named = self.shared.named(&self.spec.name, self.until).await.map_err(unknown)?;
        self.adopt(named)
    }

    /// Chooses among volumes of the name: a live one that is as asked for, else none; it is an
    /// error if there are only others.
    fn adopt(&self, named: Vec<Volume>) -> Result<Option<Volume>, CreateVolumeError> {
        let mut live: Vec<Volume> =
            named.into_iter().filter(|volume| is_live(volume.state)).collect();
        live.sort_by(|a, b| a.id.cmp(&b.id));
        let mut difference = None;
        for volume in live {
            match self.spec.check(&volume) {
                Ok(()) => return Ok(Some(volume)),
                Err(found) => difference = difference.or(Some((volume.id, found))),
            }
        }
        match difference {
            None => Ok(None),
            Some((volume, found)) => Err(CreateVolumeError::Differs {
                name: self.spec.name.clone(),
                volume,
                field: found.field,
                has: found.has,
                wanted: found.wanted,
            }),
        }
    }
}
