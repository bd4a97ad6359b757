//! `ControllerPublishVolume`: attach a volume to an instance.
//!
//! *Flow*: reserve a device name, attach, wait until EC2 says `attached`. An attach that is stuck
//! is undone and tried once more under another name.
//!
//! *Guarantees*: a repeated call finds the attachment of the first and gives the same answer.

mod error;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use csi_core::ebs::{Attachment, AttachmentState, Ebs, Volume};
use csi_core::facts::{READ_LAG_BOUND, STUCK_ATTACHING};
use csi_core::request::PublishVolume;
use csi_core::{ErrorKind, InstanceId, VolumeId};
use tokio::time::Instant;
use tracing::warn;

pub(crate) use error::PublishError;

use super::devices::{NoName, Reserved};
use super::look::WaitEnd;
use super::spec::is_live;
use super::{APPEARING, ATTACHING, Shared, unpublish};
use crate::call::{Failed, repeat};

/// The whole operation, as long as the attacher waits.
const BOUND: Duration = Duration::from_mins(6);
/// Names that EC2 may refuse as taken, and attaches that may get stuck, before the call fails.
const MOST_NAMES: usize = 8;

/// An attachment with the volume's size.
#[derive(Debug)]
pub(super) struct Published {
    /// The device name that EC2 has for it.
    pub(super) device: String,
    /// The volume as it was when it was attached.
    pub(super) volume: Volume,
}

/// Attaches the volume.
pub(super) async fn publish<C: Ebs>(
    shared: Arc<Shared<C>>,
    request: PublishVolume,
) -> Result<Published, PublishError> {
    let until = Instant::now() + BOUND;
    let publisher = Publisher {
        shared,
        volume: request.volume,
        instance: request.instance,
        many: request.capability.is_multi_attach(),
        until,
    };
    publisher.run().await
}

struct Publisher<C> {
    shared: Arc<Shared<C>>,
    volume: VolumeId,
    instance: InstanceId,
    /// Whether other nodes may have it attached at the same time.
    many: bool,
    until: Instant,
}

/// What an attempt to attach came to.
enum Attempt {
    /// It is under way, or done already.
    Started,
    /// The name is taken.
    NameTaken,
}

/// How a wait for an attachment ended.
enum Waited {
    Attached(Box<Published>),
    Stuck,
    Undone,
}

impl<C: Ebs> Publisher<C> {
    async fn run(&self) -> Result<Published, PublishError> {
        let mut avoid = BTreeSet::new();
        let mut stuck = 0;
        while avoid.len() < MOST_NAMES {
            let reserved = self.reserve(&avoid).await?;
            let known = self.shared.devices.listed(&self.instance, &self.volume)
                && self.attached_here().await?;
            if !known && let Attempt::NameTaken = self.attach(&reserved).await? {
                self.shared.devices.doubt(&self.instance);
                avoid.insert(reserved.name.clone());
                continue;
            }
            match self.wait().await? {
                Waited::Attached(published) => return Ok(*published),
                Waited::Undone => {
                    self.shared.devices.doubt(&self.instance);
                    return Err(
                        self.error(|volume, instance| PublishError::Undone { volume, instance })
                    );
                }
                Waited::Stuck => {
                    stuck += 1;
                    self.undo().await;
                    if stuck > 1 {
                        break;
                    }
                    avoid.insert(reserved.name.clone());
                }
            }
        }
        if stuck > 0 {
            Err(self.error(|volume, instance| PublishError::Stuck { volume, instance }))
        } else {
            Err(self.error(|volume, instance| PublishError::NamesTaken { volume, instance }))
        }
    }

    fn error(&self, make: impl FnOnce(VolumeId, InstanceId) -> PublishError) -> PublishError {
        make(self.volume.clone(), self.instance.clone())
    }

    async fn reserve(&self, avoid: &BTreeSet<String>) -> Result<Reserved, PublishError> {
        let reserve = self.shared.devices.reserve(&self.shared, &self.instance, avoid, self.until);
        let instance = self.instance.clone();
        reserve.await.map_err(|end| match end {
            NoName::NoInstance => PublishError::NoInstance { instance },
            NoName::AllTaken => PublishError::NoFreeName { instance },
            NoName::Unknown(error) => PublishError::Instance { instance, error },
        })
    }

    /// Whether the volume is attached, or being attached, to this instance.
    async fn attached_here(&self) -> Result<bool, PublishError> {
        let volume = self.shared.volume(&self.volume, self.until).await;
        let volume =
            volume.map_err(|error| PublishError::Volume { volume: self.volume.clone(), error })?;
        let here = volume.as_ref().and_then(|volume| attachment(volume, &self.instance));
        Ok(here.is_some_and(|here| {
            matches!(
                here.state,
                AttachmentState::Attaching | AttachmentState::Attached | AttachmentState::Busy
            )
        }))
    }

    async fn attach(&self, reserved: &Reserved) -> Result<Attempt, PublishError> {
        let call = || {
            let name = reserved.name.clone();
            self.shared.ec2.attach_volume(self.volume.clone(), self.instance.clone(), name)
        };
        let Failed { error, in_doubt } = match repeat(self.until, call).await {
            Ok(_attachment) => return Ok(Attempt::Started),
            Err(failed) => failed,
        };
        let volume = self.volume.clone();
        let instance = self.instance.clone();
        match error.kind {
            ErrorKind::DeviceNameInUse if in_doubt && self.appears().await? => Ok(Attempt::Started),
            ErrorKind::DeviceNameInUse => Ok(Attempt::NameTaken),
            // By a try whose reply was lost, by an earlier call, or elsewhere.
            ErrorKind::VolumeInUse | ErrorKind::IncorrectState => match self.where_else().await? {
                Elsewhere::Here => Ok(Attempt::Started),
                Elsewhere::At(other) => {
                    Err(PublishError::AttachedElsewhere { volume, instance, other })
                }
                Elsewhere::Nowhere => Err(PublishError::Refused { volume, instance, error }),
            },
            ErrorKind::VolumeNotFound => Err(PublishError::NoVolume { volume }),
            ErrorKind::InstanceNotFound => Err(PublishError::NoInstance { instance }),
            ErrorKind::AttachmentLimit => Err(PublishError::Full { volume, instance, error }),
            _ => Err(PublishError::Refused { volume, instance, error }),
        }
    }

    /// Whether an attach whose reply was lost shows up.
    async fn appears(&self) -> Result<bool, PublishError> {
        Ok(matches!(self.where_else().await?, Elsewhere::Here))
    }

    /// Where the volume is, given that EC2 says it is somewhere. Reads may lag behind that.
    async fn where_else(&self) -> Result<Elsewhere, PublishError> {
        let bound = (Instant::now() + READ_LAG_BOUND).min(self.until);
        let judge = |seen: Option<Volume>| {
            let seen = seen?;
            if attachment(&seen, &self.instance).is_some() {
                return Some(Elsewhere::Here);
            }
            let other = seen.attachments.first()?;
            (!self.many).then(|| Elsewhere::At(other.instance.clone()))
        };
        match self.shared.volumes.until(&self.volume, APPEARING, bound, judge).await {
            Ok(found) => Ok(found),
            Err(WaitEnd::TimedOut) => Ok(Elsewhere::Nowhere),
            Err(WaitEnd::Refused(error)) => {
                Err(PublishError::Volume { volume: self.volume.clone(), error })
            }
        }
    }

    async fn wait(&self) -> Result<Waited, PublishError> {
        let began = Instant::now();
        let judge = |seen: Option<Volume>| {
            let elapsed = began.elapsed();
            let here = seen.as_ref().and_then(|volume| attachment(volume, &self.instance).cloned());
            match (here, seen) {
                (Some(here), Some(volume)) => match here.state {
                    AttachmentState::Attached => {
                        let published = Published { device: here.device, volume };
                        Some(Waited::Attached(Box::new(published)))
                    }
                    AttachmentState::Attaching | AttachmentState::Busy => {
                        (elapsed > STUCK_ATTACHING).then_some(Waited::Stuck)
                    }
                    // Shown from before our attach, or somebody else undoes it.
                    AttachmentState::Detaching | AttachmentState::Detached => {
                        (elapsed > READ_LAG_BOUND).then_some(Waited::Undone)
                    }
                },
                (_, Some(volume)) if !is_live(volume.state) => Some(Waited::Undone),
                // Not shown yet, or not any more.
                _ => (elapsed > READ_LAG_BOUND).then_some(Waited::Undone),
            }
        };
        let end = self.shared.volumes.until(&self.volume, ATTACHING, self.until, judge).await;
        end.map_err(|end| {
            let error = match end {
                WaitEnd::TimedOut => None,
                WaitEnd::Refused(error) => Some(error),
            };
            let after = began.elapsed();
            self.error(|volume, instance| PublishError::Unfinished {
                volume,
                instance,
                after,
                error,
            })
        })
    }

    /// Detaches what is stuck. A failure is not the caller's concern: its next try meets the same
    /// attachment again.
    async fn undo(&self) {
        warn!(volume = %self.volume, instance = %self.instance, "stuck while attaching, detaching");
        let detach = unpublish::detach(&self.shared, &self.volume, &self.instance, self.until);
        if let Err(error) = detach.await {
            warn!(error = %csi_core::Chain(&error), "a stuck attachment was not undone");
        }
        self.shared.devices.doubt(&self.instance);
    }
}

enum Elsewhere {
    Here,
    At(InstanceId),
    Nowhere,
}

/// The volume's attachment to an instance.
pub(super) fn attachment<'a>(volume: &'a Volume, instance: &InstanceId) -> Option<&'a Attachment> {
    volume.attachments.iter().find(|attachment| attachment.instance == *instance)
}
