//! Volumes as NVMe disks of a virtual machine.

use std::path::Path;

use csi_bed::{DiskError, Guest};
use csi_core::VolumeId;

use super::{DeviceError, Place};

/// A running guest, which stands for an instance.
#[derive(Debug)]
pub struct GuestPlace(Guest);

impl GuestPlace {
    /// The guest with this run folder.
    ///
    /// # Errors
    /// There is no such guest.
    pub fn open(run_dir: &Path) -> Result<Self, DeviceError> {
        Ok(Self(Guest::open(run_dir)?))
    }
}

impl Place for GuestPlace {
    fn attach(&self, volume: &VolumeId, file: &Path) -> Result<(), DeviceError> {
        match self.0.disks().attach(&volume.nvme_serial(), file) {
            Ok(device) => tracing::info!(%volume, device, "the guest has the disk"),
            Err(DiskError::AlreadyAttached { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn detach(&self, volume: &VolumeId) -> Result<(), DeviceError> {
        match self.0.disks().detach(&volume.nvme_serial()) {
            // A guest that was switched off and on has lost its disks.
            Err(DiskError::NotAttached { .. }) => Ok(()),
            other => Ok(other?),
        }
    }

    fn grow(&self, volume: &VolumeId, _: &Path, bytes: u64) -> Result<(), DeviceError> {
        Ok(self.0.disks().grow(&volume.nvme_serial(), bytes)?)
    }
}
