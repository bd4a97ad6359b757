//! Describe calls: lag, bad ids, filters; faults and quotas at the door; effects for devices.

use csi_core::ebs::{AttachmentState, VolumeState};

use super::super::effect::{Content, Effect};
use super::super::fault::{Before, Fault, FaultKind, When};
use super::*;

const UNKNOWN: &str = "vol-0123456789abcdef0";

#[test]
fn one_unknown_or_malformed_id_fails_the_whole_describe() {
    let mut world = world();
    let id = made(&mut world, 0);
    let with =
        |other: &str| Describe { ids: vec![id.clone(), other.to_owned()], ..Describe::default() };
    let error = world.describe_volumes(&with(UNKNOWN), 1).unwrap_err();
    assert_eq!(error.code, "InvalidVolume.NotFound");
    assert!(error.message.contains(UNKNOWN) && !error.message.contains(&id));
    assert_eq!(code(world.describe_volumes(&with("vol-x"), 1)), "InvalidParameterValue");
    let filtered = by_filter("volume-id", &[&id, UNKNOWN, "vol-x"]);
    assert_eq!(world.describe_volumes(&filtered, 1).unwrap().items.len(), 1);
}

#[test]
fn a_young_volume_is_not_seen_yet_but_can_be_acted_on() {
    let mut world = world_with(Settings { read_lag: Delay::FixedMs(500), ..Settings::instant() });
    let (id, node) = (made(&mut world, 0), node(&mut world));
    assert_eq!(code(world.describe_volumes(&by_id(&id), 499)), "InvalidVolume.NotFound");
    world.attach_volume(&id, &node, "/dev/xvdaa", 499).unwrap();
    let shown = |world: &mut World, now| {
        let found = world.describe_volumes(&by_id(&id), now).unwrap();
        found.items.first().unwrap().volume.clone()
    };
    assert_eq!(shown(&mut world, 500).state, VolumeState::Available);
    assert_eq!(shown(&mut world, 999).attachments.len(), 1);
}

#[test]
fn filters_are_checked_and_limited() {
    let mut world = world();
    assert_eq!(
        code(world.describe_volumes(&by_filter("colour", &["red"]), 0)),
        "InvalidParameterValue"
    );
    let many: Vec<String> = (0..201).map(|n| n.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(code(world.describe_volumes(&by_filter("tag:k", &many), 0)), "FilterLimitExceeded");
    assert!(world.describe_volumes(&by_filter("tag:k", &many[..200]), 0).is_ok());
}

#[test]
fn volumes_are_found_by_tag_and_by_instance() {
    let mut world = world();
    let node = node(&mut world);
    let tags = [("CSIVolumeName".to_owned(), "pvc-1".to_owned())].into();
    let call = CreateVolume { tags, ..gp3("t") };
    let id = world.create_volume(&call, 0).unwrap().volume.id.to_string();
    world.attach_volume(&id, &node, "/dev/xvdaa", 0).unwrap();
    let find = |world: &mut World, name: &str, value: &str| {
        world.describe_volumes(&by_filter(name, &[value]), 1).unwrap().items.len()
    };
    assert_eq!(find(&mut world, "tag:CSIVolumeName", "pvc-1"), 1);
    assert_eq!(find(&mut world, "tag:CSIVolumeName", "pvc-2"), 0);
    assert_eq!(find(&mut world, "attachment.instance-id", &node), 2);
    assert_eq!(find(&mut world, "attachment.device", "/dev/xvda*"), 2);
}

#[test]
fn a_fault_or_an_empty_bucket_refuses_a_call_at_the_door() {
    let mut world = world();
    world.settings_mut().throttle = true;
    world.set_bucket(Action::DeleteVolume, 1, 1);
    world.add_fault(Fault {
        action: Some(Action::AttachVolume),
        when: When::Next,
        fault: FaultKind::FailBefore { code: "InternalError".to_owned(), message: String::new() },
    });
    let refused = |world: &mut World, action| match world.admit(action, 0).before {
        Before::Refuse(error) => error.code,
        other => format!("{other:?}"),
    };
    assert_eq!(refused(&mut world, Action::AttachVolume), "InternalError");
    assert_eq!(refused(&mut world, Action::AttachVolume), "Proceed");
    assert_eq!(refused(&mut world, Action::DeleteVolume), "Proceed");
    assert_eq!(refused(&mut world, Action::DeleteVolume), "RequestLimitExceeded");
}

#[test]
fn with_devices_a_state_waits_for_its_device() {
    let mut world = world();
    world.with_devices();
    let (id, node) = (made(&mut world, 0), node(&mut world));
    let effects = world.take_effects();
    let [(create, effect)] = effects.as_slice() else { panic!("{effects:?}") };
    assert!(matches!(effect, Effect::Create { content: Content::Blank, .. }));
    world.advance(1_000);
    let volume_id = id.parse().unwrap();
    let state = |world: &World| world.volume(&volume_id).unwrap().volume.state;
    assert_eq!(state(&world), VolumeState::Creating);
    world.effect_ended(*create, Ok(()), 1_001);
    assert_eq!(state(&world), VolumeState::Available);

    world.attach_volume(&id, &node, "/dev/xvdaa", 1_002).unwrap();
    let effects = world.take_effects();
    let [(attach, _)] = effects.as_slice() else { panic!("{effects:?}") };
    world.effect_ended(*attach, Err("no loop device".to_owned()), 1_003);
    world.advance(9_999);
    let attachment = world.volume(&volume_id).unwrap().volume.attachments.first().unwrap();
    assert_eq!(attachment.state, AttachmentState::Attaching);
    assert_eq!(world.device_failures().first().unwrap().reason, "no loop device");
}

#[test]
fn a_volume_whose_disk_cannot_be_made_fails() {
    let mut world = world_with(Settings { delete: Delay::FixedMs(50), ..Settings::instant() });
    world.with_devices();
    let id = made(&mut world, 0).parse().unwrap();
    let effects = world.take_effects();
    let (create, _) = effects.first().unwrap();
    world.effect_ended(*create, Err("disk full".to_owned()), 1);
    assert_eq!(world.volume(&id).unwrap().volume.state, VolumeState::Error);
}
