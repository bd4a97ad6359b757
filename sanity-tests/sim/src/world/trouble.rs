//! Objects that misbehave, as opposed to calls that do: attachments that stick, zones without
//! capacity.

use csi_core::{InstanceId, VolumeId};
use serde::{Deserialize, Serialize};

use super::World;

/// Something that will misbehave. An absent condition matches everything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Trouble {
    /// Attachments stay `attaching` until they are detached.
    StickAttaching {
        /// Of this volume.
        #[serde(default)]
        volume: Option<String>,
        /// At this instance.
        #[serde(default)]
        instance: Option<String>,
        /// Under this device name.
        #[serde(default)]
        device: Option<String>,
        /// So many times; 0 for ever.
        #[serde(default)]
        times: u64,
    },
    /// Detaching attachments become `busy` and stay so.
    StickBusy {
        /// Of this volume.
        #[serde(default)]
        volume: Option<String>,
        /// At this instance.
        #[serde(default)]
        instance: Option<String>,
        /// So many times; 0 for ever.
        #[serde(default)]
        times: u64,
    },
    /// A device name is in use at an instance, though no list shows it.
    HiddenDevice {
        /// The instance.
        instance: String,
        /// The name.
        device: String,
    },
    /// New access points end in state `error`.
    FailAccessPoint {
        /// Of this file system.
        #[serde(default)]
        file_system: Option<String>,
        /// So many times; 0 for ever.
        #[serde(default)]
        times: u64,
    },
    /// Modifications of the volume fail.
    FailModification {
        /// Of this volume.
        #[serde(default)]
        volume: Option<String>,
        /// So many times; 0 for ever.
        #[serde(default)]
        times: u64,
    },
}

/// A trouble with what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TroubleReport {
    /// What was asked for.
    pub trouble: Trouble,
    /// How often it struck.
    pub struck: u64,
}

fn matches(wanted: Option<&String>, actual: &str) -> bool {
    wanted.is_none_or(|wanted| wanted == actual)
}

impl World {
    /// Lets something misbehave from now on.
    pub fn add_trouble(&mut self, trouble: Trouble) {
        self.troubles.push(TroubleReport { trouble, struck: 0 });
    }

    /// What misbehaves, and how often it did.
    #[must_use]
    pub fn troubles(&self) -> &[TroubleReport] {
        &self.troubles
    }

    fn struck(&mut self, fits: impl Fn(&Trouble) -> Option<u64>) -> bool {
        let found = self.troubles.iter_mut().find(|report| {
            fits(&report.trouble).is_some_and(|times| times == 0 || report.struck < times)
        });
        match found {
            Some(report) => {
                report.struck += 1;
                true
            }
            None => false,
        }
    }

    pub(crate) fn sticks_attaching(&mut self, id: &VolumeId, at: &InstanceId, name: &str) -> bool {
        self.struck(|trouble| match trouble {
            Trouble::StickAttaching { volume, instance, device, times } => {
                let fits = matches(volume.as_ref(), id.as_str())
                    && matches(instance.as_ref(), at.as_str())
                    && matches(device.as_ref(), name);
                fits.then_some(*times)
            }
            _ => None,
        })
    }

    pub(crate) fn sticks_busy(&mut self, id: &VolumeId, at: &InstanceId) -> bool {
        self.struck(|trouble| match trouble {
            Trouble::StickBusy { volume, instance, times } => {
                let fits = matches(volume.as_ref(), id.as_str())
                    && matches(instance.as_ref(), at.as_str());
                fits.then_some(*times)
            }
            _ => None,
        })
    }

    pub(crate) fn has_hidden_device(&mut self, at: &InstanceId, name: &str) -> bool {
        self.struck(|trouble| match trouble {
            Trouble::HiddenDevice { instance, device } => {
                (instance == at.as_str() && device == name).then_some(0)
            }
            _ => None,
        })
    }

    pub(crate) fn access_point_fails(&mut self, at: &str) -> bool {
        self.struck(|trouble| match trouble {
            Trouble::FailAccessPoint { file_system, times } => {
                matches(file_system.as_ref(), at).then_some(*times)
            }
            _ => None,
        })
    }

    pub(crate) fn modification_fails(&mut self, id: &VolumeId) -> bool {
        self.struck(|trouble| match trouble {
            Trouble::FailModification { volume, times } => {
                matches(volume.as_ref(), id.as_str()).then_some(*times)
            }
            _ => None,
        })
    }
}
