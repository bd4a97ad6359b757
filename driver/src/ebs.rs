//! The EBS controller, over any EC2.

mod create;
mod delete;
mod devices;
mod initialize;
mod iops_limit;
mod list;
mod local;
mod look;
mod modify;
mod performance;
mod publish;
mod recent;
mod service;
mod snapshot;
mod spec;
mod tags;
mod token;
mod unpublish;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use csi_core::ebs::{
    Ebs, Initialization, Instance, Modification, Snapshot, SnapshotQuery, Tags, Volume, VolumeQuery,
};
use csi_core::parameters::InvalidTags;
use csi_core::{
    ApiError, InstanceId, Operations, SnapshotId, SnapshotName, VolumeId, VolumeName, Zone,
};
use tokio::time::Instant;

pub use service::{
    CAPABILITIES, DEVICE_PATH, LISTING_CAPABILITIES, OLDEST_KERNEL, VOLUME_ID, VOLUME_SIZE,
};

use devices::Devices;
use iops_limit::IopsLimits;
use look::{Cadence, Looker};
use recent::Recent;

/// What the operator of the driver decides.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// Tags on everything the driver makes. On volumes their values are templates.
    pub extra_tags: Tags,
    /// What becomes of tags that users got wrong.
    pub invalid_tags: InvalidTags,
    /// Id of the Kubernetes cluster, for the tags that name it.
    pub cluster_id: Option<String>,
    /// Whether `ListVolumes` is served. The attacher asks for it every minute and publishes again
    /// what it misses there, which costs an account with many volumes more than it is worth.
    pub list_volumes: bool,
    /// Whether volumes that EC2 attached otherwise are published by their device's name.
    pub node_local_volumes: bool,
    /// Release of the oldest kernel in the cluster, which new file systems must suit.
    pub oldest_kernel: Option<String>,
    /// How long a change of a volume waits for others to be made with it.
    pub modify_window: Duration,
}

/// The Controller service of the EBS driver. Clones share their state.
#[derive(Debug)]
pub struct EbsController<C> {
    shared: Arc<Shared<C>>,
}

impl<C> Clone for EbsController<C> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

/// What all operations share.
#[derive(Debug)]
struct Shared<C> {
    ec2: Arc<C>,
    settings: Settings,
    /// When this process began to see.
    started: Instant,
    operations: Operations<Key>,
    devices: Devices,
    recent: Recent,
    protected: snapshot::Protected,
    groups: modify::Groups,
    iops_limits: IopsLimits,
    volumes: Looker<VolumeId, Volume>,
    volumes_by_name: Looker<VolumeName, Vec<Volume>>,
    snapshots: Looker<SnapshotId, Snapshot>,
    snapshots_by_name: Looker<SnapshotName, Vec<Snapshot>>,
    instances: Looker<InstanceId, Instance>,
    modifications: Looker<VolumeId, Modification>,
    initializations: Looker<VolumeId, Initialization>,
}

/// What an operation claims.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    /// The making of a volume.
    VolumeName(VolumeName),
    /// The end of a volume.
    Delete(VolumeId),
    /// A volume's size, type and performance.
    Modify(VolumeId),
    /// A volume at an instance.
    Attachment(VolumeId, InstanceId),
    /// The making of a snapshot.
    SnapshotName(SnapshotName),
    /// The end of a snapshot.
    DeleteSnapshot(SnapshotId),
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::VolumeName(name) => write!(f, "volume {name}"),
            Self::Delete(volume) | Self::Modify(volume) => write!(f, "volume {volume}"),
            Self::Attachment(volume, instance) => write!(f, "volume {volume} at {instance}"),
            Self::SnapshotName(name) => write!(f, "snapshot {name}"),
            Self::DeleteSnapshot(snapshot) => write!(f, "snapshot {snapshot}"),
        }
    }
}

/// EC2 makes most volumes in 1 to 4 s.
const CREATING: Cadence = Cadence {
    first: Duration::from_secs(1),
    step: Duration::from_millis(50),
    steady: Duration::from_secs(2),
    part: 5,
};
/// EC2 attaches and detaches half of the volumes within 1 s and most within 3 s. Chosen by trying
/// schedules on bursts of 200 with EC2's spread: some 22 looks, half of the volumes seen within
/// 70 ms, and the slow ones, which looks at ever greater distance would miss for long, within 0.4 s.
const ATTACHING: Cadence = Cadence {
    first: Duration::from_millis(920),
    step: Duration::from_millis(100),
    steady: Duration::from_millis(1100),
    part: 7,
};
/// Modifications and snapshots take seconds to hours.
const SLOW: Cadence = Cadence {
    first: Duration::from_secs(1),
    step: Duration::from_millis(300),
    steady: Duration::from_secs(3),
    part: 5,
};
/// For what is there already and only has to become visible.
const APPEARING: Cadence = Cadence {
    first: Duration::from_millis(50),
    step: Duration::from_millis(200),
    steady: Duration::from_secs(2),
    part: 5,
};

impl<C: Ebs> EbsController<C> {
    /// A controller. Must be made within a runtime, since it starts the workers that look at EC2.
    #[must_use]
    pub fn new(ec2: C, settings: Settings) -> Self {
        let ec2 = Arc::new(ec2);
        Self {
            shared: Arc::new(Shared {
                settings,
                started: Instant::now(),
                operations: Operations::default(),
                devices: Devices::default(),
                recent: Recent::default(),
                protected: snapshot::Protected::default(),
                groups: modify::Groups::default(),
                iops_limits: IopsLimits::default(),
                volumes: volumes(&ec2),
                volumes_by_name: volumes_by_name(&ec2),
                snapshots: snapshots(&ec2),
                snapshots_by_name: snapshots_by_name(&ec2),
                instances: instances(&ec2),
                modifications: modifications(&ec2),
                initializations: initializations(&ec2),
                ec2,
            }),
        }
    }

    /// Waits until no operation is under way. Call it after the server has stopped taking calls.
    pub async fn drain(&self) {
        self.shared.operations.drain().await;
    }

    /// How many operations are under way.
    #[must_use]
    pub fn operations(&self) -> usize {
        self.shared.operations.len()
    }
}

impl<C: Ebs> Shared<C> {
    /// The most IOPS of a type in a zone, if EC2 tells.
    async fn most_iops(&self, type_name: &str, zone: &Zone) -> Option<u32> {
        self.iops_limits.most(&*self.ec2, &self.settings, type_name, zone).await
    }

    /// A volume as reads show it, less what this process knows to be deleted.
    async fn volume(&self, id: &VolumeId, until: Instant) -> Result<Option<Volume>, ApiError> {
        if self.recent.is_deleted(id.as_str()) {
            return Ok(None);
        }
        let look = || self.volumes.up(id.clone());
        crate::call::repeat(until, look).await.map_err(|failed| failed.error)
    }

    /// The volumes with a name, less those that this process knows to be deleted.
    async fn named(&self, name: &VolumeName, until: Instant) -> Result<Vec<Volume>, ApiError> {
        let look = || self.volumes_by_name.up(name.clone());
        let found = crate::call::repeat(until, look).await.map_err(|failed| failed.error)?;
        let mut found = found.unwrap_or_default();
        found.retain(|volume| !self.recent.is_deleted(volume.id.as_str()));
        Ok(found)
    }
}

fn volumes<C: Ebs>(ec2: &Arc<C>) -> Looker<VolumeId, Volume> {
    let ec2 = Arc::clone(ec2);
    Looker::new("DescribeVolumes", move |ids| {
        let ec2 = Arc::clone(&ec2);
        async move {
            let page = ec2.describe_volumes(VolumeQuery::Ids(ids)).await?;
            Ok(page.items.into_iter().map(|volume| (volume.id.clone(), volume)).collect())
        }
    })
}

fn volumes_by_name<C: Ebs>(ec2: &Arc<C>) -> Looker<VolumeName, Vec<Volume>> {
    let ec2 = Arc::clone(ec2);
    Looker::new("DescribeVolumes", move |names| {
        let ec2 = Arc::clone(&ec2);
        async move {
            let page = ec2.describe_volumes(VolumeQuery::Names(names)).await?;
            let name = |volume: &Volume| volume.tags.get(csi_core::ebs::VOLUME_NAME_TAG).cloned();
            Ok(by_name(page.items, name))
        }
    })
}

fn snapshots<C: Ebs>(ec2: &Arc<C>) -> Looker<SnapshotId, Snapshot> {
    let ec2 = Arc::clone(ec2);
    Looker::new("DescribeSnapshots", move |ids| {
        let ec2 = Arc::clone(&ec2);
        async move {
            let page = ec2.describe_snapshots(SnapshotQuery::Ids(ids)).await?;
            Ok(page.items.into_iter().map(|snapshot| (snapshot.id.clone(), snapshot)).collect())
        }
    })
}

fn snapshots_by_name<C: Ebs>(ec2: &Arc<C>) -> Looker<SnapshotName, Vec<Snapshot>> {
    let ec2 = Arc::clone(ec2);
    Looker::new("DescribeSnapshots", move |names| {
        let ec2 = Arc::clone(&ec2);
        async move {
            let page = ec2.describe_snapshots(SnapshotQuery::Names(names)).await?;
            let name = |snap: &Snapshot| snap.tags.get(csi_core::ebs::SNAPSHOT_NAME_TAG).cloned();
            Ok(by_name(page.items, name))
        }
    })
}

fn instances<C: Ebs>(ec2: &Arc<C>) -> Looker<InstanceId, Instance> {
    let ec2 = Arc::clone(ec2);
    Looker::new("DescribeInstances", move |ids| {
        let ec2 = Arc::clone(&ec2);
        async move {
            let found = ec2.describe_instances(ids).await?;
            Ok(found.into_iter().map(|instance| (instance.id.clone(), instance)).collect())
        }
    })
}

fn modifications<C: Ebs>(ec2: &Arc<C>) -> Looker<VolumeId, Modification> {
    let ec2 = Arc::clone(ec2);
    Looker::new("DescribeVolumesModifications", move |ids| {
        let ec2 = Arc::clone(&ec2);
        async move {
            let found = ec2.describe_modifications(ids).await?;
            Ok(found.into_iter().map(|found| (found.volume.clone(), found)).collect())
        }
    })
}

fn initializations<C: Ebs>(ec2: &Arc<C>) -> Looker<VolumeId, Initialization> {
    let ec2 = Arc::clone(ec2);
    Looker::new("DescribeVolumeStatus", move |ids| {
        let ec2 = Arc::clone(&ec2);
        async move {
            let found = ec2.describe_initialization(ids).await?;
            Ok(found.into_iter().map(|found| (found.volume.clone(), found)).collect())
        }
    })
}

/// Sorts what a look-up by name found under the names; what carries none is left out.
fn by_name<N, V>(items: Vec<V>, name: impl Fn(&V) -> Option<String>) -> BTreeMap<N, Vec<V>>
where
    N: std::str::FromStr + Ord,
{
    let mut found: BTreeMap<N, Vec<V>> = BTreeMap::new();
    for item in items {
        if let Some(Ok(name)) = name(&item).map(|name| name.parse()) {
            found.entry(name).or_default().push(item);
        }
    }
    found
}
