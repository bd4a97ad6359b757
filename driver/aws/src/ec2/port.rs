//! The port, method by method: the request's fields, one call, the answer's fields.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::{
    Filter, Reservation, ResourceType, Snapshot as SnapshotRow, Tag, VolumeType,
};
use csi_core::ebs::{
    Attachment, CreateSnapshot, CreateVolume, Ebs, Instance, Modification, ModifyVolume, Page,
    SNAPSHOT_NAME_TAG, Snapshot, SnapshotQuery, Tags, VOLUME_NAME_TAG, Volume, VolumeQuery,
    VolumeSource,
};
use csi_core::{ApiError, InstanceId, SnapshotId, VolumeId, Zone};

use super::request::{filters, int, sdk_tags, tag_filter, tags_of};
use super::{Ec2, odd};
use crate::action::Action;
use crate::parse;

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

/// EC2 ends a listing with an absent or an empty token.
fn next(token: Option<String>) -> Option<String> {
    token.filter(|token| !token.is_empty())
}

impl Ec2 {
    /// `Encrypted` and `MultiAttachEnabled` are sent even if false: EC2 compares a token's second
    /// use with its first, which may have been the Go driver's.
    async fn new_volume(
        &self,
        call: &CreateVolume,
        source: Option<&SnapshotId>,
    ) -> Result<Volume, ApiError> {
        let request = self
            .client()
            .await
            .create_volume()
            .client_token(&call.client_token)
            .size(int(call.size.0))
            .availability_zone(&call.zone.0)
            .volume_type(VolumeType::from(call.volume_type.as_str()))
            .set_iops(call.iops.map(int))
            .set_throughput(call.throughput.map(int))
            .encrypted(call.encrypted)
            .set_kms_key_id(call.kms_key.clone())
            .set_snapshot_id(source.map(SnapshotId::to_string))
            .set_volume_initialization_rate(call.initialization_rate.map(int))
            .multi_attach_enabled(call.multi_attach)
            .set_tag_specifications(tags_of(ResourceType::Volume, &call.tags));
        let answer = self.call(Action::CreateVolume, || request.clone().send()).await?;
        parse::volume_from(answer).map_err(|found| odd(Action::CreateVolume, &found))
    }

    /// The zone is the source's, and nothing is fetched from a snapshot at any rate: `CopyVolumes`
    /// knows neither field. Encryption is named only where it is wanted: a copy of an encrypted
    /// volume is encrypted anyway, and the Go driver names none.
    async fn copy_volume(
        &self,
        call: &CreateVolume,
        source: &VolumeId,
    ) -> Result<Volume, ApiError> {
        const ACTION: Action = Action::CopyVolumes;
        let request = self
            .client()
            .await
            .copy_volumes()
            .source_volume_id(source.as_str())
            .client_token(&call.client_token)
            .size(int(call.size.0))
            .volume_type(VolumeType::from(call.volume_type.as_str()))
            .set_iops(call.iops.map(int))
            .set_throughput(call.throughput.map(int))
            .set_encrypted(call.encrypted.then_some(true))
            .set_kms_key_id(call.kms_key.clone())
            .multi_attach_enabled(call.multi_attach)
            .set_tag_specifications(tags_of(ResourceType::Volume, &call.tags));
        let answer = self.call(ACTION, || request.clone().send()).await?;
        let made = answer.volumes().first().ok_or(parse::Odd::Missing("volumeSet"));
        made.and_then(parse::volume).map_err(|found| odd(ACTION, &found))
    }

    async fn volumes<T: ToString + Sync>(
        &self,
        filter: &str,
        values: &[T],
    ) -> Result<Page<Volume>, ApiError> {
        let mut items = Vec::with_capacity(values.len());
        for filter in filters(filter, values).collect::<Vec<_>>() {
            let mut token = None;
            loop {
                let page = self.volume_page(Some(filter.clone()), None, token).await?;
                items.extend(page.items);
                if page.next.is_none() {
                    break;
                }
                token = page.next;
            }
        }
        Ok(Page { items, next: None })
    }

    async fn volume_page(
        &self,
        filter: Option<Filter>,
        max: Option<i32>,
        token: Option<String>,
    ) -> Result<Page<Volume>, ApiError> {
        const ACTION: Action = Action::DescribeVolumes;
        let request = self
            .client()
            .await
            .describe_volumes()
            .set_filters(filter.map(|filter| vec![filter]))
            .set_max_results(max)
            .set_next_token(token);
        let answer = self.call(ACTION, || request.clone().send()).await?;
        let items = answer.volumes().iter().map(parse::volume).collect::<Result<_, _>>();
        let items = items.map_err(|found| odd(ACTION, &found))?;
        Ok(Page { items, next: next(answer.next_token) })
    }

    async fn snapshots<T: ToString + Sync>(
        &self,
        filter: &str,
        values: &[T],
    ) -> Result<Page<Snapshot>, ApiError> {
        let mut items = Vec::with_capacity(values.len());
        for filter in filters(filter, values).collect::<Vec<_>>() {
            let mut token = None;
            loop {
                let page = self.snapshot_page(Some(filter.clone()), None, token).await?;
                items.extend(page.items);
                if page.next.is_none() {
                    break;
                }
                token = page.next;
            }
        }
        Ok(Page { items, next: None })
    }

    /// Only the account's own snapshots: without an owner EC2 lists every public one.
    async fn snapshot_page(
        &self,
        filter: Option<Filter>,
        max: Option<i32>,
        token: Option<String>,
    ) -> Result<Page<Snapshot>, ApiError> {
        const ACTION: Action = Action::DescribeSnapshots;
        let request = self
            .client()
            .await
            .describe_snapshots()
            .owner_ids("self")
            .set_filters(filter.map(|filter| vec![filter]))
            .set_max_results(max)
            .set_next_token(token);
        let answer = self.call(ACTION, || request.clone().send()).await?;
        let items: Result<Vec<_>, _> =
            answer.snapshots().iter().map(|row: &SnapshotRow| parse::snapshot(row)).collect();
        let items = items.map_err(|found| odd(ACTION, &found))?;
        Ok(Page { items, next: next(answer.next_token) })
    }
}
