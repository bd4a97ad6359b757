//! `CreateSnapshot` and `DeleteSnapshot`.
//!
//! EC2 knows no client token for snapshots, so the name's tag is the record: look the name up,
//! create, look until the own snapshot is visible. Of two that were made at the same moment the
//! older one stays and whoever made the younger one deletes it, or else whoever deletes the older.

mod error;
mod protect;
mod siblings;

use std::sync::Arc;
use std::time::Duration;

use csi_core::ebs::{CreateSnapshot as Call, Ebs, Snapshot, SnapshotState};
use csi_core::facts::READ_LAG_BOUND;
use csi_core::request::CreateSnapshot;
use csi_core::rpc_error::is_final;
use csi_core::{ApiError, ErrorKind, SnapshotId, SnapshotName, VolumeId};
use tokio::time::Instant;

pub(crate) use error::{CreateSnapshotError, DeleteSnapshotError};
pub(super) use protect::Protected;

use super::look::WaitEnd;
use super::{APPEARING, Shared, tags};
use crate::call::{Failed, bounded, repeat};

const BOUND: Duration = Duration::from_mins(2);
/// Creations whose replies are lost before the call fails.
const TRIES: u32 = 3;

/// How long the own snapshot is watched at least. An older one that was made at the same moment
/// may become visible after it; EC2's lag is mostly below a second.
const SIBLINGS_APPEAR: Duration = Duration::from_secs(1);

/// Makes the snapshot, or finds the one that was made before. It may still be pending: its point
/// in time is fixed all the same.
pub(super) async fn create<C: Ebs>(
    shared: Arc<Shared<C>>,
    request: CreateSnapshot,
) -> Result<Snapshot, CreateSnapshotError> {
    let began = Instant::now();
    let maker = Maker { shared, request, began, until: began + BOUND };
    let (snapshot, is_new) = match maker.find().await? {
        Some(existing) => (maker.adopt(existing)?, false),
        None => maker.make().await?,
    };
    let Maker { shared, request, until, .. } = &maker;
    protect::apply(shared, &request.parameters, &snapshot, is_new, *until).await?;
    Ok(snapshot)
}

struct Maker<C> {
    shared: Arc<Shared<C>>,
    request: CreateSnapshot,
    began: Instant,
    until: Instant,
}

impl<C: Ebs> Maker<C> {
    fn name(&self) -> SnapshotName {
        self.request.name.clone()
    }

    /// The snapshot that an earlier call made. A process that just started cannot know what the
    /// one before it made at its last moment, so it looks as long as reads may lag behind that.
    async fn find(&self) -> Result<Option<Snapshot>, CreateSnapshotError> {
        loop {
            let look = || self.shared.snapshots_by_name.up(self.request.name.clone());
            let found = repeat(self.until, look).await.map_err(|Failed { error, .. }| {
                CreateSnapshotError::Look { name: self.name(), error }
            })?;
            let found = oldest(self.alive(found));
            let informed = self.shared.started.elapsed() > READ_LAG_BOUND;
            if found.is_some() || informed {
                return Ok(found);
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    fn alive(&self, found: Option<Vec<Snapshot>>) -> Vec<Snapshot> {
        let mut found = found.unwrap_or_default();
        found.retain(|snapshot| {
            let there = match snapshot.state {
                SnapshotState::Pending | SnapshotState::Completed => true,
                SnapshotState::Error | SnapshotState::Recoverable | SnapshotState::Recovering => {
                    false
                }
            };
            there && !self.shared.recent.is_deleted(snapshot.id.as_str())
        });
        found
    }

    /// A snapshot of the name is the one that is asked for if it was made from the same volume.
    fn adopt(&self, existing: Snapshot) -> Result<Snapshot, CreateSnapshotError> {
        if existing.volume.as_ref() == Some(&self.request.volume) {
            return Ok(existing);
        }
        let has =
            existing.volume.map_or_else(|| "an unknown volume".to_owned(), |id| id.to_string());
        Err(CreateSnapshotError::Differs {
            name: self.name(),
            snapshot: existing.id,
            has,
            wanted: self.request.volume.clone(),
        })
    }

    /// Makes the snapshot; says whether it is the one that stays.
    async fn make(&self) -> Result<(Snapshot, bool), CreateSnapshotError> {
        protect::check_zones(&self.shared, &self.request.parameters, self.until).await?;
        let mut in_doubt = false;
        let mut tries = 0;
        loop {
            tries += 1;
            let call = bounded(self.until, self.shared.ec2.create_snapshot(self.call()));
            let error = match call.await {
                Ok(made) => return self.settle(made.id).await,
                Err(error) => error,
            };
            in_doubt |= !error.kind.is_effect_free();
            // It may have been made, by this call or, before EC2 began to refuse, by an earlier
            // one, perhaps another process's. So look before making another or giving it up.
            if let Some(since) = self.may_exist_since(&error)
                && let Some(found) = self.appears(since + READ_LAG_BOUND).await?
            {
                // Perhaps not this call's, so it must not be undone.
                return self.settle(found.id).await.map(|(snapshot, _own)| (snapshot, false));
            }
            let again = match error.kind {
                ErrorKind::Throttled => {
                    let pause = Duration::from_secs(2);
                    tokio::time::sleep(pause).await;
                    Instant::now() + pause < self.until
                }
                ErrorKind::Unavailable | ErrorKind::NoAnswer => tries < TRIES,
                _ => false,
            };
            if !again {
                return Err(self.refused(Failed { error, in_doubt }));
            }
        }
    }

    /// When the last call was made that may have had an effect, if that matters: what can never
    /// succeed never did, and what is going to be repeated is not given up yet.
    fn may_exist_since(&self, error: &ApiError) -> Option<Instant> {
        match error.kind {
            kind if !kind.is_effect_free() => Some(Instant::now()),
            ErrorKind::InvalidParameter => None,
            kind => is_final(kind.grpc_code()).then_some(self.began),
        }
    }

    fn call(&self) -> Call {
        let name = &self.request.name;
        Call {
            volume: self.request.volume.clone(),
            description: format!(
                "Created by the EBS CSI driver for volume {}",
                self.request.volume
            ),
            tags: tags::of_snapshot(name, &self.request.parameters, &self.shared.settings),
        }
    }

    fn refused(&self, Failed { error, in_doubt }: Failed) -> CreateSnapshotError {
        let name = self.name();
        match (in_doubt, error.kind) {
            (true, _) => CreateSnapshotError::Unknown { name, error },
            (false, ErrorKind::VolumeNotFound) => {
                CreateSnapshotError::NoVolume { volume: self.request.volume.clone() }
            }
            (false, _) => CreateSnapshotError::Refused { name, error },
        }
    }

    /// The snapshot of the name, or none if none is seen until `bound`.
    async fn appears(&self, bound: Instant) -> Result<Option<Snapshot>, CreateSnapshotError> {
        let judge = |seen: Option<Vec<Snapshot>>| match oldest(self.alive(seen)) {
            None if Instant::now() < bound => None,
            decided => Some(decided),
        };
        let looks = &self.shared.snapshots_by_name;
        let end = looks.until(&self.request.name, APPEARING, self.until, judge).await;
        end.map_err(|end| CreateSnapshotError::Unproved {
            name: self.name(),
            error: match end {
                WaitEnd::TimedOut => None,
                WaitEnd::Refused(error) => Some(error),
            },
        })
    }

    /// Waits until the own snapshot is visible and gives way to an older one of the name.
    async fn settle(&self, own: SnapshotId) -> Result<(Snapshot, bool), CreateSnapshotError> {
        let made = Instant::now();
        let judge = |seen: Option<Vec<Snapshot>>| {
            let seen = seen.unwrap_or_default();
            let visible = seen.iter().any(|snapshot| snapshot.id == own);
            (visible && made.elapsed() >= SIBLINGS_APPEAR).then(|| oldest(self.alive(Some(seen))))
        };
        let until = (Instant::now() + 2 * READ_LAG_BOUND).min(self.until);
        let looks = &self.shared.snapshots_by_name;
        let found = match looks.until(&self.request.name, APPEARING, until, judge).await {
            Ok(found) => found,
            Err(end) => {
                let error = match end {
                    WaitEnd::TimedOut => None,
                    WaitEnd::Refused(error) => Some(error),
                };
                return Err(CreateSnapshotError::Unseen { snapshot: own, error });
            }
        };
        let Some(stays) = found else {
            return Err(CreateSnapshotError::Broken { snapshot: own });
        };
        let is_own = stays.id == own;
        if !is_own {
            let volume = self.request.volume.clone();
            remove(&self.shared, &own, self.until).await.map_err(|error| {
                let error = Box::new(error);
                CreateSnapshotError::LeftOver { snapshot: own, volume, error }
            })?;
        }
        Ok((self.adopt(stays)?, is_own))
    }
}

/// The oldest, with the id as the tie-break, so that two makers agree.
fn oldest(snapshots: Vec<Snapshot>) -> Option<Snapshot> {
    snapshots.into_iter().min_by(|a, b| (a.started_ms, &a.id).cmp(&(b.started_ms, &b.id)))
}

/// Deletes a snapshot, with its [`siblings`]; one that does not exist is deleted already.
pub(super) async fn delete<C: Ebs>(
    shared: Arc<Shared<C>>,
    snapshot: SnapshotId,
) -> Result<(), DeleteSnapshotError> {
    let until = Instant::now() + BOUND;
    let mut doomed = match siblings::of(&shared, &snapshot, until).await {
        Ok(siblings) => siblings,
        Err(error) if !is_final(error.kind.grpc_code()) => {
            return Err(DeleteSnapshotError::Failed { snapshot, error });
        }
        // Who may not look may still delete.
        Err(_refused) => Vec::new(),
    };
    // The snapshot itself is last, so that a call that is cut short can be made again.
    doomed.push(snapshot);
    for snapshot in doomed {
        remove(&shared, &snapshot, until).await.map_err(|error| match error.kind {
            ErrorKind::SnapshotInUse => {
                DeleteSnapshotError::InUse { snapshot: snapshot.clone(), error }
            }
            _ => DeleteSnapshotError::Failed { snapshot: snapshot.clone(), error },
        })?;
    }
    Ok(())
}

async fn remove<C: Ebs>(
    shared: &Shared<C>,
    snapshot: &SnapshotId,
    until: Instant,
) -> Result<(), ApiError> {
    match repeat(until, || shared.ec2.delete_snapshot(snapshot.clone())).await {
        Err(failed) if failed.error.kind != ErrorKind::SnapshotNotFound => Err(failed.error),
        _ => {
            shared.recent.deleted(snapshot.as_str());
            shared.protected.forget(snapshot);
            Ok(())
        }
    }
}

/// Where a snapshot comes from, as its volume's id on the wire.
pub(super) fn source(snapshot: &Snapshot) -> String {
    snapshot.volume.as_ref().map(VolumeId::to_string).unwrap_or_default()
}
