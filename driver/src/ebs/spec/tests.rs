//! Sizes, sources, and which existing volume is the one that is asked for.

use super::*;
use csi_core::ebs::VOLUME_NAME_TAG;
use csi_core::parameters::ClassParameters;
use csi_core::{Access, AccessMode};
use csi_proto::csi;

const G: i64 = 1 << 30;

fn range(required: i64, limit: i64) -> CapacityRange {
    let message = csi::CapacityRange { required_bytes: required * G, limit_bytes: limit * G };
    CapacityRange::parse(Some(&message)).unwrap()
}

fn request(range: CapacityRange) -> Request {
    Request {
        name: "pvc-1".parse().unwrap(),
        range,
        capabilities: vec![Capability {
            access: Access::Block,
            mode: AccessMode::SingleNodeWriter,
        }],
        class: ClassParameters::default(),
        source: None,
        zones: ZoneRequirement::default(),
    }
}

fn resolve(request: &Request, source: Option<&SourceFacts>) -> Result<Spec, Unfit> {
    Spec::resolve(request, source, &Settings::default())
}

fn copy_of(size: u32) -> SourceFacts {
    SourceFacts { size: GiB(size), zone: Some(Zone("z1".to_owned())), kms_key: None }
}

/// The volume that EC2 makes of a spec.
fn made(spec: &Spec) -> Volume {
    let call = spec.call(String::new(), Zone("z1".to_owned()));
    Volume {
        id: "vol-0123456789abcdef0".parse().unwrap(),
        state: VolumeState::Available,
        size: call.size,
        zone: call.zone,
        volume_type: call.volume_type,
        iops: call.iops.or(Some(3_000)),
        throughput: call.throughput.or(Some(125)),
        encrypted: call.encrypted,
        kms_key: call.kms_key,
        snapshot: None,
        source_volume: None,
        multi_attach: call.multi_attach,
        attachments: vec![],
        tags: call.tags,
    }
}

#[test]
fn a_request_without_a_size_gets_the_default_or_what_type_and_source_need() {
    let open = CapacityRange::default();
    assert_eq!(resolve(&request(open), None).unwrap().size, GiB(100));
    let mut cold = request(open);
    cold.class.volume_type = Some("st1".to_owned());
    assert_eq!(resolve(&cold, None).unwrap().size, GiB(125));
    assert_eq!(resolve(&request(open), Some(&copy_of(300))).unwrap().size, GiB(300));
}

#[test]
fn sizes_that_cannot_be_are_out_of_range() {
    let small = resolve(&request(range(5, 0)), Some(&copy_of(10))).unwrap_err();
    assert!(matches!(small, Unfit::SmallerThanSource { .. }), "{small}");
    let huge = resolve(&request(range(70_000, 0)), None).unwrap_err();
    assert!(matches!(huge, Unfit::Type(_)), "{huge}");
}

#[test]
fn a_copy_lies_where_its_source_lies_and_has_its_key() {
    let mut copy = request(range(10, 0));
    copy.source = Some(VolumeSource::Volume("vol-0123456789abcdef0".parse().unwrap()));
    let requirement = csi::TopologyRequirement {
        requisite: vec![csi_core::topology::volume_topology(&Zone("z2".to_owned()))],
        preferred: vec![],
    };
    copy.zones = ZoneRequirement::parse(Some(&requirement)).unwrap();
    let error = resolve(&copy, Some(&copy_of(10))).unwrap_err();
    assert!(matches!(error, Unfit::SourceZone { .. }), "{error}");

    copy.zones = ZoneRequirement::default();
    copy.class.kms_key = Some("arn:aws:kms:r:1:key/k".to_owned());
    let error = resolve(&copy, Some(&copy_of(10))).unwrap_err();
    assert!(error.to_string().starts_with("kmsKeyId:"), "{error}");
}

#[test]
fn several_nodes_need_a_type_that_attaches_to_several() {
    let mut many = request(range(10, 0));
    many.capabilities[0].mode = AccessMode::MultiNodeMultiWriter;
    let error = resolve(&many, None).unwrap_err();
    assert!(error.to_string().contains("io2"), "{error}");
    many.class.volume_type = Some("io2".to_owned());
    many.class.iops = Some(100);
    assert!(resolve(&many, None).unwrap().call(String::new(), Zone("z".into())).multi_attach);
}

#[test]
fn a_key_means_encryption() {
    let mut keyed = request(range(10, 0));
    keyed.class.kms_key = Some("alias/k".to_owned());
    keyed.class.encrypted = Some(false);
    assert!(resolve(&keyed, None).unwrap().encrypted);
}

#[test]
fn an_existing_volume_is_the_one_if_it_only_differs_in_what_may_change() {
    let spec = resolve(&request(range(10, 20)), None).unwrap();
    assert_eq!(spec.check(&made(&spec)), Ok(()));
    let larger = Volume { size: GiB(20), ..made(&spec) };
    assert_eq!(spec.check(&larger), Ok(()));
    let mut tagged = made(&spec);
    tagged.tags = Tags::from([(VOLUME_NAME_TAG.to_owned(), "pvc-1".to_owned())]);
    assert_eq!(spec.check(&tagged), Ok(()));
    let encrypted = Volume { encrypted: true, ..made(&spec) };
    assert_eq!(spec.check(&encrypted), Ok(()), "the account may encrypt by default");
}

#[test]
fn an_existing_volume_that_differs_is_named_with_the_difference() {
    let mut wanted = request(range(10, 10));
    wanted.class.iops = Some(4_000);
    wanted.class.encrypted = Some(true);
    let spec = resolve(&wanted, None).unwrap();
    let field = |volume: Volume| spec.check(&volume).unwrap_err().field;
    assert_eq!(field(Volume { size: GiB(11), ..made(&spec) }), "capacity");
    assert_eq!(field(Volume { volume_type: "gp2".into(), ..made(&spec) }), "type");
    assert_eq!(field(Volume { iops: Some(3_000), ..made(&spec) }), "iops");
    assert_eq!(field(Volume { encrypted: false, ..made(&spec) }), "encrypted");
    let source = "snap-0123456789abcdef0".parse().ok();
    assert_eq!(field(Volume { snapshot: source, ..made(&spec) }), "source");
}
