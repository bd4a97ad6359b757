//! Fast restore and locks, which EC2 takes only for a snapshot that exists.
//!
//! *Guarantees*: a call that was cut short between the creation and this leaves a snapshot that the
//! next try finds and goes on with. What is in force already is not asked for again by the process
//! that did it. If EC2 refuses for good, a snapshot that this very call made is deleted again, since
//! after a final answer nobody would; one that was there before is never deleted.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use csi_core::ebs::{Ebs, Snapshot, SnapshotLock};
use csi_core::parameters::SnapshotParameters;
use csi_core::{Chain, ErrorKind, Invalid, SnapshotId, Zone};
use tokio::time::Instant;
use tracing::warn;

use super::super::Shared;
use super::{CreateSnapshotError, remove};
use crate::call::{Failed, repeat};

/// What a class asks for beside the snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wish {
    zones: Vec<Zone>,
    lock: Option<SnapshotLock>,
}

impl Wish {
    fn of(parameters: &SnapshotParameters) -> Option<Self> {
        let (zones, lock) = (parameters.fast_restore_zones.clone(), parameters.lock);
        (!zones.is_empty() || lock.is_some()).then_some(Self { zones, lock })
    }
}

/// What this process has done already.
#[derive(Debug, Default)]
pub(in super::super) struct Protected(Mutex<HashMap<SnapshotId, Wish>>);

impl Protected {
    fn has(&self, snapshot: &SnapshotId, wish: &Wish) -> bool {
        let done = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        done.get(snapshot) == Some(wish)
    }

    fn done(&self, snapshot: SnapshotId, wish: Wish) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(snapshot, wish);
    }

    pub(super) fn forget(&self, snapshot: &SnapshotId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(snapshot);
    }
}

/// Checks the zones before anything is made. If EC2 does not list them now, it will judge them
/// itself.
pub(super) async fn check_zones<C: Ebs>(
    shared: &Shared<C>,
    parameters: &SnapshotParameters,
    until: Instant,
) -> Result<(), CreateSnapshotError> {
    if parameters.fast_restore_zones.is_empty() {
        return Ok(());
    }
    let zones = match repeat(until, || shared.ec2.describe_zones()).await {
        Ok(zones) => zones,
        Err(Failed { error, .. }) => {
            warn!(error = %Chain(&error), "zones for fast restore are not checked");
            return Ok(());
        }
    };
    match parameters.fast_restore_zones.iter().find(|zone| !zones.contains(zone)) {
        None => Ok(()),
        Some(unknown) => {
            let known: Vec<&str> = zones.iter().map(|zone| zone.0.as_str()).collect();
            let rule =
                format!("{unknown} is no zone of the region, which has {}", known.join(", "));
            Err(Invalid::new("fastSnapshotRestoreAvailabilityZones", rule).into())
        }
    }
}

/// Enables fast restore and locks the snapshot, as the class asks. `is_new` says whether this call
/// made the snapshot.
pub(super) async fn apply<C: Ebs>(
    shared: &Shared<C>,
    parameters: &SnapshotParameters,
    snapshot: &Snapshot,
    is_new: bool,
    until: Instant,
) -> Result<(), CreateSnapshotError> {
    let Some(wish) = Wish::of(parameters) else { return Ok(()) };
    let id = &snapshot.id;
    if shared.protected.has(id, &wish) {
        return Ok(());
    }
    if !wish.zones.is_empty() {
        let enable = || shared.ec2.enable_fast_restore(id.clone(), wish.zones.clone());
        if let Err(failed) = repeat(until, enable).await {
            return Err(give_up(shared, id, "made fast to restore", failed, is_new, until).await);
        }
    }
    if let Some(lock) = wish.lock {
        match repeat(until, || shared.ec2.lock_snapshot(id.clone(), lock)).await {
            // A lock that an earlier try set, and that cannot be changed any more.
            Err(failed) if failed.error.kind != ErrorKind::SnapshotInUse => {
                return Err(give_up(shared, id, "locked", failed, is_new, until).await);
            }
            Ok(()) | Err(_) => {}
        }
    }
    shared.protected.done(id.clone(), wish);
    Ok(())
}

async fn give_up<C: Ebs>(
    shared: &Shared<C>,
    snapshot: &SnapshotId,
    what: &'static str,
    failed: Failed,
    is_new: bool,
    until: Instant,
) -> CreateSnapshotError {
    let Failed { error, in_doubt } = failed;
    let is_final = match error.kind {
        ErrorKind::InvalidParameter | ErrorKind::Denied | ErrorKind::Quota => !in_doubt,
        _ => false,
    };
    let (snapshot, error) = (snapshot.clone(), Box::new(error));
    if is_new && is_final && remove(shared, &snapshot, until).await.is_ok() {
        return CreateSnapshotError::Unprotectable { snapshot, what, error };
    }
    CreateSnapshotError::Unprotected { snapshot, what, error }
}
