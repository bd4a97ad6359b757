//! A StorageClass as a user writes it, read as Kubernetes' external-provisioner reads it.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use csi_proto::csi;
use csi_proto::csi::volume_capability::access_mode::Mode;
use csi_proto::csi::volume_capability::{AccessMode, AccessType, BlockVolume, MountVolume};
use k8s_openapi::api::storage::v1::StorageClass as Object;

/// What the provisioner takes from a StorageClass.
#[derive(Debug, Clone)]
pub struct StorageClass {
    /// `metadata.name`.
    pub name: String,
    /// What goes into `CreateVolumeRequest.parameters`.
    pub parameters: HashMap<String, String>,
    /// File system; ext4 unless the class says otherwise (`--default-fstype=ext4`).
    pub fs_type: String,
    /// Flags for mount(2).
    pub mount_options: Vec<String>,
}

impl StorageClass {
    /// Reads a YAML file with one StorageClass for `provisioner`.
    pub fn read(file: &Path, provisioner: &str) -> Result<Self> {
        let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
        let object: Object = serde_saphyr::from_str(&text)?;
        ensure!(object.provisioner == provisioner, "{} is not for {provisioner}", file.display());
        let mut parameters: HashMap<_, _> =
            object.parameters.unwrap_or_default().into_iter().collect();
        // Keys with Kubernetes' own prefix are the provisioner's, and are not passed on. The old
        // spelling without prefix is read and passed on.
        let prefixed = parameters.remove("csi.storage.k8s.io/fstype");
        let old = parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case("fstype"));
        let fs_type = prefixed.or_else(|| old.map(|(_, value)| value.clone()));
        parameters.retain(|key, _| !key.starts_with("csi.storage.k8s.io/"));
        Ok(Self {
            name: object.metadata.name.unwrap_or_default(),
            parameters,
            fs_type: fs_type.unwrap_or_else(|| "ext4".to_owned()),
            mount_options: object.mount_options.unwrap_or_default(),
        })
    }

    /// A volume for one node, as a directory.
    #[must_use]
    pub fn mount(&self) -> csi::VolumeCapability {
        capability(AccessType::Mount(MountVolume {
            fs_type: self.fs_type.clone(),
            mount_flags: self.mount_options.clone(),
            ..Default::default()
        }))
    }
}

/// A volume for one node, as a device.
#[must_use]
pub fn block() -> csi::VolumeCapability {
    capability(AccessType::Block(BlockVolume {}))
}

fn capability(access_type: AccessType) -> csi::VolumeCapability {
    csi::VolumeCapability {
        access_mode: Some(AccessMode { mode: Mode::SingleNodeWriter as i32 }),
        access_type: Some(access_type),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gp3_class_reads_as_the_provisioner_reads_it() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/examples/gp3.yaml");
        let class = StorageClass::read(&file, "ebs.csi.aws.com").unwrap();
        assert_eq!(class.name, "gp3");
        assert_eq!(class.fs_type, "ext4");
        assert_eq!(class.parameters["iops"], "4000");
        assert_eq!(class.parameters["throughput"], "400");
    }
}
