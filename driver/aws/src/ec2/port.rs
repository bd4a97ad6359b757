//! The port, method by method: the request's fields, one call, the answer's fields.

use std::collections::BTreeMap;

use aws_sdk_ec2::operation::RequestId;
use aws_sdk_ec2::operation::enable_fast_snapshot_restores::EnableFastSnapshotRestoresOutput;
use aws_sdk_ec2::primitives::DateTime;
use aws_sdk_ec2::types::{LockMode as SdkLockMode, Reservation, ResourceType, Tag, VolumeType};
use csi_core::ebs::{
    Attachment, CreateSnapshot, CreateVolume, Ebs, Initialization, Instance, LockEnd, LockMode,
    Modification, ModifyVolume, Page, SNAPSHOT_NAME_TAG, Snapshot, SnapshotLock, SnapshotQuery,
    Tags, VOLUME_NAME_TAG, Volume, VolumeQuery, VolumeSource,
};
use csi_core::{ApiError, ErrorKind, InstanceId, SnapshotId, VolumeId, Zone};

use super::Ec2;
use super::calls::next;
use super::request::{filters, int, sdk_tags, tag_filter, tags_of};
use crate::action::Action;
use crate::parse::{self, odd};

impl Ebs for Ec2 {
    async fn create_volume(&self, call: CreateVolume) -> Result<Volume, ApiError> {
        match &call.source {
            Some(VolumeSource::Volume(source)) => self.copy_volume(&call, source).await,
            Some(VolumeSource::Snapshot(source)) => self.new_volume(&call, Some(source)).await,
            None => self.new_volume(&call, None).await,
        }
    }

    async fn delete_volume(&self, id: VolumeId) -> Result<(), ApiError> {
        let request = self.client().await.delete_volume().volume_id(id.as_str());
        self.call(Action::DeleteVolume, || request.clone().send()).await.map(drop)
    }

    async fn attach_volume(
        &self,
        id: VolumeId,
        instance: InstanceId,
        device: String,
    ) -> Result<Attachment, ApiError> {
        let request = self
            .client()
            .await
            .attach_volume()
            .volume_id(id.as_str())
            .instance_id(instance.as_str())
            .device(device);
        let answer = self.call(Action::AttachVolume, || request.clone().send()).await?;
        parse::attachment_from(answer).map_err(|found| odd(Action::AttachVolume, &found))
    }

    async fn detach_volume(&self, id: VolumeId, instance: InstanceId) -> Result<(), ApiError> {
        let request = self
            .client()
            .await
            .detach_volume()
            .volume_id(id.as_str())
            .instance_id(instance.as_str());
        self.call(Action::DetachVolume, || request.clone().send()).await.map(drop)
    }

    async fn modify_volume(&self, call: ModifyVolume) -> Result<Modification, ApiError> {
        let request = self
            .client()
            .await
            .modify_volume()
            .volume_id(call.volume.as_str())
            .set_size(call.size.map(|size| int(size.0)))
            .set_volume_type(call.volume_type.as_deref().map(VolumeType::from))
            .set_iops(call.iops.map(int))
            .set_throughput(call.throughput.map(int));
        let answer = self.call(Action::ModifyVolume, || request.clone().send()).await?;
        answer
            .volume_modification()
            .ok_or(parse::Odd::Missing("volumeModification"))
            .and_then(parse::modification)
            .map_err(|found| odd(Action::ModifyVolume, &found))
    }

    async fn create_snapshot(&self, call: CreateSnapshot) -> Result<Snapshot, ApiError> {
        let request = self
            .client()
            .await
            .create_snapshot()
            .volume_id(call.volume.as_str())
            .description(&call.description)
            .set_tag_specifications(tags_of(ResourceType::Snapshot, &call.tags));
        let answer = self.call(Action::CreateSnapshot, || request.clone().send()).await?;
        parse::snapshot_from(answer).map_err(|found| odd(Action::CreateSnapshot, &found))
    }

    async fn delete_snapshot(&self, id: SnapshotId) -> Result<(), ApiError> {
        let request = self.client().await.delete_snapshot().snapshot_id(id.as_str());
        self.call(Action::DeleteSnapshot, || request.clone().send()).await.map(drop)
    }

    async fn dry_run_create(&self, call: CreateVolume) -> Result<(), ApiError> {
        let source = match &call.source {
            Some(VolumeSource::Snapshot(source)) => Some(source),
            Some(VolumeSource::Volume(_)) | None => None,
        };
        let request = self.new_volume_request(&call, source).await.dry_run(true);
        match self.call(Action::CreateVolume, || request.clone().send()).await {
            Err(error) if error.code == "DryRunOperation" => Ok(()),
            answer => answer.map(drop),
        }
    }

    async fn enable_fast_restore(&self, id: SnapshotId, zones: Vec<Zone>) -> Result<(), ApiError> {
        const ACTION: Action = Action::EnableFastSnapshotRestores;
        let request = self
            .client()
            .await
            .enable_fast_snapshot_restores()
            .source_snapshot_ids(id.as_str())
            .set_availability_zones(Some(zones.into_iter().map(|zone| zone.0).collect()));
        let answer = self.call(ACTION, || request.clone().send()).await?;
        let request_id = answer.request_id().map(str::to_owned);
        match first_unsuccessful(&answer) {
            None => Ok(()),
            Some((code, message)) => Err(ApiError {
                action: ACTION.name(),
                kind: ErrorKind::from_code(&code, &message),
                code,
                message,
                request_id,
            }),
        }
    }

    async fn lock_snapshot(&self, id: SnapshotId, lock: SnapshotLock) -> Result<(), ApiError> {
        let (days, date) = match lock.end {
            LockEnd::AfterDays(days) => (Some(int(days)), None),
            LockEnd::At { seconds } => (None, Some(DateTime::from_secs(seconds))),
        };
        let mode = match lock.mode {
            LockMode::Governance => SdkLockMode::Governance,
            LockMode::Compliance => SdkLockMode::Compliance,
        };
        let request = self
            .client()
            .await
            .lock_snapshot()
            .snapshot_id(id.as_str())
            .lock_mode(mode)
            .set_lock_duration(days)
            .set_expiration_date(date)
            .set_cool_off_period(lock.cool_off_hours.map(int));
        self.call(Action::LockSnapshot, || request.clone().send()).await.map(drop)
    }

    async fn create_tags(&self, id: VolumeId, tags: Tags) -> Result<(), ApiError> {
        let request = self
            .client()
            .await
            .create_tags()
            .resources(id.as_str())
            .set_tags(Some(sdk_tags(&tags)));
        self.call(Action::CreateTags, || request.clone().send()).await.map(drop)
    }

    async fn delete_tags(&self, id: VolumeId, keys: Vec<String>) -> Result<(), ApiError> {
        // Without keys EC2 would remove every tag.
        if keys.is_empty() {
            return Ok(());
        }
        let tags = keys.into_iter().map(|key| Tag::builder().key(key).build()).collect();
        let request = self.client().await.delete_tags().resources(id.as_str()).set_tags(Some(tags));
        self.call(Action::DeleteTags, || request.clone().send()).await.map(drop)
    }

    async fn describe_volumes(&self, query: VolumeQuery) -> Result<Page<Volume>, ApiError> {
        match query {
            VolumeQuery::Ids(ids) => self.volumes("volume-id", &ids).await,
            VolumeQuery::Names(names) => self.volumes(&tag_filter(VOLUME_NAME_TAG), &names).await,
            VolumeQuery::All { max, token } => {
                self.volume_page(None, Some(i32::from(max)), token).await
            }
        }
    }

    async fn describe_snapshots(&self, query: SnapshotQuery) -> Result<Page<Snapshot>, ApiError> {
        match query {
            SnapshotQuery::Ids(ids) => self.snapshots("snapshot-id", &ids).await,
            SnapshotQuery::Names(names) => {
                self.snapshots(&tag_filter(SNAPSHOT_NAME_TAG), &names).await
            }
            SnapshotQuery::All { volume, max, token } => {
                let filter = volume.and_then(|volume| filters("volume-id", &[volume]).next());
                self.snapshot_page(filter, Some(i32::from(max)), token).await
            }
        }
    }

    async fn describe_instances(&self, ids: Vec<InstanceId>) -> Result<Vec<Instance>, ApiError> {
        const ACTION: Action = Action::DescribeInstances;
        let mut found = Vec::with_capacity(ids.len());
        for filter in filters("instance-id", &ids) {
            let mut request = self.client().await.describe_instances().filters(filter);
            loop {
                let answer = self.call(ACTION, || request.clone().send()).await?;
                for row in answer.reservations().iter().flat_map(Reservation::instances) {
                    found.push(parse::instance(row).map_err(|field| odd(ACTION, &field))?);
                }
                let Some(next) = next(answer.next_token) else { break };
                request = request.next_token(next);
            }
        }
        Ok(found)
    }

    async fn describe_modifications(
        &self,
        ids: Vec<VolumeId>,
    ) -> Result<Vec<Modification>, ApiError> {
        const ACTION: Action = Action::DescribeVolumesModifications;
        // By volume and start: should EC2 list several of a volume, the last one counts.
        let mut latest = BTreeMap::new();
        for filter in filters("volume-id", &ids) {
            let mut request = self.client().await.describe_volumes_modifications().filters(filter);
            loop {
                let answer = match self.call(ACTION, || request.clone().send()).await {
                    Err(error) if error.code == "InvalidVolumeModification.NotFound" => break,
                    answer => answer?,
                };
                for row in answer.volumes_modifications().iter().filter(|m| parse::was_modified(m))
                {
                    let parsed = parse::modification(row).map_err(|field| odd(ACTION, &field))?;
                    let started = row.start_time().map(|time| (time.secs(), time.subsec_nanos()));
                    let place = latest.entry(parsed.volume.clone());
                    let kept = place.or_insert_with(|| (started, parsed.clone()));
                    if started > kept.0 {
                        *kept = (started, parsed);
                    }
                }
                let Some(next) = next(answer.next_token) else { break };
                request = request.next_token(next);
            }
        }
        Ok(latest.into_values().map(|(_, modification)| modification).collect())
    }

    async fn describe_initialization(
        &self,
        ids: Vec<VolumeId>,
    ) -> Result<Vec<Initialization>, ApiError> {
        self.initializations(ids).await
    }

    async fn describe_zones(&self) -> Result<Vec<Zone>, ApiError> {
        const ACTION: Action = Action::DescribeAvailabilityZones;
        let request = self.client().await.describe_availability_zones();
        let answer = self.call(ACTION, || request.clone().send()).await?;
        answer
            .availability_zones()
            .iter()
            // Local and wavelength zones are no place to put a volume unasked.
            .filter(|zone| zone.zone_type().is_none_or(|kind| kind == "availability-zone"))
            .filter(|zone| zone.state().is_none_or(|state| state.as_str() == "available"))
            .map(|zone| {
                let name = zone.zone_name().ok_or(parse::Odd::Missing("zoneName"));
                name.map(|name| Zone(name.to_owned())).map_err(|field| odd(ACTION, &field))
            })
            .collect()
    }
}

/// EC2 answers a success even if it did nothing; then each zone has its own failure.
fn first_unsuccessful(answer: &EnableFastSnapshotRestoresOutput) -> Option<(String, String)> {
    let items = answer.unsuccessful();
    let state = items.iter().find_map(|item| item.fast_snapshot_restore_state_errors().first());
    let Some(state) = state else {
        let message = || "EC2 names no reason".to_owned();
        return items.first().map(|_item| ("Unsuccessful".to_owned(), message()));
    };
    let zone = state.availability_zone().unwrap_or("a zone");
    let error = state.error();
    let code = error.and_then(|error| error.code()).unwrap_or("Unsuccessful");
    let message = error.and_then(|error| error.message()).unwrap_or_default();
    Some((code.to_owned(), format!("in {zone}: {message}")))
}
