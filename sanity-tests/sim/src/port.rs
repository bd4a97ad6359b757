//! The world as the ports [`Ebs`] and [`csi_core::efs::Efs`]: what the controller is tested
//! against in paused time.

mod efs;

use std::time::Duration;

use csi_core::ebs::{
    Attachment, CreateSnapshot, CreateVolume, Ebs, Initialization, Instance, Modification,
    ModifyVolume, Page, SNAPSHOT_NAME_TAG, Snapshot, SnapshotLock, SnapshotQuery, Tags,
    VOLUME_NAME_TAG, Volume, VolumeQuery, VolumeSource,
};
use csi_core::{ApiError, ErrorKind, InstanceId, SnapshotId, VolumeId, Zone};

use crate::sim::{CallFailure, Sim};
use crate::world::call::{self, Describe, Filter};
use crate::world::instance::ROOT_DEVICE;
use crate::world::{Action, AwsError, Millis, World};

pub use efs::SimEfs;

/// The port to a simulated EBS.
#[derive(Debug, Clone)]
pub struct SimEbs {
    sim: Sim,
    latency: Duration,
}

impl SimEbs {
    /// Calls take 15 ms, about what EC2's answers take within a region.
    #[must_use]
    pub fn new(sim: Sim) -> Self {
        Self { sim, latency: Duration::from_millis(15) }
    }

    /// Lets calls take that long.
    #[must_use]
    pub fn with_latency(self, latency: Duration) -> Self {
        Self { latency, ..self }
    }

    /// The world behind.
    #[must_use]
    pub fn sim(&self) -> &Sim {
        &self.sim
    }

    async fn call<T>(
        &self,
        action: Action,
        subject: String,
        act: impl FnOnce(&mut World, Millis) -> Result<T, AwsError>,
    ) -> Result<T, ApiError> {
        call(&self.sim, self.latency, action, subject, act).await.map_err(|(error, _)| error)
    }
}

/// One call: half the latency on the way there, half on the way back, so that a caller who gives
/// up in between does not know whether it took effect. A refusal comes with the object that it
/// names.
async fn call<T>(
    sim: &Sim,
    latency: Duration,
    action: Action,
    subject: String,
    act: impl FnOnce(&mut World, Millis) -> Result<T, AwsError>,
) -> Result<T, (ApiError, Option<String>)> {
    // Whole milliseconds: tokio's timers would round halves up.
    let there = Duration::from_millis(latency.as_secs() * 500)
        + Duration::from_millis(u64::from(latency.subsec_millis() / 2));
    tokio::time::sleep(there).await;
    let result = sim.call(action, subject, act).await;
    tokio::time::sleep(latency.saturating_sub(there)).await;
    match result {
        Ok((answer, _)) => Ok(answer),
        Err(CallFailure::Refused { error, request_id }) => {
            let refused = ApiError {
                action: action.name(),
                kind: ErrorKind::from_code(&error.code, &error.message),
                code: error.code,
                message: error.message,
                request_id: Some(request_id),
            };
            Err((refused, error.resource))
        }
        Err(CallFailure::Lost) => {
            let lost = ApiError {
                action: action.name(),
                kind: ErrorKind::NoAnswer,
                code: "NoAnswer".to_owned(),
                message: "the connection was closed before a whole answer came".to_owned(),
                request_id: None,
            };
            Err((lost, None))
        }
    }
}

impl Ebs for SimEbs {
    async fn create_volume(&self, call: CreateVolume) -> Result<Volume, ApiError> {
        let subject = call.tags.get(VOLUME_NAME_TAG).cloned().unwrap_or_default();
        let record = match call.source.clone() {
            Some(VolumeSource::Volume(source)) => {
                let call = copy(call, &source);
                let act = |world: &mut World, now| world.copy_volumes(&call, now);
                self.call(Action::CopyVolumes, subject, act).await?
            }
            Some(VolumeSource::Snapshot(source)) => {
                let call = create(call, Some(source.to_string()));
                let act = |world: &mut World, now| world.create_volume(&call, now);
                self.call(Action::CreateVolume, subject, act).await?
            }
            None => {
                let call = create(call, None);
                let act = |world: &mut World, now| world.create_volume(&call, now);
                self.call(Action::CreateVolume, subject, act).await?
            }
        };
        Ok(record.volume)
    }

    async fn delete_volume(&self, id: VolumeId) -> Result<(), ApiError> {
        let act = |world: &mut World, now| world.delete_volume(id.as_str(), now);
        self.call(Action::DeleteVolume, id.to_string(), act).await
    }

    async fn attach_volume(
        &self,
        id: VolumeId,
        instance: InstanceId,
        device: String,
    ) -> Result<Attachment, ApiError> {
        let act = |world: &mut World, now| {
            world.attach_volume(id.as_str(), instance.as_str(), &device, now)
        };
        self.call(Action::AttachVolume, format!("{id} {instance} {device}"), act).await
    }

    async fn detach_volume(&self, id: VolumeId, instance: InstanceId) -> Result<(), ApiError> {
        let act = |world: &mut World, now| {
            world.detach_volume(id.as_str(), Some(instance.as_str()), now).map(|_attachment| ())
        };
        self.call(Action::DetachVolume, format!("{id} {instance}"), act).await
    }

    async fn modify_volume(&self, call: ModifyVolume) -> Result<Modification, ApiError> {
        let call = call::ModifyVolume {
            volume: call.volume.to_string(),
            size: call.size.map(|size| size.0),
            volume_type: call.volume_type,
            iops: call.iops,
            throughput: call.throughput,
            multi_attach: None,
        };
        let act = |world: &mut World, now| world.modify_volume(&call, now);
        let record = self.call(Action::ModifyVolume, call.volume.clone(), act).await?;
        Ok(record.modification)
    }

    async fn create_snapshot(&self, call: CreateSnapshot) -> Result<Snapshot, ApiError> {
        let call = call::CreateSnapshot {
            volume: call.volume.to_string(),
            description: call.description,
            tags: call.tags,
        };
        let act = |world: &mut World, now| world.create_snapshot(&call, now);
        let record = self.call(Action::CreateSnapshot, call.volume.clone(), act).await?;
        Ok(record.snapshot)
    }

    async fn delete_snapshot(&self, id: SnapshotId) -> Result<(), ApiError> {
        let act = |world: &mut World, now| world.delete_snapshot(id.as_str(), now);
        self.call(Action::DeleteSnapshot, id.to_string(), act).await
    }

    async fn dry_run_create(&self, call: CreateVolume) -> Result<(), ApiError> {
        let subject = "dry run".to_owned();
        let call = call::CreateVolume { client_token: None, dry_run: true, ..create(call, None) };
        let act = |world: &mut World, now| world.create_volume(&call, now);
        match self.call(Action::CreateVolume, subject, act).await {
            Err(error) if error.code == "DryRunOperation" => Ok(()),
            answer => answer.map(drop),
        }
    }

    async fn enable_fast_restore(&self, id: SnapshotId, zones: Vec<Zone>) -> Result<(), ApiError> {
        let zones: Vec<String> = zones.into_iter().map(|zone| zone.0).collect();
        let act = |world: &mut World, now| world.enable_fast_restore(id.as_str(), &zones, now);
        self.call(Action::EnableFastSnapshotRestores, id.to_string(), act).await
    }

    async fn lock_snapshot(&self, id: SnapshotId, lock: SnapshotLock) -> Result<(), ApiError> {
        let act = |world: &mut World, now| world.lock_snapshot(id.as_str(), lock, now);
        self.call(Action::LockSnapshot, id.to_string(), act).await
    }

    async fn create_tags(&self, id: VolumeId, tags: Tags) -> Result<(), ApiError> {
        let resources = [id.to_string()];
        let act = |world: &mut World, now| world.create_tags(&resources, &tags, now);
        self.call(Action::CreateTags, id.to_string(), act).await
    }

    async fn delete_tags(&self, id: VolumeId, keys: Vec<String>) -> Result<(), ApiError> {
        let resources = [id.to_string()];
        let keys: Vec<_> = keys.into_iter().map(|key| (key, None)).collect();
        let act = |world: &mut World, now| world.delete_tags(&resources, &keys, now);
        self.call(Action::DeleteTags, id.to_string(), act).await
    }

    async fn describe_volumes(&self, query: VolumeQuery) -> Result<Page<Volume>, ApiError> {
        let call = match query {
            VolumeQuery::Ids(ids) => filtered("volume-id", &ids),
            VolumeQuery::Names(names) => filtered(&format!("tag:{VOLUME_NAME_TAG}"), &names),
            VolumeQuery::All { max, token } => page(max, token, vec![]),
        };
        let act = |world: &mut World, now| world.describe_volumes(&call, now);
        let listing = self.call(Action::DescribeVolumes, call.subject(), act).await?;
        let items = listing.items.into_iter().map(|record| record.volume).collect();
        Ok(Page { items, next: listing.next_token })
    }

    async fn describe_snapshots(&self, query: SnapshotQuery) -> Result<Page<Snapshot>, ApiError> {
        let call = match query {
            SnapshotQuery::Ids(ids) => filtered("snapshot-id", &ids),
            SnapshotQuery::Names(names) => filtered(&format!("tag:{SNAPSHOT_NAME_TAG}"), &names),
            SnapshotQuery::All { volume, max, token } => {
                let filters = volume.map(|id| filter("volume-id", &[id]));
                page(max, token, filters.into_iter().collect())
            }
        };
        let act = |world: &mut World, now| world.describe_snapshots(&call, now);
        let listing = self.call(Action::DescribeSnapshots, call.subject(), act).await?;
        let items = listing.items.into_iter().map(|record| record.snapshot).collect();
        Ok(Page { items, next: listing.next_token })
    }

    async fn describe_instances(&self, ids: Vec<InstanceId>) -> Result<Vec<Instance>, ApiError> {
        let call = filtered("instance-id", &ids);
        let act = |world: &mut World, now| world.describe_instances(&call, now);
        let listing = self.call(Action::DescribeInstances, call.subject(), act).await?;
        let shown = listing.items.into_iter().map(|(record, attachments)| Instance {
            id: record.id,
            instance_type: record.instance_type,
            zone: Zone(record.zone),
            state: record.state,
            devices: attachments.into_iter().map(|a| (a.device, a.volume)).collect(),
            root_device: Some(ROOT_DEVICE.to_owned()),
        });
        Ok(shown.collect())
    }

    async fn describe_modifications(
        &self,
        ids: Vec<VolumeId>,
    ) -> Result<Vec<Modification>, ApiError> {
        let call = filtered("volume-id", &ids);
        let act = |world: &mut World, now| world.describe_modifications(&call, now);
        let listing = self.call(Action::DescribeVolumesModifications, call.subject(), act).await?;
        let started = |at| self.sim.with(|world, _now| world.wall_clock(at));
        let shown = listing.items.into_iter().map(|record| Modification {
            started_ms: Some(started(record.started)),
            ..record.modification
        });
        Ok(shown.collect())
    }

    async fn describe_initialization(
        &self,
        ids: Vec<VolumeId>,
    ) -> Result<Vec<Initialization>, ApiError> {
        // As the SDK adapter: one id that does not exist fails the call, and is left out of the next.
        let mut ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
        while !ids.is_empty() {
            let call = Describe { ids: ids.clone(), ..Describe::default() };
            let act = |world: &mut World, now| world.describe_volume_status(&call, now);
            match self.call(Action::DescribeVolumeStatus, call.subject(), act).await {
                Err(error) if error.kind == ErrorKind::VolumeNotFound => {
                    ids.retain(|id| !error.message.contains(id.as_str()));
                }
                answer => return answer.map(|listing| listing.items),
            }
        }
        Ok(Vec::new())
    }

    async fn describe_zones(&self) -> Result<Vec<Zone>, ApiError> {
        let act = |world: &mut World, _| Ok(world.zones());
        let zones = self.call(Action::DescribeAvailabilityZones, String::new(), act).await?;
        Ok(zones.into_iter().map(|zone| Zone(zone.name)).collect())
    }
}

fn create(call: CreateVolume, snapshot: Option<String>) -> call::CreateVolume {
    call::CreateVolume {
        client_token: Some(call.client_token),
        zone: Some(call.zone.0),
        size: Some(call.size.0),
        volume_type: Some(call.volume_type),
        iops: call.iops,
        throughput: call.throughput,
        encrypted: Some(call.encrypted),
        kms_key: call.kms_key,
        snapshot,
        initialization_rate: call.initialization_rate,
        multi_attach: Some(call.multi_attach),
        tags: call.tags,
        dry_run: false,
    }
}

fn copy(call: CreateVolume, source: &VolumeId) -> call::CopyVolumes {
    call::CopyVolumes {
        source: source.to_string(),
        client_token: Some(call.client_token),
        size: Some(call.size.0),
        volume_type: Some(call.volume_type),
        iops: call.iops,
        throughput: call.throughput,
        // As the SDK adapter sends it: named only where it is wanted.
        encrypted: call.encrypted.then_some(true),
        kms_key: call.kms_key,
        multi_attach: Some(call.multi_attach),
        tags: call.tags,
        dry_run: false,
    }
}

fn filter(name: &str, values: &[impl ToString]) -> Filter {
    Filter { name: name.to_owned(), values: values.iter().map(ToString::to_string).collect() }
}

fn filtered(name: &str, values: &[impl ToString]) -> Describe {
    Describe { filters: vec![filter(name, values)], ..Describe::default() }
}

fn page(max: u16, token: Option<String>, filters: Vec<Filter>) -> Describe {
    Describe { max_results: Some(max.into()), next_token: token, filters, ids: vec![] }
}
