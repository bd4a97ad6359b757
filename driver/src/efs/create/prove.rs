//! The proof that the number of a new access point is its own.

use std::time::Duration;

use csi_core::efs::Efs;
use csi_core::{AccessPointId, ErrorKind};
use tokio::time::{Instant, sleep};
use tracing::warn;

use super::{CreateVolumeError, Maker, Tried};
use crate::call::repeat;
use crate::efs::ledger::{Listed, Verdict};

/// How long a new access point is waited for in listings, and a younger one with the same number is
/// given to yield. Both take one listing unless reads lag.
const PATIENCE: Duration = Duration::from_secs(8);
/// First pause between listings; it doubles.
const PAUSE: Duration = Duration::from_millis(50);
/// Longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

impl<C: Efs> Maker<C> {
    /// Lists until the access point is shown alone with its number. If it is not, it yields.
    pub(super) async fn prove(&self, id: AccessPointId) -> Result<Tried, CreateVolumeError> {
        let Some(pool) = self.spec.pool() else { return Ok(Tried::Done(id)) };
        let until = self.until.min(Instant::now() + PATIENCE);
        let mut pause = PAUSE;
        loop {
            let unseen = |error| CreateVolumeError::Unseen {
                name: self.spec.name.clone(),
                access_point: id.clone(),
                error,
            };
            let now = Listed::Since(Instant::now());
            self.ledger.list(&self.efs, now, self.until).await.map_err(|e| unseen(Some(e)))?;
            let late = Instant::now() + pause >= until;
            match self.ledger.verdict(&id, pool) {
                Verdict::Own => return Ok(Tried::Done(id)),
                Verdict::Unseen if late => return Err(unseen(None)),
                Verdict::Yield(other) => return self.give_up(id, other).await,
                Verdict::Wait(other) if late => return self.give_up(id, other).await,
                Verdict::Unseen | Verdict::Wait(_) => {}
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Deletes our access point, which nobody has been told of, because of another's.
    async fn give_up(
        &self,
        id: AccessPointId,
        other: AccessPointId,
    ) -> Result<Tried, CreateVolumeError> {
        warn!(access_point = %id, %other, "another access point has the same number; ours yields");
        let deleted = repeat(self.until, || self.efs.delete_access_point(id.clone())).await;
        match deleted {
            Err(failed) if failed.error.kind != ErrorKind::AccessPointNotFound => {
                let (name, error) = (self.spec.name.clone(), failed.error);
                Err(CreateVolumeError::Collision { name, access_point: id, other, error })
            }
            Ok(()) | Err(_) => {
                self.ledger.deleted(&id);
                Ok(Tried::Yielded)
            }
        }
    }
}
