//! Volumes: creation, copies, deletion.

use std::collections::BTreeMap;

use csi_core::ebs::{Volume, VolumeState};
use csi_core::{GiB, InstanceId, VolumeId, Zone};

use super::call::{CopyVolumes, CreateVolume};
use super::effect::{Content, Effect};
use super::error::AwsError;
use super::lagged::Lagged;
use super::modification::ModificationRecord;
use super::rules::Config;
use super::{Due, Millis, World, id, tag, token};

/// A volume, with what the port does not show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeRecord {
    /// As the port shows it.
    pub volume: Volume,
    /// When it was created.
    pub created: Millis,
    /// When each attachment began.
    pub attached_at: BTreeMap<InstanceId, Millis>,
    /// Rate in MiB/s at which blocks are fetched from the snapshot.
    pub initialization_rate: Option<u32>,
    /// When all blocks are there that it was made from; 0 if it was made from nothing.
    pub filled_at: Millis,
    /// Whether it is deleted with its instance: true of root volumes.
    pub delete_on_termination: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) record: Lagged<VolumeRecord>,
    pub(crate) modification: Option<Lagged<ModificationRecord>>,
    /// When its modifications began.
    pub(crate) modified: Vec<Millis>,
    pub(crate) last_snapshot: Option<Millis>,
}

/// What a new volume is made of, whichever action asks.
struct Plan {
    config: Config,
    zone: Zone,
    encrypted: bool,
    kms_key: Option<String>,
    content: Content,
    initialization_rate: Option<u32>,
    tags: csi_core::ebs::Tags,
}

impl World {
    /// `CreateVolume`.
    pub fn create_volume(
        &mut self,
        call: &CreateVolume,
        now: Millis,
    ) -> Result<VolumeRecord, AwsError> {
        self.advance(now);
        let plan = self.plan_volume(call)?;
        if call.dry_run {
            return Err(AwsError::dry_run());
        }
        // EC2 was seen to check the quota before the token.
        self.check_volume_quota()?;
        let token = call.client_token.as_deref();
        let life = self.settings.token_life_ms;
        if let Some(first) = token::first_use(&self.create_tokens, token, call, now, life)? {
            return self.replay(token.unwrap_or_default(), &first);
        }
        self.check_capacity(&plan)?;
        let record = self.start_volume(plan, now);
        let id = record.volume.id.clone();
        token::remember(&mut self.create_tokens, token, call.clone(), id, now);
        Ok(record)
    }

    /// `CopyVolumes`; EC2 answers a list, which holds this one volume.
    pub fn copy_volumes(
        &mut self,
        call: &CopyVolumes,
        now: Millis,
    ) -> Result<VolumeRecord, AwsError> {
        self.advance(now);
        let plan = self.plan_copy(call)?;
        if call.dry_run {
            return Err(AwsError::dry_run());
        }
        self.check_volume_quota()?;
        let token = call.client_token.as_deref();
        let life = self.settings.token_life_ms;
        if let Some(first) = token::first_use(&self.copy_tokens, token, call, now, life)? {
            return self.replay(token.unwrap_or_default(), &first);
        }
        self.check_capacity(&plan)?;
        let record = self.start_volume(plan, now);
        let id = record.volume.id.clone();
        token::remember(&mut self.copy_tokens, token, call.clone(), id, now);
        Ok(record)
    }

    fn plan_volume(&self, call: &CreateVolume) -> Result<Plan, AwsError> {
        let zone = call.zone.as_deref().ok_or_else(|| AwsError::missing("zone"))?;
        let newest = self.zone(zone)?.newest_hardware;
        tag::check(&call.tags)?;
        let mut encrypted = call.encrypted.unwrap_or_default();
        check_key(call.kms_key.as_deref(), encrypted)?;
        let mut size = call.size;
        let content = match &call.snapshot {
            None => Content::Blank,
            Some(text) => {
                let (id, source_size, source_encrypted) = self.usable_snapshot(text)?;
                size = Some(at_least(size, source_size, text)?);
                encrypted |= source_encrypted;
                Content::Snapshot(id)
            }
        };
        check_rate(call.initialization_rate, &content)?;
        let config = Config {
            size: size.ok_or_else(|| AwsError::missing("size"))?,
            volume_type: call.volume_type.clone().unwrap_or_else(|| "gp2".to_owned()),
            iops: call.iops,
            throughput: call.throughput,
            multi_attach: call.multi_attach.unwrap_or_default(),
        };
        Ok(Plan {
            config: config.check(newest)?,
            zone: Zone(zone.to_owned()),
            kms_key: encrypted.then(|| key_arn(call.kms_key.as_deref())),
            encrypted,
            content,
            initialization_rate: call.initialization_rate,
            tags: call.tags.clone(),
        })
    }

    /// A copy lies in its source's zone and is encrypted if its source is.
    fn plan_copy(&self, call: &CopyVolumes) -> Result<Plan, AwsError> {
        tag::check(&call.tags)?;
        let (id, entry) = self.live_volume(&call.source)?;
        let source = entry.record.truth().volume.clone();
        if !matches!(source.state, VolumeState::Available | VolumeState::InUse) {
            return Err(AwsError::incorrect_state(format!("Volume '{id}' is not ready.")));
        }
        let encrypted = source.encrypted || call.encrypted.unwrap_or_default();
        check_key(call.kms_key.as_deref(), encrypted)?;
        let own_key = source.kms_key.filter(|_| call.kms_key.is_none());
        let newest = self.zone(&source.zone.0)?.newest_hardware;
        let config = Config {
            size: at_least(call.size, source.size, &call.source)?,
            volume_type: call.volume_type.clone().unwrap_or_else(|| "gp3".to_owned()),
            iops: call.iops,
            throughput: call.throughput,
            multi_attach: call.multi_attach.unwrap_or_default(),
        };
        Ok(Plan {
            config: config.check(newest)?,
            zone: source.zone,
            encrypted,
            kms_key: encrypted.then(|| own_key.unwrap_or_else(|| key_arn(call.kms_key.as_deref()))),
            content: Content::Volume(id),
            initialization_rate: None,
            tags: call.tags.clone(),
        })
    }

    fn check_volume_quota(&self) -> Result<(), AwsError> {
        let quota = self.settings.volume_quota;
        if self.volumes.len() < usize::try_from(quota).unwrap_or(usize::MAX) {
            return Ok(());
        }
        Err(AwsError::new(
            "VolumeLimitExceeded",
            format!("You have exceeded your maximum volume limit of {quota}."),
        ))
    }

    fn check_capacity(&self, plan: &Plan) -> Result<(), AwsError> {
        let volume_type = &plan.config.volume_type;
        if self.zone(&plan.zone.0)?.has_capacity(volume_type) {
            return Ok(());
        }
        Err(AwsError::new(
            "InsufficientVolumeCapacity",
            format!(
                "There is not enough capacity to fulfill your EBS volume creation request: \
                 {volume_type} in {}.",
                plan.zone
            ),
        ))
    }

    fn start_volume(&mut self, plan: Plan, now: Millis) -> VolumeRecord {
        let id = self.new_volume_id();
        let (snapshot, source_volume) = match &plan.content {
            Content::Blank => (None, None),
            Content::Snapshot(id) => (Some(id.clone()), None),
            Content::Volume(id) => (None, Some(id.clone())),
        };
        let size = GiB(plan.config.size);
        let filled_at = match &plan.content {
            Content::Blank => 0,
            Content::Snapshot(_) | Content::Volume(_) => {
                now.saturating_add(self.settings.initialize.sample(&mut self.rng))
            }
        };
        let record = VolumeRecord {
            volume: Volume {
                id: id.clone(),
                state: VolumeState::Creating,
                size,
                zone: plan.zone,
                volume_type: plan.config.volume_type,
                iops: plan.config.iops,
                throughput: plan.config.throughput,
                encrypted: plan.encrypted,
                kms_key: plan.kms_key,
                snapshot,
                source_volume,
                multi_attach: plan.config.multi_attach,
                attachments: Vec::new(),
                tags: plan.tags,
            },
            created: now,
            attached_at: BTreeMap::new(),
            initialization_rate: plan.initialization_rate,
            filled_at,
            delete_on_termination: false,
        };
        let usable = record.volume.kms_key.as_ref().is_none_or(|key| !self.is_unusable(key));
        self.insert_volume(record.clone(), now);
        let due = if usable { Due::VolumeReady(id.clone()) } else { Due::VolumeFailed(id.clone()) };
        let effect = Effect::Create { volume: id, size, content: plan.content };
        self.emit(effect, Some(due.clone()));
        self.plan_after(now, self.settings.create, due);
        record
    }

    pub(crate) fn insert_volume(&mut self, record: VolumeRecord, now: Millis) {
        let visible_at = now.saturating_add(self.lag());
        let entry = Entry {
            record: Lagged::new(record.clone(), visible_at),
            modification: None,
            modified: Vec::new(),
            last_snapshot: None,
        };
        self.volumes.insert(record.volume.id, entry);
    }

    fn is_unusable(&self, key: &str) -> bool {
        self.unusable_keys.iter().any(|unusable| key == key_arn(Some(unusable)))
    }

    /// `DeleteVolume`.
    pub fn delete_volume(&mut self, volume: &str, now: Millis) -> Result<(), AwsError> {
        self.advance(now);
        let (id, entry) = self.live_volume(volume)?;
        let record = &entry.record.truth().volume;
        if let Some(attachment) = record.attachments.first() {
            return Err(AwsError::new(
                "VolumeInUse",
                format!("Volume {id} is currently attached to {}", attachment.instance),
            ));
        }
        if record.state == VolumeState::Creating {
            return Err(AwsError::incorrect_state(format!(
                "The volume '{id}' is in the 'creating' state."
            )));
        }
        self.set_volume_state(&id, VolumeState::Deleting, now);
        self.emit(Effect::RemoveVolume(id.clone()), None);
        self.plan_after(now, self.settings.delete, Due::VolumeVanishes(id));
        Ok(())
    }

    pub(crate) fn set_volume_state(&mut self, id: &VolumeId, state: VolumeState, now: Millis) {
        let lag = self.lag();
        if let Some(entry) = self.volumes.get_mut(id) {
            entry.record.write(now, lag, |record| record.volume.state = state);
        }
    }

    pub(crate) fn volume_ready(&mut self, id: &VolumeId, at: Millis) {
        if let Some(entry) = self.volumes.get_mut(id) {
            entry.record.write(at, 0, |record| record.volume.state = VolumeState::Available);
        }
    }

    /// EC2 shows `error` for a moment, and then nothing.
    pub(crate) fn volume_failed(&mut self, id: &VolumeId, at: Millis) {
        if let Some(entry) = self.volumes.get_mut(id) {
            entry.record.write(at, 0, |record| record.volume.state = VolumeState::Error);
            self.emit(Effect::RemoveVolume(id.clone()), None);
            self.plan_after(at, self.settings.delete, Due::VolumeVanishes(id.clone()));
        }
    }

    pub(crate) fn volume_vanishes(&mut self, id: &VolumeId) {
        if let Some(entry) = self.volumes.remove(id) {
            let mut record = entry.record.truth().clone();
            if record.volume.state == VolumeState::Deleting {
                record.volume.state = VolumeState::Deleted;
            }
            self.gone.insert(id.clone(), record);
        }
    }

    /// A volume that can be acted on. Actions see the truth; only Describe calls lag.
    pub(crate) fn live_volume(&self, text: &str) -> Result<(VolumeId, &Entry), AwsError> {
        let id = id::volume(text)?;
        match self.volumes.get(&id) {
            Some(entry) if entry.record.truth().volume.state != VolumeState::Deleting => {
                Ok((id, entry))
            }
            _ => Err(AwsError::no_volume(text)),
        }
    }
}

fn at_least(size: Option<u32>, source: GiB, what: &str) -> Result<u32, AwsError> {
    match size {
        Some(size) if size < source.0 => Err(AwsError::value(format!(
            "Volume of {size}GiB is smaller than '{what}', expect size >= {}GiB",
            source.0
        ))),
        Some(size) => Ok(size),
        None => Ok(source.0),
    }
}

/// EC2 API reference, `CreateVolume`: a key only with encryption.
fn check_key(key: Option<&str>, encrypted: bool) -> Result<(), AwsError> {
    if key.is_none() || encrypted {
        return Ok(());
    }
    Err(AwsError::new(
        "InvalidParameterDependency",
        "The parameter KmsKeyId requires the parameter Encrypted to be set.",
    ))
}

/// EC2 API reference, `CreateVolume`: 100 to 300 MiB/s, only with a snapshot.
fn check_rate(rate: Option<u32>, content: &Content) -> Result<(), AwsError> {
    match (rate, content) {
        (None, _) | (Some(100..=300), Content::Snapshot(_)) => Ok(()),
        (Some(_), Content::Snapshot(_)) => {
            Err(AwsError::value("Volume initialization rate must be between 100 and 300 MiB/s."))
        }
        (Some(_), _) => Err(AwsError::combination(
            "The parameter VolumeInitializationRate requires the parameter SnapshotId.",
        )),
    }
}

/// EC2 answers a key's ARN, however the key was named.
fn key_arn(key: Option<&str>) -> String {
    match key {
        Some(arn) if arn.starts_with("arn:") => arn.to_owned(),
        Some(name) if name.starts_with("alias/") => {
            format!("arn:aws:kms:us-east-1:123456789012:{name}")
        }
        Some(id) => format!("arn:aws:kms:us-east-1:123456789012:key/{id}"),
        None => "arn:aws:kms:us-east-1:123456789012:key/aws-ebs".to_owned(),
    }
}
