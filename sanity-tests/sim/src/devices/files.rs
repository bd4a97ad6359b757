//! The bytes of volumes and snapshots: sparse files.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use csi_core::{GiB, SnapshotId, VolumeId};

use super::{DeviceError, command};
use crate::world::Content;

/// The folder with the files.
#[derive(Debug)]
pub(super) struct Files {
    folder: PathBuf,
}

impl Files {
    pub(super) fn new(folder: &Path) -> Self {
        // Loop devices name their files by whole paths; the folder exists by now.
        Self { folder: fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned()) }
    }

    /// Where an object's bytes are.
    pub(super) fn path(&self, id: &str) -> PathBuf {
        self.folder.join(id)
    }

    pub(super) fn create(
        &self,
        volume: &VolumeId,
        size: GiB,
        content: &Content,
    ) -> Result<(), DeviceError> {
        let path = self.path(volume.as_str());
        match content {
            Content::Blank => {
                File::create(&path).map_err(DeviceError::file("create", &path))?;
            }
            Content::Snapshot(source) => self.copy(source.as_str(), &path)?,
            Content::Volume(source) => self.copy(source.as_str(), &path)?,
        }
        self.grow(volume, size)
    }

    pub(super) fn capture(
        &self,
        snapshot: &SnapshotId,
        volume: &VolumeId,
    ) -> Result<(), DeviceError> {
        self.copy(volume.as_str(), &self.path(snapshot.as_str()))
    }

    /// Holes stay holes, and file systems that can share the bytes do. Without such a file system
    /// the copy is not of one instant: a writer that is not quiet may be caught half-way, where
    /// EBS would take one instant.
    fn copy(&self, source: &str, target: &Path) -> Result<(), DeviceError> {
        let (source, target) = (self.path(source), target.to_string_lossy());
        let source = source.to_string_lossy();
        command::run("cp", &["--sparse=always", "--reflink=auto", "--", &source, &target])?;
        Ok(())
    }

    pub(super) fn grow(&self, volume: &VolumeId, size: GiB) -> Result<(), DeviceError> {
        set_size(&self.path(volume.as_str()), size.bytes().0)
    }

    pub(super) fn remove(&self, id: &str) -> Result<(), DeviceError> {
        let path = self.path(id);
        match fs::remove_file(&path) {
            // A volume whose creation failed has none.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(DeviceError::file("remove", &path)),
        }
    }
}

/// Makes a file as long as that, with a hole at its end.
pub(super) fn set_size(path: &Path, bytes: u64) -> Result<(), DeviceError> {
    let file = File::options().write(true).open(path);
    file.and_then(|file| file.set_len(bytes)).map_err(DeviceError::file("resize", path))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_volume_from_a_snapshot_holds_what_the_volume_held_then_and_stays_sparse() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::new(folder.path());
        let volume: VolumeId = "vol-00000000000000001".parse().unwrap();
        let copy: VolumeId = "vol-00000000000000002".parse().unwrap();
        let snapshot: SnapshotId = "snap-00000000000000001".parse().unwrap();
        files.create(&volume, GiB(1), &Content::Blank).unwrap();
        let path = files.path(volume.as_str());
        let write = |text: &[u8]| File::options().write(true).open(&path).unwrap().write_all(text);
        write(b"before").unwrap();
        files.capture(&snapshot, &volume).unwrap();
        write(b"after!").unwrap();
        files.create(&copy, GiB(2), &Content::Snapshot(snapshot)).unwrap();
        let copied = files.path(copy.as_str());
        let metadata = fs::metadata(&copied).unwrap();
        assert_eq!(metadata.len(), 2 << 30);
        assert!(metadata.blocks() * 512 < 1 << 20, "{} blocks", metadata.blocks());
        let mut head = [0; 6];
        std::io::Read::read_exact(&mut File::open(&copied).unwrap(), &mut head).unwrap();
        assert_eq!(&head, b"before");
        files.remove(copy.as_str()).unwrap();
        files.remove(copy.as_str()).unwrap();
    }
}
