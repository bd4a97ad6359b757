//! Snapshots.

use csi_core::ebs::SnapshotState;

use super::super::call::CreateSnapshot;
use super::*;

fn of(volume: &str) -> CreateSnapshot {
    CreateSnapshot { volume: volume.to_owned(), ..CreateSnapshot::default() }
}

#[test]
fn a_snapshot_progresses_to_completed() {
    let mut world = world_with(Settings { snapshot: Delay::FixedMs(1_000), ..Settings::instant() });
    let volume = made(&mut world, 0);
    let id = world.create_snapshot(&of(&volume), 0).unwrap().snapshot.id.to_string();
    let at = |world: &mut World, now| {
        let found = world.describe_snapshots(&by_id(&id), now).unwrap();
        let shown = found.items.first().unwrap().snapshot.clone();
        (shown.state, shown.progress)
    };
    assert_eq!(at(&mut world, 500), (SnapshotState::Pending, 50));
    let early = CreateVolume { snapshot: Some(id.clone()), ..gp3("early") };
    assert_eq!(code(world.create_volume(&early, 500)), "IncorrectState");
    assert_eq!(at(&mut world, 1_000), (SnapshotState::Completed, 100));
}

#[test]
fn a_volume_from_a_snapshot_is_not_smaller_and_inherits_size_and_encryption() {
    let mut world = world();
    let call = CreateVolume { encrypted: Some(true), ..gp3("source") };
    let source = world.create_volume(&call, 0).unwrap().volume.id.to_string();
    let snapshot = world.create_snapshot(&of(&source), 0).unwrap().snapshot.id.to_string();
    let small = CreateVolume { snapshot: Some(snapshot.clone()), size: Some(9), ..gp3("small") };
    assert_eq!(code(world.create_volume(&small, 1)), "InvalidParameterValue");
    let same = CreateVolume { size: None, ..small };
    let volume = world.create_volume(&same, 1).unwrap().volume;
    assert_eq!((volume.size.0, volume.encrypted), (10, true));
    assert_eq!(volume.snapshot.map(|id| id.to_string()), Some(snapshot));
}

#[test]
fn repeated_calls_make_repeated_snapshots_unless_they_come_too_fast() {
    let mut world = world_with(Settings { snapshot_spacing_ms: 15_000, ..Settings::instant() });
    let volume = made(&mut world, 0);
    world.create_snapshot(&of(&volume), 0).unwrap();
    assert_eq!(
        code(world.create_snapshot(&of(&volume), 14_999)),
        "SnapshotCreationPerVolumeRateExceeded"
    );
    world.create_snapshot(&of(&volume), 15_000).unwrap();
    assert_eq!(world.snapshots().count(), 2);
}

#[test]
fn a_deleted_snapshot_is_seen_until_reads_catch_up() {
    let mut world = world_with(Settings { read_lag: Delay::FixedMs(300), ..Settings::instant() });
    let volume = made(&mut world, 0);
    let id = world.create_snapshot(&of(&volume), 0).unwrap().snapshot.id.to_string();
    assert_eq!(code(world.describe_snapshots(&by_id(&id), 299)), "InvalidSnapshot.NotFound");
    world.delete_snapshot(&id, 1_000).unwrap();
    assert_eq!(code(world.delete_snapshot(&id, 1_001)), "InvalidSnapshot.NotFound");
    assert_eq!(world.describe_snapshots(&by_id(&id), 1_299).unwrap().items.len(), 1);
    assert_eq!(code(world.describe_snapshots(&by_id(&id), 1_300)), "InvalidSnapshot.NotFound");
}
