//! The devices behind the volumes: each volume is a sparse file, which appears at an instance
//! when it is attached there. The world decides; this follows, and reports what it could not do.

mod cleaner;
pub(crate) mod command;
mod files;
mod guest;
mod loop_device;
mod runner;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, RwLock};

use csi_core::{GiB, InstanceId, VolumeId};

pub use command::CommandError;
pub use guest::GuestPlace;
pub use loop_device::LoopPlace;
pub use runner::run;

use crate::world::Effect;
pub(crate) use cleaner::Cleaner;
use files::Files;

/// Why the devices could not follow.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// A file could not be made, changed or removed.
    #[error("cannot {what} {}", path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A tool failed.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The guest could not follow.
    #[error(transparent)]
    Guest(#[from] csi_bed::DiskError),
    /// The guest cannot be reached.
    #[error(transparent)]
    Open(#[from] csi_bed::OpenError),
    /// The device is mounted or held, so EC2 would say `busy`.
    #[error("the device of {0} is mounted or held by another process")]
    InUse(VolumeId),
    /// The volume has no device there.
    #[error("{0} has no device here")]
    NoDevice(VolumeId),
    /// All devices are removed.
    #[error("aws-sim is ending")]
    Closed,
    /// A folder that is not ours to empty.
    #[error("{} is not empty and was not made by aws-sim; name a new or an empty folder", .0.display())]
    Foreign(PathBuf),
}

impl DeviceError {
    fn file(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { what, path, source }
    }
}

/// Where an instance's devices appear. Calls block; calls for one volume do not overlap.
pub trait Place: Send + Sync {
    /// Lets the volume whose bytes are in `file` appear, if it is not there already.
    fn attach(&self, volume: &VolumeId, file: &Path) -> Result<(), DeviceError>;
    /// Lets it disappear.
    fn detach(&self, volume: &VolumeId) -> Result<(), DeviceError>;
    /// Grows it, and its file with it.
    fn grow(&self, volume: &VolumeId, file: &Path, bytes: u64) -> Result<(), DeviceError>;
}

/// All devices of a world. Instances without a place have none: their attachments only exist in
/// the API.
pub struct Devices {
    files: Files,
    places: BTreeMap<InstanceId, Box<dyn Place>>,
    attached: Mutex<BTreeMap<VolumeId, BTreeSet<InstanceId>>>,
    /// Gone once closed; whoever works on devices holds it meanwhile.
    cleaner: RwLock<Option<Cleaner>>,
}

impl std::fmt::Debug for Devices {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let places: Vec<_> = self.places.keys().collect();
        f.debug_struct("Devices")
            .field("files", &self.files)
            .field("places", &places)
            .finish_non_exhaustive()
    }
}

impl Devices {
    /// Devices whose files are in `folder`, appearing below these roots (as loop devices) and in
    /// these guests (by their run folders). What an earlier run left there is swept away, and
    /// everything is removed when this process ends, however it ends.
    ///
    /// # Errors
    /// A folder that is in other use, a guest that is not there.
    pub fn open(
        folder: &Path,
        roots: &[(InstanceId, PathBuf)],
        guests: &[(InstanceId, PathBuf)],
    ) -> Result<Self, DeviceError> {
        let mut owned = vec![folder.to_owned()];
        owned.extend(roots.iter().map(|(_, root)| root.clone()));
        let cleaner = Cleaner::start(&owned)?;
        let mut places: BTreeMap<InstanceId, Box<dyn Place>> = BTreeMap::new();
        for (instance, root) in roots {
            places.insert(instance.clone(), Box::new(LoopPlace::open(root)?));
        }
        for (instance, run_dir) in guests {
            places.insert(instance.clone(), Box::new(GuestPlace::open(run_dir)?));
        }
        let files = Files::new(folder);
        Ok(Self { files, places, attached: Mutex::default(), cleaner: RwLock::new(Some(cleaner)) })
    }

    /// Removes all devices and files, and waits for it. What is under way ends first.
    ///
    /// # Errors
    /// What could not be removed is named on standard error.
    pub fn close(&self) -> Result<(), DeviceError> {
        let cleaner = self.cleaner.write().unwrap_or_else(PoisonError::into_inner).take();
        cleaner.map_or(Ok(()), Cleaner::finish)
    }

    /// Follows one effect. Blocks.
    pub(crate) fn perform(&self, effect: &Effect) -> Result<(), DeviceError> {
        // The lock is held until the effect has ended.
        match *self.cleaner.read().unwrap_or_else(PoisonError::into_inner) {
            None => Err(DeviceError::Closed),
            Some(_) => self.follow(effect),
        }
    }

    fn follow(&self, effect: &Effect) -> Result<(), DeviceError> {
        match effect {
            Effect::Create { volume, size, content } => self.files.create(volume, *size, content),
            Effect::Attach { volume, instance } => self.attach(volume, instance),
            Effect::Detach { volume, instance } => self.detach(volume, instance),
            Effect::Grow { volume, size } => self.grow(volume, *size),
            Effect::Capture { snapshot, volume } => self.files.capture(snapshot, volume),
            Effect::RemoveVolume(volume) => self.files.remove(volume.as_str()),
            Effect::RemoveSnapshot(snapshot) => self.files.remove(snapshot.as_str()),
        }
    }

    fn attach(&self, volume: &VolumeId, instance: &InstanceId) -> Result<(), DeviceError> {
        if let Some(place) = self.places.get(instance) {
            place.attach(volume, &self.files.path(volume.as_str()))?;
            self.attached(|all| {
                all.entry(volume.clone()).or_default().insert(instance.clone());
            });
        }
        Ok(())
    }

    /// An attachment that failed has no device to remove.
    fn detach(&self, volume: &VolumeId, instance: &InstanceId) -> Result<(), DeviceError> {
        let there = self
            .attached(|all| all.get(volume).is_some_and(|instances| instances.contains(instance)));
        if let (true, Some(place)) = (there, self.places.get(instance)) {
            place.detach(volume)?;
            self.attached(|all| {
                if let Some(instances) = all.get_mut(volume) {
                    instances.remove(instance);
                }
            });
        }
        Ok(())
    }

    fn grow(&self, volume: &VolumeId, size: GiB) -> Result<(), DeviceError> {
        let instances = self.attached(|all| all.get(volume).cloned().unwrap_or_default());
        let file = self.files.path(volume.as_str());
        for place in instances.iter().filter_map(|instance| self.places.get(instance)) {
            place.grow(volume, &file, size.bytes().0)?;
        }
        self.files.grow(volume, size)
    }

    fn attached<T>(
        &self,
        act: impl FnOnce(&mut BTreeMap<VolumeId, BTreeSet<InstanceId>>) -> T,
    ) -> T {
        act(&mut self.attached.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
