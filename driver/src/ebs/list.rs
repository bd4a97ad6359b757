//! Reads: `ListVolumes`, `ControllerGetVolume`, `ValidateVolumeCapabilities`, `ListSnapshots`,
//! `GetSnapshot`.

mod page;

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use csi_core::ebs::{Ebs, Page, Snapshot, SnapshotQuery, SnapshotState, Volume, VolumeQuery};
use csi_core::facts::PAGE_MAX;
use csi_core::request::{ListSnapshots, ListVolumes, PageRequest, SnapshotFilter};
use csi_core::{ApiError, ErrorKind, GrpcCode, SnapshotId, VolumeId};
use tokio::time::Instant;
use tonic::Code;

use super::Shared;
use super::spec::is_live;
use crate::call::{Failed, repeat};
use page::{Cursor, ec2_page};

/// A read answers soon or not at all.
const BOUND: Duration = Duration::from_secs(20);

/// Why a read has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReadError {
    /// There is no such volume.
    #[error("volume {volume} does not exist")]
    NoVolume {
        /// The volume.
        volume: VolumeId,
    },
    /// There is no such snapshot.
    #[error("snapshot {snapshot} does not exist in this account")]
    NoSnapshot {
        /// The snapshot.
        snapshot: SnapshotId,
    },
    /// The token is none of ours, or too old.
    #[error("starting_token: {token:?} is not valid; begin the listing anew")]
    BadToken {
        /// The token.
        token: String,
    },
    /// EC2 refused, or did not answer.
    #[error("cannot look at {subject}")]
    Failed {
        /// What was to be looked at.
        subject: String,
        /// EC2's answer, or its absence.
        #[source]
        error: ApiError,
    },
}

impl GrpcCode for ReadError {
    fn code(&self) -> Code {
        match self {
            Self::NoVolume { .. } | Self::NoSnapshot { .. } => Code::NotFound,
            // CSI specification, "ListVolumes Errors": the CO begins anew.
            Self::BadToken { .. } => Code::Aborted,
            Self::Failed { error, .. } => error.kind.grpc_code(),
        }
    }
}

/// A page for the CO.
#[derive(Debug)]
pub(super) struct Listing<T> {
    /// Its rows.
    pub(super) rows: Vec<T>,
    /// Token of the next page; empty after the last one.
    pub(super) next: String,
}

/// One volume.
pub(super) async fn volume<C: Ebs>(shared: &Shared<C>, id: VolumeId) -> Result<Volume, ReadError> {
    let found = shared.volume(&id, Instant::now() + BOUND).await;
    let found = found.map_err(|error| ReadError::Failed { subject: id.to_string(), error })?;
    found.filter(|volume| is_live(volume.state)).ok_or(ReadError::NoVolume { volume: id })
}

/// One snapshot.
pub(super) async fn snapshot<C: Ebs>(
    shared: &Shared<C>,
    id: SnapshotId,
) -> Result<Snapshot, ReadError> {
    let found = repeat(Instant::now() + BOUND, || shared.snapshots.up(id.clone())).await;
    let failed =
        |failed: Failed| ReadError::Failed { subject: id.to_string(), error: failed.error };
    let found = found.map_err(failed)?.filter(|snapshot| shows(shared, snapshot));
    found.ok_or(ReadError::NoSnapshot { snapshot: id })
}

/// A page of all volumes, the driver's and others: the attacher compares it with everything that
/// should be attached, volumes that the driver did not make among them.
pub(super) async fn volumes<C: Ebs>(
    shared: &Shared<C>,
    request: ListVolumes,
) -> Result<Listing<Volume>, ReadError> {
    list(&Volumes { shared, until: Instant::now() + BOUND }, request.page).await
}

/// A page of the account's snapshots.
pub(super) async fn snapshots<C: Ebs>(
    shared: &Shared<C>,
    request: ListSnapshots,
) -> Result<Listing<Snapshot>, ReadError> {
    let until = Instant::now() + BOUND;
    match request.filter {
        SnapshotFilter::All => list(&Snapshots { shared, until, of: None }, request.page).await,
        SnapshotFilter::Source(volume) => {
            list(&Snapshots { shared, until, of: Some(volume) }, request.page).await
        }
        SnapshotFilter::One(id, source) => {
            let mut rows = match snapshot(shared, id).await {
                Ok(snapshot) => vec![snapshot],
                Err(ReadError::NoSnapshot { .. }) => vec![],
                Err(error) => return Err(error),
            };
            rows.retain(|snapshot| source.is_none() || snapshot.volume == source);
            Ok(Listing { rows, next: String::new() })
        }
    }
}

fn shows<C>(shared: &Shared<C>, snapshot: &Snapshot) -> bool {
    matches!(snapshot.state, SnapshotState::Pending | SnapshotState::Completed)
        && !shared.recent.is_deleted(snapshot.id.as_str())
}

/// Something that EC2 lists in pages.
trait Rows {
    type Id: Display + FromStr;
    type Row;
    const SUBJECT: &'static str;

    fn id(row: &Self::Row) -> Self::Id;
    fn shows(&self, row: &Self::Row) -> bool;
    async fn by_id(&self, ids: Vec<Self::Id>) -> Result<Page<Self::Row>, Failed>;
    async fn page(&self, max: u16, token: Option<String>) -> Result<Page<Self::Row>, Failed>;
}

struct Volumes<'a, C> {
    shared: &'a Shared<C>,
    until: Instant,
}

impl<C: Ebs> Rows for Volumes<'_, C> {
    type Id = VolumeId;
    type Row = Volume;
    const SUBJECT: &'static str = "the volumes";

    fn id(row: &Volume) -> VolumeId {
        row.id.clone()
    }

    fn shows(&self, row: &Volume) -> bool {
        is_live(row.state) && !self.shared.recent.is_deleted(row.id.as_str())
    }

    async fn by_id(&self, ids: Vec<VolumeId>) -> Result<Page<Volume>, Failed> {
        let call = || self.shared.ec2.describe_volumes(VolumeQuery::Ids(ids.clone()));
        repeat(self.until, call).await
    }

    async fn page(&self, max: u16, token: Option<String>) -> Result<Page<Volume>, Failed> {
        let query = VolumeQuery::All { max, token };
        repeat(self.until, || self.shared.ec2.describe_volumes(query.clone())).await
    }
}

struct Snapshots<'a, C> {
    shared: &'a Shared<C>,
    until: Instant,
    of: Option<VolumeId>,
}

impl<C: Ebs> Rows for Snapshots<'_, C> {
    type Id = SnapshotId;
    type Row = Snapshot;
    const SUBJECT: &'static str = "the snapshots";

    fn id(row: &Snapshot) -> SnapshotId {
        row.id.clone()
    }

    fn shows(&self, row: &Snapshot) -> bool {
        shows(self.shared, row)
    }

    async fn by_id(&self, ids: Vec<SnapshotId>) -> Result<Page<Snapshot>, Failed> {
        let call = || self.shared.ec2.describe_snapshots(SnapshotQuery::Ids(ids.clone()));
        repeat(self.until, call).await
    }

    async fn page(&self, max: u16, token: Option<String>) -> Result<Page<Snapshot>, Failed> {
        let query = SnapshotQuery::All { volume: self.of.clone(), max, token };
        repeat(self.until, || self.shared.ec2.describe_snapshots(query.clone())).await
    }
}

async fn list<L: Rows>(source: &L, request: PageRequest) -> Result<Listing<L::Row>, ReadError> {
    let token = request.starting_token;
    let bad = || ReadError::BadToken { token: token.clone() };
    let failed = |Failed { error, .. }: Failed| match error.kind {
        ErrorKind::BadPageToken => bad(),
        _ => ReadError::Failed { subject: L::SUBJECT.to_owned(), error },
    };
    let mut cursor = Cursor::<L::Id>::parse(&token).map_err(|_bad| bad())?;
    let most = usize::from(PAGE_MAX);
    let wanted = request.max_entries.and_then(|max| usize::try_from(max).ok());
    let wanted = wanted.map_or(most, |wanted| wanted.min(most));

    let mut rows = Vec::new();
    if !cursor.kept.is_empty() {
        let ids = cursor.kept.drain(..cursor.kept.len().min(wanted)).collect();
        let found = source.by_id(ids).await.map_err(failed)?;
        rows.extend(found.items.into_iter().filter(|row| source.shows(row)));
    }
    while rows.len() < wanted && cursor.kept.is_empty() && !cursor.is_last {
        let room = wanted - rows.len();
        let page = source.page(ec2_page(room), cursor.token.take()).await.map_err(failed)?;
        cursor.is_last = page.next.is_none();
        cursor.token = page.next;
        let mut shown = page.items.into_iter().filter(|row| source.shows(row));
        rows.extend(shown.by_ref().take(room));
        cursor.kept = shown.map(|row| L::id(&row)).collect();
    }
    let ended = cursor.is_last && cursor.kept.is_empty();
    let next = if ended { String::new() } else { cursor.to_string() };
    Ok(Listing { rows, next })
}
