//! The deletion of a volume's directory, by the rules of [`csi_core::efs::removal`].
//!
//! *Flow.* The directory is judged among all access points of the file system; the file system is
//! mounted; the directory is moved into a trash folder, and judged once more when every access point
//! that was made before is sure to be listed; then it is deleted there. The access point is deleted
//! last.
//!
//! *Guarantees.* Until the access point is gone the call can be repeated from any point at which it
//! was cut: the mount goes with the process, an entry of the trash names its access point, and the
//! next call goes on with it. Entries whose access point is gone are deleted by the next use of the
//! file system.

pub(crate) mod tree;
mod whole;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use csi_core::efs::removal::{Kept, Removal};
use csi_core::efs::{AccessPoint, Efs, LifeCycleState, Secrets};
use csi_core::facts::efs::READ_LAG_BOUND;
use csi_core::{AccessPointId, FileSystemId};
use csi_serve::runtime::apart;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::tree::TreeError;
use super::delete::DeleteVolumeError;
use super::ledger::{Ledger, Listed};
use super::roots::Roots;
use crate::call::repeat;

pub use tree::TRASH;
pub use whole::{ThroughTunnel, Way, Where, Whole, WholeError, Wholes};

/// Directories that are deleted at once, each by a thread. More than that the file system's quota of
/// requests would slow down anyway, with everybody else's.
const AT_ONCE: usize = 4;

/// Deletes directories.
#[derive(Debug)]
pub(super) struct Remover<W> {
    wholes: W,
    purges: Semaphore,
    stop: CancellationToken,
}

/// A volume whose directory is to go.
pub(super) struct Doomed<'a, C> {
    pub(super) efs: &'a C,
    pub(super) ledger: &'a Ledger,
    pub(super) roots: &'a Roots,
    pub(super) secrets: &'a Secrets,
    pub(super) own: &'a AccessPoint,
    pub(super) until: Instant,
}

impl<W: Wholes> Remover<W> {
    pub(super) fn new(wholes: W) -> Self {
        Self { wholes, purges: Semaphore::new(AT_ONCE), stop: CancellationToken::new() }
    }

    /// Lets deletions under way end soon; they can be repeated.
    pub(super) fn stop(&self) {
        self.stop.cancel();
    }

    /// Deletes the directory of an access point, or says in the log why it stays.
    pub(super) async fn remove<C: Efs>(
        &self,
        doomed: &Doomed<'_, C>,
    ) -> Result<(), DeleteVolumeError> {
        match self.try_remove(doomed).await {
            Err(DeleteVolumeError::Tree { error: TreeError::Kept(why), .. }) => {
                let Doomed { own, .. } = doomed;
                warn!(
                    access_point = %own.id, file_system = %own.file_system, path = own.root.path,
                    %why, "the volume is deleted and its directory stays"
                );
                Ok(())
            }
            other => other,
        }
    }

    async fn try_remove<C: Efs>(&self, doomed: &Doomed<'_, C>) -> Result<(), DeleteVolumeError> {
        let Doomed { roots, own, ledger, .. } = doomed;
        let kept = |why: Kept| tree_error(own, why.into());
        doomed.list().await?;
        let removal = match (ledger.judge(own), Removal::of_path(&own.root.path)) {
            (Ok(removal), _) => removal,
            // An earlier call may have moved it before the other access point was seen.
            (Err(why @ Kept::Shared { .. }), Some(removal)) => {
                let whole = self.open(doomed).await?;
                dig_up(&whole, &removal, own).await?;
                return Err(kept(why));
            }
            (Err(why), _) => return Err(kept(why)),
        };
        let _busy = roots
            .delete(&own.file_system, &own.root.path)
            .ok_or_else(|| DeleteVolumeError::Busy { path: own.root.path.clone() })?;
        let whole = self.open(doomed).await?;
        bury(&whole, &removal, own).await?;
        if !self.has_rested(&whole, own).await? {
            return Ok(());
        }
        doomed.list().await?;
        if let Err(why) = ledger.judge(own) {
            dig_up(&whole, &removal, own).await?;
            return Err(kept(why));
        }
        self.purge(&whole, doomed).await
    }

    async fn open<C: Efs>(&self, doomed: &Doomed<'_, C>) -> Result<Arc<Whole>, DeleteVolumeError> {
        let way = doomed.way().await?;
        self.wholes.open(way).await.map_err(|error| DeleteVolumeError::Whole {
            access_point: doomed.own.id.clone(),
            error: Box::new(error),
        })
    }

    /// Waits until a listing shows every access point that was made before the directory was moved,
    /// by another controller too; false if nothing was moved.
    async fn has_rested(
        &self,
        whole: &Arc<Whole>,
        own: &AccessPoint,
    ) -> Result<bool, DeleteVolumeError> {
        let id = own.id.clone();
        let entries = within(whole, own, move |whole| tree::entries(whole.root()?, &id)).await?;
        let Some(youngest) = entries.into_iter().map(|(_, at)| at).max() else { return Ok(false) };
        let age = SystemTime::now().duration_since(youngest).unwrap_or_default();
        tokio::select! {
            () = sleep(READ_LAG_BOUND.saturating_sub(age)) => Ok(true),
            () = self.stop.cancelled() => Err(tree_error(own, TreeError::Stopped)),
        }
    }

    /// Deletes what the trash holds of the access point, and of those that are gone.
    async fn purge<C: Efs>(
        &self,
        whole: &Arc<Whole>,
        doomed: &Doomed<'_, C>,
    ) -> Result<(), DeleteVolumeError> {
        let Doomed { own, .. } = doomed;
        let Ok(_turn) = self.purges.acquire().await else { return Ok(()) };
        let (own_id, stop) = (own.id.clone(), self.stop.clone());
        let alive = doomed.ledger.ids();
        let wanted = move |id: &AccessPointId| *id == own_id || !alive.contains(id);
        let removed =
            within(whole, own, move |whole| tree::purge(whole.root()?, wanted, &stop)).await?;
        info!(access_point = %own.id, removed, "the volume's directory is deleted");
        Ok(())
    }
}

impl<C: Efs> Doomed<'_, C> {
    async fn list(&self) -> Result<(), DeleteVolumeError> {
        let listed = self.ledger.list(self.efs, Listed::Since(Instant::now()), self.until).await;
        listed.map_err(|error| {
            let file_system = self.own.file_system.clone();
            DeleteVolumeError::Listing { file_system, error }
        })
    }

    /// How to get to the file system: by its name, which leads to the target of the own zone, and if
    /// that fails, or leads nowhere because the file system is another account's, by address.
    async fn way(&self) -> Result<Way, DeleteVolumeError> {
        let file_system: FileSystemId = self.own.file_system.clone();
        let by_name = self.secrets.role.is_none();
        let look = || self.efs.describe_mount_targets(file_system.clone());
        let addresses = match repeat(self.until, look).await {
            Ok(targets) => {
                let usable = targets.into_iter().filter(|t| t.state == LifeCycleState::Available);
                let four = |t: &csi_core::efs::MountTarget| t.ipv4.map(IpAddr::from);
                usable.filter_map(|t| four(&t).or_else(|| t.ipv6.map(IpAddr::from))).collect()
            }
            // The name alone will do.
            Err(failed) if by_name => {
                info!(error = %failed.error, "the addresses of mount targets are not known");
                Vec::new()
            }
            Err(failed) => {
                return Err(DeleteVolumeError::Targets { file_system, error: failed.error });
            }
        };
        Ok(Way { file_system, by_name, addresses })
    }
}

/// Runs calls that may hang in a thread of their own.
async fn within<T: Send + 'static>(
    whole: &Arc<Whole>,
    own: &AccessPoint,
    work: impl FnOnce(&Whole) -> Result<T, TreeError> + Send + 'static,
) -> Result<T, DeleteVolumeError> {
    let whole = Arc::clone(whole);
    let ended = apart("efs-delete", move || work(&whole)).await;
    ended.unwrap_or_else(|error| Err(error.into())).map_err(|error| tree_error(own, error))
}

async fn bury(
    whole: &Arc<Whole>,
    removal: &Removal,
    own: &AccessPoint,
) -> Result<(), DeleteVolumeError> {
    let (removal, id) = (removal.clone(), own.id.clone());
    within(whole, own, move |whole| tree::bury(whole.root()?, &removal, &id)).await.map(drop)
}

/// Puts back what was moved.
async fn dig_up(
    whole: &Arc<Whole>,
    removal: &Removal,
    own: &AccessPoint,
) -> Result<(), DeleteVolumeError> {
    let (removal, id) = (removal.clone(), own.id.clone());
    let kept = within(whole, own, move |whole| {
        let root = whole.root()?;
        let mut kept = Vec::new();
        for (entry, _) in tree::entries(root, &id)? {
            if !tree::dig_up(root, &removal, &entry)? {
                kept.push(entry);
            }
        }
        Ok(kept)
    });
    for entry in kept.await? {
        warn!(
            access_point = %own.id, path = own.root.path, entry,
            "another access point has a directory of this path by now; the volume's files are kept \
             in the trash folder"
        );
    }
    Ok(())
}

fn tree_error(own: &AccessPoint, error: TreeError) -> DeleteVolumeError {
    DeleteVolumeError::Tree { access_point: own.id.clone(), error }
}
