//! Modifications.

use csi_core::GiB;
use csi_core::ebs::ModificationState;

use super::super::call::ModifyVolume;
use super::super::trouble::Trouble;
use super::*;

fn grow(id: &str, size: u32) -> ModifyVolume {
    ModifyVolume { volume: id.to_owned(), size: Some(size), ..ModifyVolume::default() }
}

fn seen(world: &mut World, id: &str, now: Millis) -> (ModificationState, u32) {
    world.advance(now);
    let id = id.parse().unwrap();
    let state = world.modification(&id).unwrap().modification.state;
    (state, world.volume(&id).unwrap().volume.size.0)
}

#[test]
fn a_modification_is_in_force_from_optimizing_on() {
    let mut world = world_with(Settings {
        modify: Delay::FixedMs(100),
        optimize: Delay::FixedMs(1_000),
        ..Settings::instant()
    });
    let id = made(&mut world, 0);
    world.modify_volume(&grow(&id, 20), 0).unwrap();
    assert_eq!(seen(&mut world, &id, 99), (ModificationState::Modifying, 10));
    assert_eq!(code(world.modify_volume(&grow(&id, 30), 99)), "IncorrectModificationState");
    assert_eq!(seen(&mut world, &id, 100), (ModificationState::Optimizing, 20));
    assert_eq!(code(world.modify_volume(&grow(&id, 30), 101)), "IncorrectModificationState");
    assert_eq!(seen(&mut world, &id, 1_100), (ModificationState::Completed, 20));
}

#[test]
fn four_modifications_in_a_day_are_allowed() {
    let mut world = world();
    let id = made(&mut world, 0);
    for size in 11..15 {
        world.modify_volume(&grow(&id, size), 1).unwrap();
    }
    assert_eq!(code(world.modify_volume(&grow(&id, 15), 2)), "VolumeModificationRateExceeded");
    world.modify_volume(&grow(&id, 15), 1 + 24 * 3_600_000).unwrap();
}

#[test]
fn a_volume_never_shrinks_and_keeps_to_its_types_rules() {
    let mut world = world();
    let id = made(&mut world, 0);
    assert_eq!(code(world.modify_volume(&grow(&id, 9), 0)), "InvalidParameterValue");
    let fast = ModifyVolume { iops: Some(6_000), ..grow(&id, 10) };
    assert_eq!(code(world.modify_volume(&fast, 0)), "InvalidParameterValue");
    let fast = ModifyVolume { iops: Some(6_000), ..grow(&id, 12) };
    world.modify_volume(&fast, 0).unwrap();
    world.advance(1);
    let volume = &world.volume(&id.parse().unwrap()).unwrap().volume;
    assert_eq!((volume.size, volume.iops, volume.throughput), (GiB(12), Some(6_000), Some(125)));
    let untyped =
        ModifyVolume { volume: id, volume_type: Some("io2".to_owned()), ..ModifyVolume::default() };
    assert_eq!(code(world.modify_volume(&untyped, 2)), "MissingParameter");
}

#[test]
fn a_modification_can_fail_and_changes_nothing_then() {
    let mut world = world();
    let id = made(&mut world, 0);
    world.add_trouble(Trouble::FailModification { volume: None, times: 1 });
    world.modify_volume(&grow(&id, 20), 0).unwrap();
    assert_eq!(seen(&mut world, &id, 1), (ModificationState::Failed, 10));
}

#[test]
fn a_volume_that_was_never_modified_fails_a_list_by_id_but_not_a_filter() {
    let mut world = world();
    let (id, other) = (made(&mut world, 0), made(&mut world, 0));
    world.modify_volume(&grow(&id, 20), 0).unwrap();
    let both = Describe { ids: vec![id.clone(), other.clone()], ..Describe::default() };
    assert_eq!(code(world.describe_modifications(&both, 1)), "InvalidVolumeModification.NotFound");
    let filtered = by_filter("volume-id", &[&id, &other]);
    assert_eq!(world.describe_modifications(&filtered, 1).unwrap().items.len(), 1);
}
