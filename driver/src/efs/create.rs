//! `CreateVolume`.
//!
//! *Flow*: look how the file system is reached, reserve a number, create the access point with a
//! client token, prove that the number is its own. See [`super::ledger`] for the numbers.
//!
//! *Guarantees*: one access point for each name and no number twice, whatever is repeated, lost or
//! cut short. Once the creating call was sent, every failure that is not proved to have left
//! nothing is ABORTED, since the provisioner takes other codes for the end and forgets the volume.

mod error;
mod prove;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use csi_core::efs::request::CreateVolume as Request;
use csi_core::efs::{
    AccessPoint, AccessPointQuery, CreatedAccessPoint, Efs, LifeCycleState, VolumeHandle,
};
use csi_core::{AccessPointId, ApiError, Bytes, ErrorKind, Zone};
use tokio::time::{Instant, sleep};
use tracing::warn;

pub(crate) use error::CreateVolumeError;

use super::Shared;
use super::ledger::{Ledger, Listed, Reserved};
use super::reach;
use super::spec::{BORN_TAG, Spec};
use crate::call::{Failed, repeat};

/// The whole operation; the provisioner waits for a quarter of it at a time.
const BOUND: Duration = Duration::from_mins(1);
/// Numbers that are given up for older access points before the CO is asked to come again.
const MOST_YIELDS: u32 = 8;
/// First pause before a token is tried again whose access point goes away; it doubles.
const AGAIN: Duration = Duration::from_millis(100);
/// Longest such pause.
const LONGEST_AGAIN: Duration = Duration::from_secs(2);

/// A volume that exists as asked for.
#[derive(Debug)]
pub(super) struct Created {
    /// Its handle.
    pub(super) handle: VolumeHandle,
    /// The bytes that were asked for.
    pub(super) required: Bytes,
    /// Its volume context.
    pub(super) context: BTreeMap<String, String>,
    /// The only zone from which it is to be used.
    pub(super) zone: Option<Zone>,
}

/// Makes the volume, or finds the one that was made before.
pub(super) async fn create<C: Efs>(
    shared: Arc<Shared<C>>,
    request: Request,
) -> Result<Created, CreateVolumeError> {
    let until = Instant::now() + BOUND;
    let file_system = shared.objects.file_system(&request.class.file_system).await?;
    let secrets = request.secrets.clone();
    let efs = shared.efs(&secrets);
    let spec = Spec::resolve(request, file_system.clone(), &shared.settings)?;
    let root = spec.root.clone();
    // What is deleted there now must not be this volume's.
    let _making = shared.roots.make(&file_system, &root).ok_or_else(|| {
        CreateVolumeError::RootBusy { name: spec.name.clone(), path: root.clone() }
    })?;
    let reach = reach::look(&efs, &spec, &secrets, until).await?;
    let ledger = shared.ledger(&file_system);
    let maker = Maker { shared, efs, ledger, spec, until };
    let access_point = maker.make().await?;
    Ok(Created {
        handle: VolumeHandle::of_access_point(file_system, access_point),
        required: maker.spec.required,
        context: reach.context,
        zone: reach.zone,
    })
}

struct Maker<C> {
    shared: Arc<Shared<C>>,
    efs: C,
    ledger: Arc<Ledger>,
    spec: Spec,
    until: Instant,
}

/// What one creating call came to.
enum Tried {
    /// The volume's access point.
    Done(AccessPointId),
    /// An older access point had the number; ours is gone.
    Yielded,
    /// The token's access point goes away; the token is free when it is gone.
    Leaving(AccessPointId),
}

impl<C: Efs> Maker<C> {
    async fn make(&self) -> Result<AccessPointId, CreateVolumeError> {
        if self.spec.pool().is_some() || self.spec.legacy_token.is_some() {
            self.list(Listed::Lately).await?;
        }
        if let Some(found) = self.legacy().await? {
            return Ok(found);
        }
        for _ in 0..MOST_YIELDS {
            let reserved = match self.reserve().await? {
                Choice::Number(reserved) => reserved,
                Choice::Made(id) => return Ok(id),
            };
            if let Some(id) = self.make_with(reserved).await? {
                return Ok(id);
            }
        }
        Err(CreateVolumeError::Crowded { name: self.spec.name.clone(), numbers: MOST_YIELDS })
    }

    async fn list(&self, wanted: Listed) -> Result<(), CreateVolumeError> {
        self.ledger.list(&self.efs, wanted, self.until).await.map_err(|error| {
            let file_system = self.spec.file_system.clone();
            match error.kind {
                ErrorKind::FileSystemNotFound => CreateVolumeError::NoFileSystem(error),
                _ => CreateVolumeError::Listing { file_system, error },
            }
        })
    }

    /// The access point that the replaced driver made for the claim.
    async fn legacy(&self) -> Result<Option<AccessPointId>, CreateVolumeError> {
        let Some(token) = &self.spec.legacy_token else { return Ok(None) };
        let Some(id) = self.ledger.by_token(token) else { return Ok(None) };
        Ok(self.adopt(id).await?.map(|found| found.id))
    }

    /// A number for the access point, if one is to be chosen.
    async fn reserve(&self) -> Result<Choice, CreateVolumeError> {
        let Some(pool) = self.spec.pool() else { return Ok(Choice::Number(None)) };
        let range = self.spec.range();
        let reserve = || self.ledger.reserve(pool, &range, self.spec.seed(), &self.spec.token);
        if let Ok(reserved) = reserve() {
            return Ok(Choice::Number(Some(reserved)));
        }
        // The last number may be this very volume's, or others may have freed one.
        self.list(Listed::Since(Instant::now())).await?;
        let exhausted = match reserve() {
            Ok(reserved) => return Ok(Choice::Number(Some(reserved))),
            Err(exhausted) => exhausted,
        };
        if let Some(id) = self.made_before().await? {
            return Ok(Choice::Made(id));
        }
        let file_system = self.spec.file_system.clone();
        Err(CreateVolumeError::Exhausted { file_system, range, exhausted })
    }

    /// The volume as an earlier call made it, by the last listing.
    async fn made_before(&self) -> Result<Option<AccessPointId>, CreateVolumeError> {
        let Some(id) = self.ledger.by_token(&self.spec.token) else { return Ok(None) };
        Ok(self.adopt(id).await?.map(|found| found.id))
    }

    /// Makes the access point with that number; `None` if an older one had it.
    async fn make_with(
        &self,
        reserved: Option<Reserved>,
    ) -> Result<Option<AccessPointId>, CreateVolumeError> {
        let number = reserved.as_ref().map(|reserved| reserved.number);
        let mut pause = AGAIN;
        loop {
            let born = now_ms();
            let tried = match self.call(number, born).await {
                Ok(CreatedAccessPoint::New(made)) => {
                    self.ledger.made(&made);
                    self.prove(made.id).await
                }
                Ok(CreatedAccessPoint::Existing(id)) => self.existing(id, born).await,
                Err(failed) => return Err(self.refused(failed, reserved).await),
            };
            let late = Instant::now() + pause >= self.until;
            let end = match tried {
                Ok(Tried::Leaving(_)) if !late => {
                    sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_AGAIN);
                    continue;
                }
                Ok(Tried::Leaving(access_point)) => {
                    Err(CreateVolumeError::Leaving { name: self.spec.name.clone(), access_point })
                }
                Ok(Tried::Done(id)) => Ok(Some(id)),
                Ok(Tried::Yielded) => Ok(None),
                Err(error) => Err(error),
            };
            // Whatever has the number by now, the ledger knows it, unless EFS would not say.
            let unseen = matches!(end, Err(CreateVolumeError::Unseen { error: Some(_), .. }));
            if let Some(reserved) = reserved.filter(|_reserved| !unseen) {
                reserved.release();
            }
            return end;
        }
    }

    /// The creating call; without the driver's own tags if the role may not set them.
    async fn call(&self, number: Option<u32>, born: u64) -> Result<CreatedAccessPoint, Failed> {
        let bare_tags = &self.shared.bare_tags;
        let bare = bare_tags.load(Ordering::Relaxed);
        let call = self.spec.call(number, born, bare);
        let made = repeat(self.until, || self.efs.create_access_point(call.clone())).await;
        let Err(failed) = made else { return made };
        let may_be_tags = failed.error.kind == ErrorKind::Denied && !failed.in_doubt && !bare;
        let plain = self.spec.call(number, born, true);
        if !may_be_tags || plain.tags == call.tags {
            return Err(failed);
        }
        let made = repeat(self.until, || self.efs.create_access_point(plain.clone())).await;
        if made.is_ok() && !bare_tags.swap(true, Ordering::Relaxed) {
            warn!(
                error = %failed.error,
                "the driver's role may not set the driver's tags on access points; without them \
                 sizes are not compared, and directories are not deleted"
            );
        }
        // The first refusal says what to grant.
        made.map_err(|again| if again.in_doubt { again } else { failed })
    }

    /// An access point that the token made before.
    async fn existing(&self, id: AccessPointId, born: u64) -> Result<Tried, CreateVolumeError> {
        if self.ledger.is_deleted(&id) {
            return Ok(Tried::Leaving(id));
        }
        let Some(found) = self.adopt(id.clone()).await? else { return Ok(Tried::Leaving(id)) };
        // Only what nobody was told of may be given up: made by a try of this call whose reply was
        // lost, or by a call that did not prove it.
        let own = found.tags.get(BORN_TAG).is_some_and(|tag| *tag == born.to_string());
        if own || self.ledger.is_unproved(&id) {
            return self.prove(id).await;
        }
        Ok(Tried::Done(id))
    }

    /// Looks at an access point of the token and compares it; `None` if it goes away.
    async fn adopt(&self, id: AccessPointId) -> Result<Option<AccessPoint>, CreateVolumeError> {
        let query = AccessPointQuery::Id(id.clone());
        let look = || self.efs.describe_access_points(query.clone());
        let found = match repeat(self.until, look).await {
            Ok(page) => page.items.into_iter().next(),
            // Gone, or too young to be seen.
            Err(failed) if failed.error.kind == ErrorKind::AccessPointNotFound => None,
            Err(failed) => {
                let name = self.spec.name.clone();
                return Err(CreateVolumeError::Unseen {
                    name,
                    access_point: id,
                    error: Some(failed.error),
                });
            }
        };
        let Some(found) = found else { return Ok(None) };
        match found.state {
            LifeCycleState::Deleting | LifeCycleState::Deleted => return Ok(None),
            LifeCycleState::Error => return Err(CreateVolumeError::Broken { access_point: id }),
            LifeCycleState::Creating | LifeCycleState::Available | LifeCycleState::Updating => {}
        }
        if let Err(difference) = self.spec.check(&found) {
            let (name, access_point) = (self.spec.name.clone(), id);
            return Err(CreateVolumeError::Differs { name, access_point, difference });
        }
        self.ledger.found(&found);
        Ok(Some(found))
    }

    /// A refusal is final only if no try before it may have had an effect.
    async fn refused(&self, failed: Failed, reserved: Option<Reserved>) -> CreateVolumeError {
        let name = self.spec.name.clone();
        let Failed { error, in_doubt } = failed;
        if in_doubt {
            // The number rests: an access point may have it.
            return CreateVolumeError::Unknown { name, error };
        }
        if let Some(reserved) = reserved {
            reserved.release();
        }
        match error.kind {
            ErrorKind::FileSystemNotFound => CreateVolumeError::NoFileSystem(error),
            ErrorKind::InvalidParameter => CreateVolumeError::Refused { name, error },
            // It may be checked before the token, so the volume may exist since an earlier call.
            _ => self.open_end(error).await,
        }
    }

    /// The answer to a refusal that may have been checked before the token.
    async fn open_end(&self, error: ApiError) -> CreateVolumeError {
        let name = self.spec.name.clone();
        match self.ledger.list(&self.efs, Listed::Since(Instant::now()), self.until).await {
            Ok(()) if self.ledger.by_token(&self.spec.token).is_none() => {
                CreateVolumeError::Refused { name, error }
            }
            // It exists, or nobody can tell; the next try finds it.
            Ok(()) | Err(_) => CreateVolumeError::Unknown { name, error },
        }
    }
}

/// Where a number comes from.
enum Choice {
    /// The number, if one is to be chosen.
    Number(Option<Reserved>),
    /// None was left, but the volume exists.
    Made(AccessPointId),
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
