//! What is known of the access points of one file system, shared by all operations on it.
//!
//! EFS neither chooses a POSIX identity nor refuses one that another access point has, so two
//! volumes can get the same group and read each other's files. A number is therefore
//!
//! 1. *reserved* in this process before the access point is made, so that no other call here
//!    chooses it;
//! 2. chosen among those that no access point of a listing has that is at most [`MAX_AGE`] old. Calls
//!    share listings: one that waits for a listing takes the result of any that began late enough;
//! 3. *proved* after the access point is made: the file system is listed until the new one is
//!    shown. If another shows the same number, the younger one yields: it is deleted, and another
//!    number is chosen. The older waits until the other is gone, and yields too if it stays.
//!
//! Two controllers cannot both keep a number: each proves only in a listing that shows its own
//! access point, and of two the later one to become visible is shown together with the other.

mod numbers;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use csi_core::efs::removal::{Kept, Removal, judge};
use csi_core::efs::{AccessPoint, AccessPointQuery, Efs};
use csi_core::facts::efs::PAGE_MAX;
use csi_core::{AccessPointId, ApiError, FileSystemId};
use tokio::time::Instant;

use crate::call::{bounded, repeat};
use numbers::Numbers;
pub(super) use numbers::{Exhausted, Pool, Verdict};

/// How old the listing may be among whose access points a number is chosen. What others made
/// meanwhile is found by the proof.
pub(super) const MAX_AGE: Duration = Duration::from_secs(30);

/// What a listing must show.
#[derive(Debug, Clone, Copy)]
pub(super) enum Listed {
    /// The state of a short while ago.
    Lately,
    /// The state at this time or later.
    Since(Instant),
}

/// The access points of a file system.
#[derive(Debug)]
pub(super) struct Ledger {
    file_system: FileSystemId,
    numbers: Mutex<Numbers>,
    /// Held by the one caller that lists.
    turn: tokio::sync::Mutex<Last>,
}

/// The last listings.
#[derive(Debug, Default)]
struct Last {
    /// When the last one began that succeeded.
    success: Option<Instant>,
    /// When the last one began that failed, and how.
    failure: Option<(Instant, ApiError)>,
}

impl Listed {
    fn is_met(self, began: Instant) -> bool {
        match self {
            Self::Lately => began.elapsed() < MAX_AGE,
            Self::Since(time) => began >= time,
        }
    }
}

impl Ledger {
    pub(super) fn new(file_system: FileSystemId) -> Self {
        Self { file_system, numbers: Mutex::default(), turn: tokio::sync::Mutex::default() }
    }

    /// Lists the file system, unless somebody else's listing will do.
    #[expect(clippy::significant_drop_tightening, reason = "the turn lasts as long as the listing")]
    pub(super) async fn list<C: Efs>(
        &self,
        efs: &C,
        wanted: Listed,
        until: Instant,
    ) -> Result<(), ApiError> {
        let asked = Instant::now();
        let turn = async { Ok(self.turn.lock().await) };
        let mut last = bounded(until, turn).await?;
        if last.success.is_some_and(|began| wanted.is_met(began)) {
            return Ok(());
        }
        // A failure is as good as one's own if it came while one waited.
        if let Some((began, error)) = &last.failure
            && *began >= asked
        {
            return Err(error.clone());
        }
        let began = Instant::now();
        match self.pages(efs, until).await {
            Ok(all) => {
                self.numbers().listed(all, began, Instant::now());
                *last = Last { success: Some(began), failure: None };
                Ok(())
            }
            Err(error) => {
                last.failure = Some((began, error.clone()));
                Err(error)
            }
        }
    }

    async fn pages<C: Efs>(&self, efs: &C, until: Instant) -> Result<Vec<AccessPoint>, ApiError> {
        let mut all = Vec::new();
        let mut token = None;
        loop {
            let query = AccessPointQuery::FileSystem {
                file_system: self.file_system.clone(),
                max: PAGE_MAX,
                token,
            };
            let page = repeat(until, || efs.describe_access_points(query.clone())).await;
            let page = page.map_err(|failed| failed.error)?;
            all.extend(page.items);
            if page.next.is_none() {
                return Ok(all);
            }
            token = page.next;
        }
    }

    fn numbers(&self) -> MutexGuard<'_, Numbers> {
        // Nothing below panics while it holds the lock, so poisoned numbers are still whole.
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reserves a free number of the range for the access point that `token` makes. The search
    /// begins at a place that `seed` decides.
    pub(super) fn reserve(
        self: &Arc<Self>,
        pool: Pool,
        range: &std::ops::RangeInclusive<u32>,
        seed: u64,
        token: &str,
    ) -> Result<Reserved, Exhausted> {
        let number = self.numbers().reserve(pool, range, (seed, token), Instant::now())?;
        let token = token.to_owned();
        Ok(Reserved { ledger: Arc::clone(self), number, token, settled: false })
    }

    /// The access point that a token made, as far as listings show.
    pub(super) fn by_token(&self, token: &str) -> Option<AccessPointId> {
        self.numbers().by_token(token)
    }

    /// Takes note of an access point that this process made just now; nobody has it yet.
    pub(super) fn made(&self, access_point: &AccessPoint) {
        self.numbers().made(access_point, Instant::now());
    }

    /// Takes note of an access point that was there.
    pub(super) fn found(&self, access_point: &AccessPoint) {
        self.numbers().found(access_point, Instant::now());
    }

    /// Takes note that this process deleted an access point.
    pub(super) fn deleted(&self, id: &AccessPointId) {
        self.numbers().deleted(id, Instant::now());
    }

    /// Whether this process deleted it so lately that reads may still show it.
    pub(super) fn is_deleted(&self, id: &AccessPointId) -> bool {
        self.numbers().is_deleted(id, Instant::now())
    }

    /// Whether this process made it and has not proved that its number is its own.
    pub(super) fn is_unproved(&self, id: &AccessPointId) -> bool {
        self.numbers().is_unproved(id)
    }

    /// Whether an access point's directory may be deleted, among all that are known.
    pub(super) fn judge(&self, own: &AccessPoint) -> Result<Removal, Kept> {
        judge(own, self.numbers().neighbours())
    }

    /// The access points that the last listing shows, and those that are too young to be shown.
    pub(super) fn ids(&self) -> HashSet<AccessPointId> {
        self.numbers().ids()
    }

    /// What the listings say about the number of an access point.
    pub(super) fn verdict(&self, id: &AccessPointId, pool: Pool) -> Verdict {
        self.numbers().verdict(id, pool)
    }
}

/// A number that no other call chooses. Dropped, what became of it is unknown, and only its own
/// token gets it again before a listing tells.
#[derive(Debug)]
pub(super) struct Reserved {
    ledger: Arc<Ledger>,
    /// The number.
    pub(super) number: u32,
    token: String,
    settled: bool,
}

impl Reserved {
    /// The number is not used, or by an access point that the ledger knows.
    pub(super) fn release(mut self) {
        self.settled = true;
        self.ledger.numbers().release(self.number);
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if !self.settled {
            self.ledger.numbers().doubt(self.number, &self.token, Instant::now());
        }
    }
}
