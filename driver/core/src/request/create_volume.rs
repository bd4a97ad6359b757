//! `CreateVolume`.

use csi_proto::csi;
use csi_proto::csi::volume_content_source::Type;

use super::{BadRequest, name, present};
use crate::capability::Capability;
use crate::capacity::CapacityRange;
use crate::ebs::VolumeSource;
use crate::id::VolumeName;
use crate::parameters::{ClassParameters, InvalidTags, MutableParameters};
use crate::rpc_error::Invalid;
use crate::topology::ZoneRequirement;

/// A volume that a CO wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateVolume {
    /// Its name, the key of idempotency.
    pub name: VolumeName,
    /// Its size.
    pub range: CapacityRange,
    /// How it will be used.
    pub capabilities: Vec<Capability>,
    /// What its `StorageClass` asks for, with the `VolumeAttributesClass`'s wishes in it.
    pub class: ClassParameters,
    /// What it shall hold.
    pub source: Option<VolumeSource>,
    /// Where it may lie.
    pub zones: ZoneRequirement,
}

impl CreateVolume {
    /// Reads a message.
    ///
    /// # Errors
    /// A field that breaks a rule, or a source that cannot exist.
    pub fn parse(
        message: csi::CreateVolumeRequest,
        invalid_tags: InvalidTags,
    ) -> Result<Self, BadRequest> {
        let name = name(&message.name)?;
        let capabilities = Capability::parse_all(&message.volume_capabilities)?;
        for capability in &capabilities {
            capability.check_ebs()?;
        }
        let range = CapacityRange::parse(message.capacity_range.as_ref())?;
        let class = ClassParameters::parse(&message.parameters, invalid_tags)?;
        let claim = class.claim.clone();
        let mutable =
            MutableParameters::parse_for(claim, &message.mutable_parameters, invalid_tags)?;
        class.check_format(&capabilities)?;
        let zones = ZoneRequirement::parse(message.accessibility_requirements.as_ref())?;
        let class = overlay(class, mutable);
        let source = source(message.volume_content_source)?;
        if matches!(source, Some(VolumeSource::Volume(_))) && class.encrypted == Some(false) {
            return Err(Invalid::new("encrypted", "a copy is encrypted as its source").into());
        }
        Ok(Self { name, range, capabilities, class, source, zones })
    }
}

/// A `VolumeAttributesClass` overrides the `StorageClass`. What concerns one of `iops` and `iopsPerGB`
/// replaces both, since they exclude each other.
fn overlay(mut class: ClassParameters, mutable: MutableParameters) -> ClassParameters {
    if mutable.iops.is_some() || mutable.iops_per_gib.is_some() {
        class.iops = mutable.iops;
        class.iops_per_gib = mutable.iops_per_gib;
    }
    class.volume_type = mutable.volume_type.or(class.volume_type);
    class.throughput = mutable.throughput.or(class.throughput);
    class.raise_iops_on_modify = mutable.raise_iops_on_modify.or(class.raise_iops_on_modify);
    class.tags.retain(|key, _value| !mutable.deleted_tags.contains(key));
    class.tags.extend(mutable.tags);
    class
}

fn source(message: Option<csi::VolumeContentSource>) -> Result<Option<VolumeSource>, BadRequest> {
    let Some(message) = message else { return Ok(None) };
    match message.r#type {
        None => Err(Invalid::new("volume_content_source", "must be a snapshot or a volume").into()),
        Some(Type::Snapshot(snapshot)) => {
            let id = present("volume_content_source.snapshot.snapshot_id", &snapshot.snapshot_id)?;
            Ok(Some(VolumeSource::Snapshot(id.parse()?)))
        }
        Some(Type::Volume(volume)) => {
            let id = present("volume_content_source.volume.volume_id", &volume.volume_id)?;
            Ok(Some(VolumeSource::Volume(id.parse()?)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc_error::GrpcCode;
    use csi_proto::csi::volume_capability::{AccessType, MountVolume, access_mode::Mode};
    use tonic::Code;

    fn message() -> csi::CreateVolumeRequest {
        csi::CreateVolumeRequest {
            name: "pvc-1".to_owned(),
            volume_capabilities: vec![csi::VolumeCapability {
                access_mode: Some(csi::volume_capability::AccessMode {
                    mode: Mode::SingleNodeWriter as i32,
                }),
                access_type: Some(AccessType::Mount(MountVolume::default())),
            }],
            ..Default::default()
        }
    }

    fn parse(message: csi::CreateVolumeRequest) -> Result<CreateVolume, BadRequest> {
        CreateVolume::parse(message, InvalidTags::Refuse)
    }

    fn map(pairs: &[(&str, &str)]) -> std::collections::BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn a_volume_attributes_class_overrides_the_storage_class() {
        let message = csi::CreateVolumeRequest {
            parameters: map(&[("type", "gp2"), ("iopsPerGB", "3"), ("throughput", "200")]),
            mutable_parameters: map(&[("type", "gp3"), ("iops", "5000")]),
            ..message()
        };
        let class = parse(message).unwrap().class;
        assert_eq!(class.volume_type.as_deref(), Some("gp3"));
        assert_eq!(
            (class.iops, class.iops_per_gib, class.throughput),
            (Some(5000), None, Some(200))
        );
    }

    #[test]
    fn tags_of_both_classes_are_made_of_the_claims_names_and_invalid_ones_may_be_left_out() {
        let message = csi::CreateVolumeRequest {
            parameters: map(&[
                ("csi.storage.k8s.io/pvc/name", "data"),
                ("tagSpecification_1", "a={{ .PVCName }}"),
                ("tagSpecification_2", "b={{ .Nobody }}"),
            ]),
            mutable_parameters: map(&[("tagSpecification_1", "c={{ .PVCName | toUpper }}")]),
            ..message()
        };
        let error = parse(message.clone()).unwrap_err();
        assert!(error.to_string().starts_with("tagSpecification_2:"), "{error}");
        let tags = CreateVolume::parse(message, InvalidTags::Skip).unwrap().class.tags;
        assert_eq!(tags, map(&[("a", "data"), ("c", "DATA")]));
    }

    #[test]
    fn an_unknown_source_is_not_found_but_only_after_all_other_fields() {
        let source = csi::VolumeContentSource {
            r#type: Some(Type::Snapshot(csi::volume_content_source::SnapshotSource {
                snapshot_id: "non-existing".to_owned(),
            })),
        };
        let bad = csi::CreateVolumeRequest {
            volume_content_source: Some(source),
            parameters: map(&[("colour", "red")]),
            ..message()
        };
        let error = parse(bad.clone()).unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument);
        let only_source = csi::CreateVolumeRequest { parameters: map(&[]), ..bad };
        assert_eq!(parse(only_source).unwrap_err().code(), Code::NotFound);
    }

    #[test]
    fn missing_names_and_capabilities_are_refused() {
        let nameless = csi::CreateVolumeRequest { name: String::new(), ..message() };
        assert!(parse(nameless).unwrap_err().to_string().starts_with("name:"));
        let incapable = csi::CreateVolumeRequest { volume_capabilities: vec![], ..message() };
        assert_eq!(parse(incapable).unwrap_err().code(), Code::InvalidArgument);
    }
}
