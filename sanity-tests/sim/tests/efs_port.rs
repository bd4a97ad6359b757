//! EFS through the port, in paused time.
#![expect(clippy::unwrap_used, reason = "what fails in a helper fails the test")]

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use csi_core::efs::{
    AccessPointQuery, CreateAccessPoint, CreatedAccessPoint, CreationInfo, Efs, LifeCycleState,
    PosixUser, Role, RootDirectory,
};
use csi_core::{ErrorKind, FileSystemId};
use csi_sim::world::efs::FileSystemSeed;
use csi_sim::world::role::{RoleSeed, Trust};
use csi_sim::world::{Action, Delay, Fault, FaultKind, Settings, When};
use csi_sim::{Sim, SimEfs, World};

const FS: &str = "fs-92107410";

fn efs(settings: Settings) -> SimEfs {
    let mut world = World::new(settings, 1);
    world.add_zone("us-east-1a");
    let seed = FileSystemSeed::new(FS, &[("us-east-1a", Ipv4Addr::new(127, 92, 10, 1))]);
    world.set_file_system(&seed, 0).unwrap();
    SimEfs::new(Sim::new(world))
}

fn fs() -> FileSystemId {
    FS.parse().unwrap()
}

fn point(token: &str, gid: u32) -> CreateAccessPoint {
    CreateAccessPoint {
        client_token: token.to_owned(),
        file_system: fs(),
        posix_user: PosixUser { uid: gid, gid, secondary_gids: vec![] },
        root: RootDirectory {
            path: format!("/dynamic_provisioning/{token}"),
            creation: Some(CreationInfo {
                owner_uid: gid,
                owner_gid: gid,
                permissions: "700".to_owned(),
            }),
        },
        tags: BTreeMap::new(),
    }
}

fn all() -> AccessPointQuery {
    AccessPointQuery::FileSystem { file_system: fs(), max: 1_000, token: None }
}

#[tokio::test(start_paused = true)]
async fn the_way_of_an_access_point_through_the_port() {
    let efs = efs(Settings { access_point: Delay::FixedMs(500), ..Settings::instant() });
    let made = efs.create_access_point(point("t", 1_000)).await.unwrap();
    let CreatedAccessPoint::New(made) = made else { panic!("{made:?}") };
    assert_eq!(made.state, LifeCycleState::Creating);
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    let listed = efs.describe_access_points(all()).await.unwrap();
    let shown = &listed.items[0];
    assert_eq!((&shown.id, shown.state), (&made.id, LifeCycleState::Available));
    assert_eq!(shown.posix_user.as_ref().unwrap().gid, 1_000);
    assert_eq!(shown.root.path, "/dynamic_provisioning/t");
    let again = efs.create_access_point(point("t", 1_001)).await.unwrap();
    assert_eq!(again, CreatedAccessPoint::Existing(made.id.clone()));
    efs.delete_access_point(made.id.clone()).await.unwrap();
    let error = efs.delete_access_point(made.id.clone()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::AccessPointNotFound);
}

#[tokio::test(start_paused = true)]
async fn a_lost_reply_leaves_an_access_point_that_the_token_finds() {
    let efs = efs(Settings::instant());
    let fault = Fault {
        action: Some(Action::CreateAccessPoint),
        when: When::Next,
        fault: FaultKind::LoseReply,
    };
    efs.sim().with(|world, _| world.add_fault(fault));
    let error = efs.create_access_point(point("t", 1_000)).await.unwrap_err();
    assert_eq!((error.kind, error.request_id), (ErrorKind::NoAnswer, None));
    let again = efs.create_access_point(point("t", 1_000)).await.unwrap();
    assert!(matches!(again, CreatedAccessPoint::Existing(_)), "{again:?}");
}

#[tokio::test(start_paused = true)]
async fn file_system_and_mount_targets_are_shown() {
    let efs = efs(Settings::instant());
    let shown = efs.describe_file_system(fs()).await.unwrap();
    assert_eq!((shown.state, shown.zone), (LifeCycleState::Available, None));
    let targets = efs.describe_mount_targets(fs()).await.unwrap();
    assert_eq!(targets[0].zone_id, "use1-az1");
    assert_eq!(targets[0].ipv4, Some(Ipv4Addr::new(127, 92, 10, 1)));
    let unknown = "fs-aaaaaaaa".parse().unwrap();
    let error = efs.describe_mount_targets(unknown).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::FileSystemNotFound);
}

#[tokio::test(start_paused = true)]
async fn a_role_is_assumed_once_and_only_by_whom_it_trusts() {
    let efs = efs(Settings::instant());
    let arn = "arn:aws:iam::210987654321:role/cross".to_owned();
    let trusts = vec![Trust::Signed { external_id: Some("secret".to_owned()) }];
    efs.sim().with(|world, _| world.set_role(RoleSeed::new(&arn, trusts)));
    let stranger = efs.as_role(&Role { arn: arn.clone(), external_id: None });
    let error = stranger.describe_access_points(all()).await.unwrap_err();
    assert_eq!((error.kind, error.action), (ErrorKind::Denied, "AssumeRole"));
    let friend = efs.as_role(&Role { arn, external_id: Some("secret".to_owned()) });
    friend.create_access_point(point("t", 1_000)).await.unwrap();
    friend.describe_access_points(all()).await.unwrap();
    efs.sim().with(|world, _| {
        assert_eq!(world.calls(Action::AssumeRole), 2);
        let last = world.history().last().unwrap();
        assert!(last.subject.ends_with("as arn:aws:iam::210987654321:role/cross"), "{last:?}");
    });
}
