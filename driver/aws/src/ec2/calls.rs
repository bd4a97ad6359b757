//! Calls that several methods of the port share.

use aws_sdk_ec2::operation::create_volume::builders::CreateVolumeFluentBuilder;
use aws_sdk_ec2::types::{Filter, ResourceType, Snapshot as SnapshotRow, VolumeType};
use csi_core::ebs::{CreateVolume, Initialization, Page, Snapshot, Volume};
use csi_core::{ApiError, ErrorKind, SnapshotId, VolumeId};

use super::Ec2;
use super::request::{filters, int, tags_of};
use crate::action::Action;
use crate::parse::{self, odd};

/// EC2 ends a listing with an absent or an empty token.
pub(super) fn next(token: Option<String>) -> Option<String> {
    token.filter(|token| !token.is_empty())
}

impl Ec2 {
    pub(super) async fn new_volume(
        &self,
        call: &CreateVolume,
        source: Option<&SnapshotId>,
    ) -> Result<Volume, ApiError> {
        let request = self.new_volume_request(call, source).await;
        let answer = self.call(Action::CreateVolume, || request.clone().send()).await?;
        parse::volume_from(answer).map_err(|found| odd(Action::CreateVolume, &found))
    }

    /// `Encrypted` and `MultiAttachEnabled` are sent even if false: EC2 compares a token's second
    /// use with its first, which may have been the Go driver's.
    pub(super) async fn new_volume_request(
        &self,
        call: &CreateVolume,
        source: Option<&SnapshotId>,
    ) -> CreateVolumeFluentBuilder {
        self.client()
            .await
            .create_volume()
            .set_client_token(Some(call.client_token.clone()).filter(|token| !token.is_empty()))
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
            .set_tag_specifications(tags_of(ResourceType::Volume, &call.tags))
    }

    /// The zone is the source's, and nothing is fetched from a snapshot at any rate: `CopyVolumes`
    /// knows neither field. Encryption is named only where it is wanted: a copy of an encrypted
    /// volume is encrypted anyway, and the Go driver names none.
    pub(super) async fn copy_volume(
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

    pub(super) async fn volumes<T: ToString + Sync>(
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

    pub(super) async fn volume_page(
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

    pub(super) async fn snapshots<T: ToString + Sync>(
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
    pub(super) async fn snapshot_page(
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

    /// `DescribeVolumeStatus` has no filter for ids, and one that does not exist fails the call. So
    /// the ids that the refusal names are left out of the next; if it names none, each is asked for
    /// by itself.
    pub(super) async fn initializations(
        &self,
        mut ids: Vec<VolumeId>,
    ) -> Result<Vec<Initialization>, ApiError> {
        while !ids.is_empty() {
            match self.initializations_of(&ids).await {
                Err(error) if error.kind == ErrorKind::VolumeNotFound => {
                    let before = ids.len();
                    ids.retain(|id| !error.message.contains(id.as_str()));
                    if ids.len() == before {
                        return self.initializations_one_by_one(&ids).await;
                    }
                }
                answer => return answer,
            }
        }
        Ok(Vec::new())
    }

    async fn initializations_one_by_one(
        &self,
        ids: &[VolumeId],
    ) -> Result<Vec<Initialization>, ApiError> {
        let mut found = Vec::with_capacity(ids.len());
        for id in ids {
            match self.initializations_of(std::slice::from_ref(id)).await {
                Err(error) if error.kind == ErrorKind::VolumeNotFound => {}
                answer => found.extend(answer?),
            }
        }
        Ok(found)
    }

    async fn initializations_of(&self, ids: &[VolumeId]) -> Result<Vec<Initialization>, ApiError> {
        const ACTION: Action = Action::DescribeVolumeStatus;
        let ids = ids.iter().map(VolumeId::to_string).collect();
        let mut request = self.client().await.describe_volume_status().set_volume_ids(Some(ids));
        let mut found = Vec::new();
        loop {
            let answer = self.call(ACTION, || request.clone().send()).await?;
            for row in answer.volume_statuses() {
                found.push(parse::initialization(row).map_err(|field| odd(ACTION, &field))?);
            }
            let Some(next) = next(answer.next_token) else { return Ok(found) };
            request = request.next_token(next);
        }
    }
}
