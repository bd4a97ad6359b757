//! Access points, as EFS keeps them.

use super::super::efs::{
    AccessPointSeed, CreateAccessPoint, CreationInfo, DescribeEfs, FileSystemSeed, LifeCycle,
    MountTargetSeed, PosixUser, RootDirectory,
};
use super::*;

const FS: &str = "fs-92107410";
const OTHER: &str = "fs-0123456789abcdef0";

fn efs_with(settings: Settings) -> World {
    let mut world = world_with(settings);
    for (id, last) in [(FS, 1), (OTHER, 2)] {
        let seed = FileSystemSeed::new(
            id,
            &[(ZONE, [127, 92, last, 1].into()), ("us-east-1b", [127, 92, last, 2].into())],
        );
        world.set_file_system(&seed, 0).unwrap();
    }
    world
}

fn point(token: &str) -> CreateAccessPoint {
    let user = PosixUser { uid: 1_000, gid: 1_000, secondary_gids: Vec::new() };
    CreateAccessPoint {
        client_token: token.to_owned(),
        file_system: FS.to_owned(),
        root: RootDirectory {
            path: format!("/dynamic_provisioning/{token}"),
            creation_info: Some(CreationInfo {
                owner_uid: user.uid,
                owner_gid: user.gid,
                permissions: "700".to_owned(),
            }),
        },
        posix_user: Some(user),
        tags: csi_core::ebs::Tags::new(),
    }
}

fn of(file_system: &str) -> DescribeEfs {
    DescribeEfs { file_system: Some(file_system.to_owned()), ..DescribeEfs::default() }
}

fn one(id: &str) -> DescribeEfs {
    DescribeEfs { access_point: Some(id.to_owned()), ..DescribeEfs::default() }
}

#[test]
fn an_access_point_is_created_available_deleted_and_gone() {
    let settings = Settings {
        access_point: Delay::FixedMs(500),
        access_point_delete: Delay::FixedMs(300),
        ..Settings::instant()
    };
    let mut world = efs_with(settings);
    let made = world.create_access_point(&point("t"), 0).unwrap();
    assert_eq!(made.state, LifeCycle::Creating);
    let state = |world: &mut World, now| {
        world.describe_access_points(&one(&made.id), now).map(|page| page.items[0].state)
    };
    assert_eq!(state(&mut world, 499), Ok(LifeCycle::Creating));
    assert_eq!(state(&mut world, 500), Ok(LifeCycle::Available));
    world.delete_access_point(&made.id, 1_000).unwrap();
    world.delete_access_point(&made.id, 1_001).unwrap();
    assert_eq!(state(&mut world, 1_299), Ok(LifeCycle::Deleting));
    let taken = world.create_access_point(&point("t"), 1_299).unwrap_err();
    assert_eq!(taken.resource.as_ref(), Some(&made.id), "the token is free only when it is gone");
    assert_eq!(code(state(&mut world, 1_300)), "AccessPointNotFound");
    assert_eq!(code(world.delete_access_point(&made.id, 1_301)), "AccessPointNotFound");
    world.create_access_point(&point("t"), 1_302).unwrap();
}

#[test]
fn a_used_token_is_refused_with_the_id_even_for_another_file_system() {
    let mut world = efs_with(Settings::instant());
    let made = world.create_access_point(&point("t"), 0).unwrap();
    let elsewhere = CreateAccessPoint { file_system: OTHER.to_owned(), ..point("t") };
    for call in [point("t"), elsewhere] {
        let error = world.create_access_point(&call, 1).unwrap_err();
        assert_eq!((error.code.as_str(), error.status), ("AccessPointAlreadyExists", 409));
        assert_eq!(error.resource.as_ref(), Some(&made.id));
    }
    assert_eq!(world.access_points().count(), 1);
}

#[test]
fn the_quota_counts_per_file_system() {
    let mut world = efs_with(Settings { access_point_quota: 2, ..Settings::instant() });
    world.create_access_point(&point("a"), 0).unwrap();
    world.create_access_point(&point("b"), 0).unwrap();
    let error = world.create_access_point(&point("c"), 0).unwrap_err();
    assert_eq!(error.code, "AccessPointLimitExceeded");
    let elsewhere = CreateAccessPoint { file_system: OTHER.to_owned(), ..point("c") };
    world.create_access_point(&elsewhere, 0).unwrap();
}

#[test]
fn malformed_calls_and_unknown_file_systems_are_refused() {
    let mut world = efs_with(Settings::instant());
    let mut refused = |change: fn(&mut CreateAccessPoint)| {
        let mut call = point("t");
        change(&mut call);
        code(world.create_access_point(&call, 0))
    };
    assert_eq!(refused(|call| call.client_token = "x".repeat(65)), "BadRequest");
    assert_eq!(refused(|call| call.client_token = String::new()), "BadRequest");
    assert_eq!(refused(|call| call.file_system = "fs-x".to_owned()), "BadRequest");
    assert_eq!(refused(|call| call.file_system = "fs-aaaaaaaa".to_owned()), "FileSystemNotFound");
    assert_eq!(refused(|call| call.root.path = "/a/b/c/d/e/f".to_owned()), "BadRequest");
    let no_permissions = |call: &mut CreateAccessPoint| {
        if let Some(info) = &mut call.root.creation_info {
            info.permissions = String::new();
        }
    };
    assert_eq!(refused(no_permissions), "BadRequest");
    let reserved =
        |call: &mut CreateAccessPoint| drop(call.tags.insert("aws:x".to_owned(), String::new()));
    assert_eq!(refused(reserved), "BadRequest");
    assert_eq!(world.access_points().count(), 0);
    let deleting = FileSystemSeed { state: LifeCycle::Deleting, ..FileSystemSeed::new(FS, &[]) };
    world.set_file_system(&deleting, 1).unwrap();
    assert_eq!(
        code(world.create_access_point(&point("t"), 1)),
        "IncorrectFileSystemLifeCycleState"
    );
}

#[test]
fn listings_lag_and_come_in_pages() {
    let mut world = efs_with(Settings { read_lag: Delay::FixedMs(500), ..Settings::instant() });
    for n in 0..130 {
        world.create_access_point(&point(&format!("t{n}")), 0).unwrap();
    }
    assert_eq!(world.describe_access_points(&of(FS), 499).unwrap().items.len(), 0);
    let first = world.describe_access_points(&of(FS), 500).unwrap();
    assert_eq!(first.items.len(), 100);
    let next = DescribeEfs { next_token: first.next_token, ..of(FS) };
    let second = world.describe_access_points(&next, 500).unwrap();
    assert_eq!((second.items.len(), second.next_token), (30, None));
    let all = DescribeEfs { max_results: Some(5_000), ..of(FS) };
    assert_eq!(world.describe_access_points(&all, 500).unwrap().items.len(), 130);
    assert_eq!(world.describe_access_points(&of(OTHER), 500).unwrap().items.len(), 0);
    let forged = DescribeEfs { next_token: Some("00".to_owned()), ..of(FS) };
    assert_eq!(code(world.describe_access_points(&forged, 500)), "BadRequest");
}

#[test]
fn file_systems_and_mount_targets_are_described() {
    let mut world = efs_with(Settings::instant());
    let shown = world.describe_file_systems(&DescribeEfs::default(), 0).unwrap();
    assert_eq!(shown.items.len(), 2);
    assert_eq!(code(world.describe_file_systems(&of("fs-aaaaaaaa"), 0)), "FileSystemNotFound");
    let targets = world.describe_mount_targets(&of(FS), 0).unwrap().items;
    let zones: Vec<_> = targets.iter().map(|target| target.zone.as_str()).collect();
    assert_eq!(zones.len(), 2);
    assert!(zones.contains(&ZONE));
    let made = world.create_access_point(&point("t"), 0).unwrap();
    assert_eq!(world.describe_mount_targets(&one(&made.id), 0).unwrap().items, targets);
    assert_eq!(code(world.describe_mount_targets(&DescribeEfs::default(), 0)), "BadRequest");
    let one_zone =
        FileSystemSeed { one_zone: Some(ZONE.to_owned()), ..FileSystemSeed::new(FS, &[]) };
    world.set_file_system(&one_zone, 0).unwrap();
    let shown = world.describe_file_systems(&of(FS), 0).unwrap().items;
    assert_eq!(shown[0].one_zone.as_deref(), Some(ZONE));
    assert!(world.describe_mount_targets(&of(FS), 0).unwrap().items.is_empty());
}

#[test]
fn an_access_point_may_fail_and_its_calls_be_throttled() {
    let mut world = efs_with(Settings { throttle: true, ..Settings::instant() });
    world.add_trouble(Trouble::FailAccessPoint { file_system: None, times: 1 });
    let id = world.create_access_point(&point("t"), 0).unwrap().id;
    assert_eq!(world.access_point(&id).unwrap().state, LifeCycle::Error);
    world.set_bucket(Action::CreateAccessPoint, 1, 0);
    assert_eq!(world.admit(Action::CreateAccessPoint, 0).before, fault::Before::Proceed);
    let fault::Before::Refuse(error) = world.admit(Action::CreateAccessPoint, 0).before else {
        panic!("not throttled");
    };
    assert_eq!((error.code.as_str(), error.status), ("ThrottlingException", 429));
}

#[test]
fn seeded_access_points_are_there_at_once_and_only_once() {
    let mut world = efs_with(Settings::ec2());
    let call = point("old");
    let seed = AccessPointSeed {
        client_token: call.client_token,
        posix_user: call.posix_user,
        root: call.root,
        tags: call.tags,
    };
    let target = MountTargetSeed {
        zone: ZONE.to_owned(),
        address: std::net::Ipv6Addr::LOCALHOST.into(),
        state: LifeCycle::Available,
    };
    let seed = FileSystemSeed {
        access_points: vec![seed],
        mount_targets: vec![target],
        ..FileSystemSeed::new(FS, &[])
    };
    world.set_file_system(&seed, 7).unwrap();
    world.set_file_system(&seed, 7).unwrap();
    let shown = world.describe_access_points(&of(FS), 7).unwrap().items;
    assert_eq!((shown.len(), shown[0].state), (1, LifeCycle::Available));
    let targets = world.describe_mount_targets(&of(FS), 7).unwrap().items;
    assert!(targets[0].address.is_ipv6());
}
