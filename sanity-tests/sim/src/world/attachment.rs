//! Attaching and detaching.

use csi_core::ebs::{Attachment, AttachmentState, VolumeState};
use csi_core::{InstanceId, VolumeId};

use super::effect::Effect;
use super::error::AwsError;
use super::instance::InstanceRecord;
use super::{Due, Millis, World, id};

/// EBS user guide, "Attach an EBS volume to multiple instances".
const MULTI_ATTACH_MOST: usize = 16;

impl World {
    /// `AttachVolume`.
    pub fn attach_volume(
        &mut self,
        volume: &str,
        instance: &str,
        device: &str,
        now: Millis,
    ) -> Result<Attachment, AwsError> {
        self.advance(now);
        let id = id::volume(volume)?;
        let instance_id = id::instance(instance)?;
        let (_, entry) = self.live_volume(volume)?;
        let record = entry.record.truth().volume.clone();
        let node =
            self.instances.get(&instance_id).ok_or_else(|| AwsError::no_instance(instance))?;
        check_instance(node)?;
        if record.zone.0 != node.zone {
            return Err(AwsError::new(
                "InvalidVolume.ZoneMismatch",
                format!(
                    "The volume '{id}' is not in the same availability zone as instance '{instance_id}'"
                ),
            ));
        }
        check_free(&record, &instance_id)?;
        check_device_name(device)?;
        let limit = node.max_attachments;
        self.check_device_free(&instance_id, device)?;
        self.check_limit(&instance_id, limit)?;
        Ok(self.start_attachment(id, instance_id, device, now))
    }

    fn start_attachment(
        &mut self,
        id: VolumeId,
        instance: InstanceId,
        device: &str,
        now: Millis,
    ) -> Attachment {
        let attachment = Attachment {
            volume: id.clone(),
            instance: instance.clone(),
            device: device.to_owned(),
            state: AttachmentState::Attaching,
        };
        let lag = self.lag();
        if let Some(entry) = self.volumes.get_mut(&id) {
            entry.record.write(now, lag, |record| {
                record.volume.state = VolumeState::InUse;
                record.volume.attachments.push(attachment.clone());
                record.attached_at.insert(instance.clone(), now);
            });
        }
        if !self.sticks_attaching(&id, &instance, device) {
            let due = Due::Attached(id.clone(), instance.clone());
            self.emit(Effect::Attach { volume: id, instance }, Some(due.clone()));
            self.plan_after(now, self.settings.attach, due);
        }
        attachment
    }

    /// Under which device names an instance has volumes, in truth or as lists show it.
    pub(crate) fn attachments_of(
        &self,
        instance: &InstanceId,
        seen_at: Option<Millis>,
    ) -> Vec<&Attachment> {
        self.volumes
            .values()
            .filter_map(|entry| match seen_at {
                None => Some(entry.record.truth()),
                Some(now) => entry.record.seen(now),
            })
            .flat_map(|record| &record.volume.attachments)
            .filter(|attachment| attachment.instance == *instance)
            .collect()
    }

    fn check_device_free(&mut self, instance: &InstanceId, device: &str) -> Result<(), AwsError> {
        let taken = self.attachments_of(instance, None).iter().any(|a| a.device == device)
            || self.has_hidden_device(instance, device);
        if taken {
            return Err(AwsError::value(format!(
                "Invalid value '{device}' for unixDevice. Attachment point {device} is already in use"
            )));
        }
        Ok(())
    }

    fn check_limit(&self, instance: &InstanceId, limit: u32) -> Result<(), AwsError> {
        let attached = self.attachments_of(instance, None).len();
        if attached < usize::try_from(limit).unwrap_or(usize::MAX) {
            return Ok(());
        }
        Err(AwsError::new(
            "AttachmentLimitExceeded",
            format!("Instance {instance} has reached its limit of {limit} attached volumes."),
        ))
    }

    /// `DetachVolume`. Without an instance the volume must have exactly one attachment.
    pub fn detach_volume(
        &mut self,
        volume: &str,
        instance: Option<&str>,
        now: Millis,
    ) -> Result<Attachment, AwsError> {
        self.advance(now);
        let instance = instance.map(id::instance).transpose()?;
        let (id, entry) = self.live_volume(volume)?;
        let record = entry.record.truth();
        let attachment = find_attachment(record, instance.as_ref())?.clone();
        if record.delete_on_termination {
            return Err(AwsError::new(
                "OperationNotPermitted",
                format!("'{id}' is the root device of '{}'.", attachment.instance),
            ));
        }
        if attachment.state == AttachmentState::Detaching {
            return Err(AwsError::incorrect_state(format!(
                "Volume '{id}' is in the 'detaching' state."
            )));
        }
        Ok(self.start_detachment(attachment, now))
    }

    fn start_detachment(&mut self, mut attachment: Attachment, now: Millis) -> Attachment {
        let (id, instance) = (attachment.volume.clone(), attachment.instance.clone());
        // An attach that had not ended is overtaken.
        let overtaken = Due::Attached(id.clone(), instance.clone());
        self.schedule.retain(|_, due| *due != overtaken);
        if self.sticks_busy(&id, &instance) {
            attachment.state = AttachmentState::Busy;
            self.set_attachment(&id, &instance, AttachmentState::Busy, now);
            return attachment;
        }
        attachment.state = AttachmentState::Detaching;
        self.set_attachment(&id, &instance, AttachmentState::Detaching, now);
        let due = Due::Detached(id.clone(), instance.clone());
        self.emit(Effect::Detach { volume: id, instance }, Some(due.clone()));
        self.plan_after(now, self.settings.detach, due);
        attachment
    }

    pub(crate) fn set_attachment(
        &mut self,
        id: &VolumeId,
        instance: &InstanceId,
        state: AttachmentState,
        now: Millis,
    ) {
        let lag = self.lag();
        if let Some(entry) = self.volumes.get_mut(id) {
            entry.record.write(now, lag, |record| {
                for attachment in &mut record.volume.attachments {
                    if attachment.instance == *instance {
                        attachment.state = state;
                    }
                }
            });
        }
    }

    pub(crate) fn attached(&mut self, id: &VolumeId, instance: &InstanceId, at: Millis) {
        if let Some(entry) = self.volumes.get_mut(id) {
            entry.record.write(at, 0, |record| {
                for attachment in &mut record.volume.attachments {
                    if attachment.instance == *instance
                        && attachment.state == AttachmentState::Attaching
                    {
                        attachment.state = AttachmentState::Attached;
                    }
                }
            });
        }
    }

    pub(crate) fn detached(&mut self, id: &VolumeId, instance: &InstanceId, at: Millis) {
        if let Some(entry) = self.volumes.get_mut(id) {
            entry.record.write(at, 0, |record| {
                record.volume.attachments.retain(|a| a.instance != *instance);
                record.attached_at.remove(instance);
                if record.volume.attachments.is_empty() {
                    record.volume.state = VolumeState::Available;
                }
            });
        }
    }
}

fn check_instance(node: &InstanceRecord) -> Result<(), AwsError> {
    match node.state.as_str() {
        "running" | "stopped" | "stopping" => Ok(()),
        "terminated" => Err(AwsError::no_instance(node.id.as_str())),
        _ => Err(AwsError::incorrect_state(format!("Instance '{}' is not 'running'.", node.id))),
    }
}

fn check_free(volume: &csi_core::ebs::Volume, instance: &InstanceId) -> Result<(), AwsError> {
    let here = volume.attachments.iter().any(|attachment| attachment.instance == *instance);
    match volume.state {
        VolumeState::Available => Ok(()),
        VolumeState::InUse
            if volume.multi_attach && !here && volume.attachments.len() < MULTI_ATTACH_MOST =>
        {
            Ok(())
        }
        VolumeState::InUse => Err(AwsError::new(
            "VolumeInUse",
            format!("{} is already attached to an instance", volume.id),
        )),
        _ => Err(AwsError::incorrect_state(format!("{} is not 'available'.", volume.id))),
    }
}

fn find_attachment<'a>(
    record: &'a super::VolumeRecord,
    instance: Option<&InstanceId>,
) -> Result<&'a Attachment, AwsError> {
    let volume = &record.volume;
    let mut all = volume.attachments.iter();
    let found = match instance {
        None if volume.attachments.len() > 1 => {
            return Err(AwsError::missing("InstanceId"));
        }
        None => all.next(),
        Some(instance) => all.find(|attachment| attachment.instance == *instance),
    };
    match (found, instance) {
        (Some(attachment), _) => Ok(attachment),
        (None, Some(instance)) if !volume.attachments.is_empty() => Err(AwsError::new(
            "InvalidAttachment.NotFound",
            format!("The volume '{}' is not attached to instance '{instance}'.", volume.id),
        )),
        (None, _) => Err(AwsError::incorrect_state(format!(
            "Volume '{}' is in the '{}' state.",
            volume.id,
            super::name::volume_state(volume.state)
        ))),
    }
}

/// EC2 user guide, "Device names for volumes on Amazon EC2 instances".
fn check_device_name(device: &str) -> Result<(), AwsError> {
    let valid = if let Some(rest) = device.strip_prefix("/dev/xvd") {
        matches!(rest.as_bytes(), [b'a'..=b'z'] | [b'a'..=b'd', b'a'..=b'z'])
    } else if let Some(rest) = device.strip_prefix("/dev/sd") {
        match rest.as_bytes() {
            [b'a'..=b'z', number @ ..] => {
                number.is_empty()
                    || std::str::from_utf8(number)
                        .ok()
                        .and_then(|n| n.parse::<u8>().ok())
                        .is_some_and(|n| (1..=15).contains(&n))
            }
            _ => false,
        }
    } else {
        false
    };
    if valid {
        return Ok(());
    }
    Err(AwsError::value(format!(
        "Value ({device}) for parameter device is invalid. {device} is not a valid EBS device name."
    )))
}
