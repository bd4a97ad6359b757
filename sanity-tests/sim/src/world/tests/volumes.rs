//! Creation, tokens, quotas, deletion.

use csi_core::ebs::VolumeState;

use super::super::call::CopyVolumes;
use super::*;

fn state(world: &mut World, id: &str, now: Millis) -> Option<VolumeState> {
    let listing = world.describe_volumes(&by_filter("volume-id", &[id]), now).unwrap();
    listing.items.first().map(|record| record.volume.state)
}

#[test]
fn a_volume_is_creating_until_its_time_has_come() {
    let mut world = world_with(Settings { create: Delay::FixedMs(1_500), ..Settings::instant() });
    let id = made(&mut world, 0);
    assert_eq!(state(&mut world, &id, 1_499), Some(VolumeState::Creating));
    assert_eq!(state(&mut world, &id, 1_500), Some(VolumeState::Available));
}

#[test]
fn a_token_replays_its_volume_and_refuses_other_parameters() {
    let mut world = world();
    let first = world.create_volume(&gp3("t"), 0).unwrap().volume.id;
    assert_eq!(world.create_volume(&gp3("t"), 9).unwrap().volume.id, first);
    let tagged = |value: &str| {
        let tags = [("k".to_owned(), value.to_owned())].into();
        CreateVolume { tags, ..gp3("t") }
    };
    for other in [
        CreateVolume { size: Some(11), ..gp3("t") },
        CreateVolume { volume_type: Some("gp2".to_owned()), ..gp3("t") },
        CreateVolume { encrypted: Some(true), ..gp3("t") },
        CreateVolume { encrypted: None, ..gp3("t") },
        tagged("v"),
    ] {
        assert_eq!(code(world.create_volume(&other, 9)), "IdempotentParameterMismatch");
    }
    assert_eq!(world.volumes().count(), 1);
}

#[test]
fn a_token_is_forgotten_after_its_life() {
    let mut world = world();
    let first = world.create_volume(&gp3("t"), 0).unwrap().volume.id;
    let life = world.settings().token_life_ms;
    assert_ne!(world.create_volume(&gp3("t"), life).unwrap().volume.id, first);
}

#[test]
fn a_volume_whose_key_is_unusable_vanishes_and_its_token_is_spent() {
    let delay = Delay::FixedMs(100);
    let mut world = world_with(Settings { create: delay, delete: delay, ..Settings::instant() });
    world.set_key_unusable("k-1", true);
    let call = CreateVolume { encrypted: Some(true), kms_key: Some("k-1".to_owned()), ..gp3("t") };
    let id = world.create_volume(&call, 0).unwrap().volume.id;
    assert_eq!(state(&mut world, id.as_str(), 100), Some(VolumeState::Error));
    assert_eq!(world.create_volume(&call, 150).unwrap().volume.state, VolumeState::Error);
    assert_eq!(state(&mut world, id.as_str(), 200), None);
    assert_eq!(code(world.create_volume(&call, 201)), "IdempotentParameterMismatch");
    world.settings_mut().spent_token = SpentToken::Replay;
    assert_eq!(world.create_volume(&call, 202).unwrap().volume.id, id);
}

#[test]
fn the_quota_is_checked_before_the_token() {
    let mut world = world_with(Settings { volume_quota: 1, ..Settings::instant() });
    world.create_volume(&gp3("t"), 0).unwrap();
    assert_eq!(code(world.create_volume(&gp3("t"), 1)), "VolumeLimitExceeded");
}

#[test]
fn a_zone_without_capacity_refuses_the_types_it_lacks() {
    let mut world = world();
    let mut zone = world.zones().remove(0);
    zone.exhausted.insert("gp3".to_owned());
    world.set_zone(zone);
    assert_eq!(code(world.create_volume(&gp3("t"), 0)), "InsufficientVolumeCapacity");
    let gp2 = CreateVolume { volume_type: Some("gp2".to_owned()), ..gp3("t") };
    world.create_volume(&gp2, 0).unwrap();
}

#[test]
fn a_dry_run_checks_parameters_and_makes_nothing() {
    let mut world = world();
    let dry = CreateVolume { dry_run: true, ..gp3("t") };
    assert_eq!(code(world.create_volume(&dry, 0)), "DryRunOperation");
    let wrong = CreateVolume { iops: Some(2_147_483_647), ..dry };
    assert_eq!(code(world.create_volume(&wrong, 0)), "InvalidParameterValue");
    assert_eq!(world.volumes().count(), 0);
}

#[test]
fn unknown_zones_and_missing_parameters_are_named() {
    let mut world = world();
    let nowhere = CreateVolume { zone: Some("eu-1x".to_owned()), ..gp3("t") };
    assert_eq!(code(world.create_volume(&nowhere, 0)), "InvalidZone.NotFound");
    let sizeless = CreateVolume { size: None, ..gp3("t") };
    assert_eq!(code(world.create_volume(&sizeless, 0)), "MissingParameter");
    let key_only = CreateVolume { kms_key: Some("k".to_owned()), ..gp3("t") };
    assert_eq!(code(world.create_volume(&key_only, 0)), "InvalidParameterDependency");
}

#[test]
fn tags_are_limited_and_some_keys_reserved() {
    let mut world = world();
    let tags = |n: usize| (0..n).map(|i| (format!("k{i}"), String::new())).collect();
    let most = CreateVolume { tags: tags(50), ..gp3("t") };
    let id = world.create_volume(&most, 0).unwrap().volume.id.to_string();
    assert_eq!(
        code(world.create_volume(&CreateVolume { tags: tags(51), ..gp3("u") }, 0)),
        "TagLimitExceeded"
    );
    let resources = [id];
    let add = |key: &str| [(key.to_owned(), "v".to_owned())].into();
    assert_eq!(code(world.create_tags(&resources, &add("new"), 0)), "TagLimitExceeded");
    assert_eq!(code(world.create_tags(&resources, &add("aws:x"), 0)), "InvalidParameterValue");
    world.create_tags(&resources, &add("k7"), 0).unwrap();
    world.delete_tags(&resources, &[("k8".to_owned(), None)], 0).unwrap();
    let tags = &world.volumes().next().unwrap().volume.tags;
    assert_eq!((tags.len(), tags.get("k7").map(String::as_str)), (49, Some("v")));
    let unknown = ["vol-0123456789abcdef0".to_owned()];
    assert_eq!(code(world.create_tags(&unknown, &add("k"), 0)), "InvalidVolume.NotFound");
}

#[test]
fn a_deleted_volume_is_deleting_for_a_while_and_then_gone() {
    let mut world = world_with(Settings { delete: Delay::FixedMs(50), ..Settings::instant() });
    let id = made(&mut world, 0);
    world.delete_volume(&id, 10).unwrap();
    assert_eq!(state(&mut world, &id, 11), Some(VolumeState::Deleting));
    assert_eq!(code(world.delete_volume(&id, 12)), "InvalidVolume.NotFound");
    assert_eq!(state(&mut world, &id, 60), None);
}

#[test]
fn attached_and_young_volumes_are_not_deleted() {
    let mut world = world_with(Settings { create: Delay::FixedMs(9), ..Settings::instant() });
    let (id, node) = (made(&mut world, 0), node(&mut world));
    assert_eq!(code(world.delete_volume(&id, 1)), "IncorrectState");
    world.attach_volume(&id, &node, "/dev/xvdaa", 10).unwrap();
    assert_eq!(code(world.delete_volume(&id, 11)), "VolumeInUse");
    assert_eq!(code(world.delete_volume("vol-1", 11)), "InvalidParameterValue");
}

#[test]
fn a_copy_lies_in_its_sources_zone_and_is_not_smaller() {
    let mut world = world();
    let source = made(&mut world, 0);
    let call = CopyVolumes {
        source: source.clone(),
        client_token: Some("c".to_owned()),
        ..CopyVolumes::default()
    };
    let copy = world.copy_volumes(&call, 0).unwrap().volume;
    assert_eq!((copy.zone.0.as_str(), copy.size.0, copy.iops), (ZONE, 10, Some(3_000)));
    assert_eq!(copy.source_volume.map(|id| id.to_string()), Some(source.clone()));
    assert_eq!(world.copy_volumes(&call, 1).unwrap().volume.id, copy.id);
    let secret = CopyVolumes { client_token: None, encrypted: Some(true), ..call.clone() };
    let secret = world.copy_volumes(&secret, 1).unwrap().volume;
    assert!(!copy.encrypted && secret.encrypted && secret.kms_key.is_some());
    let again = CopyVolumes { source: secret.id.to_string(), client_token: None, ..call.clone() };
    assert_eq!(world.copy_volumes(&again, 1).unwrap().volume.kms_key, secret.kms_key);
    let keyed = CopyVolumes { kms_key: Some("k".to_owned()), client_token: None, ..call.clone() };
    assert_eq!(code(world.copy_volumes(&keyed, 1)), "InvalidParameterDependency");
    let small = CopyVolumes { size: Some(9), ..call };
    assert_eq!(code(world.copy_volumes(&small, 1)), "InvalidParameterValue");
    world.delete_volume(&source, 2).unwrap();
    assert_eq!(code(world.copy_volumes(&small, 3)), "InvalidVolume.NotFound");
}
