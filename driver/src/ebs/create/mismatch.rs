//! What a used client token means.
//!
//! EC2 answers `IdempotentParameterMismatch` if a token was used with other parameters, and also
//! if its volume failed later. Which it was, the volumes with the name's tag tell.

use std::time::Duration;

use csi_core::ebs::{Ebs, Volume};
use csi_core::facts::READ_LAG_BOUND;
use tokio::time::Instant;

use super::super::APPEARING;
use super::super::look::WaitEnd;
use super::{CreateVolumeError, Maker, Tried};

/// How long later tokens of a name are looked for, once [`READ_LAG_BOUND`] has passed for the
/// first. Only a second controller that walks the same tokens at this moment, with other
/// parameters, could have made something younger.
const LATER: Duration = Duration::from_secs(2);

impl<C: Ebs> Maker<C> {
    /// Looks for the volume that the token made. A live one decides at once. What was made before
    /// the mismatch was answered is visible when [`READ_LAG_BOUND`] has passed; if nothing live is
    /// seen until then, the token's volume failed or was deleted, and the next token is free.
    pub(super) async fn after_mismatch(&self, n: u32) -> Result<Tried, CreateVolumeError> {
        let bound = (self.began + READ_LAG_BOUND).max(Instant::now() + LATER);
        let not_yet = || CreateVolumeError::NotYetSeen { name: self.spec.name.clone(), tokens: n };
        if bound >= self.until {
            return Err(not_yet());
        }
        match self.appears(bound).await {
            Ok(Ok(None)) => Ok(Tried::Spent),
            Ok(Ok(Some(volume))) => Ok(Tried::Volume(Box::new(volume))),
            Ok(Err(error)) => Err(error),
            Err(WaitEnd::TimedOut) => Err(not_yet()),
            Err(WaitEnd::Refused(error)) => {
                Err(CreateVolumeError::Unknown { name: self.spec.name.clone(), error })
            }
        }
    }

    /// The live volume of the name, or none if none is seen until `bound`.
    pub(super) async fn appears(
        &self,
        bound: Instant,
    ) -> Result<Result<Option<Volume>, CreateVolumeError>, WaitEnd> {
        let judge = |seen: Option<Vec<Volume>>| {
            let mut seen = seen.unwrap_or_default();
            seen.retain(|volume| !self.shared.recent.is_deleted(volume.id.as_str()));
            match self.adopt(seen) {
                Ok(None) if Instant::now() < bound => None,
                decided => Some(decided),
            }
        };
        let looks = &self.shared.volumes_by_name;
        looks.until(&self.spec.name, APPEARING, self.until, judge).await
    }
}
