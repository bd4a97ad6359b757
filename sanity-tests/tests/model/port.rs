//! A port that can be cut, as by `kill -9`: from then on no call returns, and of those in flight
//! some take effect and some do not. Like the real port it gives up on an answer after a while.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use csi_core::ebs::{
    Attachment, CreateSnapshot, CreateVolume, Ebs, Initialization, Instance, Modification,
    ModifyVolume, Page, Snapshot, SnapshotLock, SnapshotQuery, Tags, Volume, VolumeQuery,
};
use csi_core::{ApiError, ErrorKind, InstanceId, SnapshotId, VolumeId, Zone};
use csi_sim::SimEbs;
use sanity_tests::random::Random;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

/// The real port's patience with one call.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// A simulated EC2 behind a wire.
#[derive(Debug, Clone)]
pub(crate) struct Severed {
    ec2: SimEbs,
    patience: Duration,
    wire: Wire,
}

/// The wire to EC2. Clones are one.
#[derive(Debug, Clone)]
pub(crate) struct Wire(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    cut: watch::Sender<bool>,
    chance: Mutex<Random>,
    seen: Mutex<Vec<(Instant, ErrorKind)>>,
}

impl Severed {
    pub(crate) fn new(ec2: SimEbs, patience: Duration, seed: u64) -> Self {
        let inner = Inner {
            cut: watch::Sender::new(false),
            chance: Mutex::new(Random::new(seed)),
            seen: Mutex::default(),
        };
        Self { ec2, patience, wire: Wire(Arc::new(inner)) }
    }

    pub(crate) fn wire(&self) -> Wire {
        self.wire.clone()
    }

    async fn pass<T: Send + 'static>(
        &self,
        call: impl Future<Output = Result<T, ApiError>> + Send + 'static,
    ) -> Result<T, ApiError> {
        if *self.wire.0.cut.borrow() {
            return std::future::pending().await;
        }
        let mut call = InFlight(tokio::spawn(call), self.wire.clone());
        let answer = tokio::select! {
            biased;
            () = self.wire.until_cut() => return std::future::pending().await,
            answer = timeout(self.patience, &mut call.0) => answer,
        };
        let silence = || ApiError {
            action: "EC2",
            kind: ErrorKind::NoAnswer,
            code: "Timeout".to_owned(),
            message: "no answer".to_owned(),
            request_id: None,
        };
        let answer = match answer {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) | Err(_) => Err(silence()),
        };
        if let Err(error) = &answer {
            let mut seen = self.wire.0.seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.push((Instant::now(), error.kind));
        }
        answer
    }
}

impl Wire {
    /// Cuts it.
    pub(crate) fn cut(&self) {
        self.0.cut.send_replace(true);
    }

    pub(crate) async fn until_cut(&self) {
        let mut cut = self.0.cut.subscribe();
        // The sender lives as long as this.
        let _ = cut.wait_for(|cut| *cut).await;
    }

    /// The failures that came over it since then.
    pub(crate) fn seen_since(&self, began: Instant) -> Vec<ErrorKind> {
        let seen = self.0.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let late = seen.iter().rev().take_while(|(at, _kind)| *at >= began);
        late.map(|(_at, kind)| *kind).collect()
    }

    fn is_lucky(&self) -> bool {
        self.0.chance.lock().unwrap_or_else(PoisonError::into_inner).once_in(2)
    }
}

/// A call under way. Whoever gives it up closes its connection; but what a killed process had sent
/// may arrive all the same.
struct InFlight<T>(JoinHandle<T>, Wire);

impl<T> Drop for InFlight<T> {
    fn drop(&mut self) {
        if !*self.1.0.cut.borrow() || self.1.is_lucky() {
            self.0.abort();
        }
    }
}

/// By a macro, so that no action can be forgotten.
macro_rules! pass {
    ($($method:ident($($argument:ident: $type:ty),*) -> $answer:ty;)*) => {
        impl Ebs for Severed {
            $(
                async fn $method(&self, $($argument: $type),*) -> Result<$answer, ApiError> {
                    let ec2 = self.ec2.clone();
                    self.pass(async move { ec2.$method($($argument),*).await }).await
                }
            )*
        }
    };
}

pass! {
    create_volume(call: CreateVolume) -> Volume;
    dry_run_create(call: CreateVolume) -> ();
    delete_volume(id: VolumeId) -> ();
    attach_volume(id: VolumeId, instance: InstanceId, device: String) -> Attachment;
    detach_volume(id: VolumeId, instance: InstanceId) -> ();
    modify_volume(call: ModifyVolume) -> Modification;
    create_snapshot(call: CreateSnapshot) -> Snapshot;
    delete_snapshot(id: SnapshotId) -> ();
    enable_fast_restore(id: SnapshotId, zones: Vec<Zone>) -> ();
    lock_snapshot(id: SnapshotId, lock: SnapshotLock) -> ();
    create_tags(id: VolumeId, tags: Tags) -> ();
    delete_tags(id: VolumeId, keys: Vec<String>) -> ();
    describe_volumes(query: VolumeQuery) -> Page<Volume>;
    describe_snapshots(query: SnapshotQuery) -> Page<Snapshot>;
    describe_instances(ids: Vec<InstanceId>) -> Vec<Instance>;
    describe_modifications(ids: Vec<VolumeId>) -> Vec<Modification>;
    describe_initialization(ids: Vec<VolumeId>) -> Vec<Initialization>;
    describe_zones() -> Vec<Zone>;
}
