//! The whole port to EFS against the simulated AWS over HTTP, signatures verified. As in
//! `simulated.rs`, the client is this program again, since it takes its keys and endpoint from the
//! environment.

#![expect(clippy::unwrap_used, reason = "a failed step of a test is a panic")]
#![expect(clippy::panic, reason = "so is an answer that is another one")]

use std::process::Command;
use std::time::Duration;

use csi_aws::{Config, Efs};
use csi_core::efs::{
    AccessPoint, AccessPointQuery, CreateAccessPoint, CreatedAccessPoint, CreationInfo,
    Efs as Port, LifeCycleState, PosixUser, Role, RootDirectory, Tags,
};
use csi_core::{ErrorKind, FileSystemId, Zone};
use csi_sim::http::App;
use csi_sim::http::credentials::Credential;
use csi_sim::world::role::{RoleSeed, Trust};
use csi_sim::world::{Action, Fault, FaultKind, Settings, When};
use csi_sim::{Seed, Sim, World};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;

const CASE: &str = "CSI_AWS_EFS_CASE";
const REGION: &str = "us-east-1";
const ROLE: &str = "arn:aws:iam::210987654321:role/efs";
const SECRET: &str = "simulated-aws-has-no-secrets";

/// The client's side.
#[tokio::test]
async fn child() {
    #[expect(clippy::disallowed_methods, reason = "tells the child from the parent")]
    let Ok(case) = std::env::var(CASE) else { return };
    let config = Config { region: REGION.to_owned(), ..Config::default() };
    let efs = Efs::connect(&config, &mut Registry::default()).unwrap();
    match case.as_str() {
        "life" => access_points_live(&efs).await,
        "pages" => a_listing_has_pages(&efs).await,
        "errors" => errors_mean_something(&efs).await,
        "lost" => {
            let error = efs.create_access_point(wanted("lost", 1000)).await.unwrap_err();
            assert_eq!(error.kind, ErrorKind::NoAnswer, "{error}");
            let again = efs.create_access_point(wanted("lost", 1000)).await.unwrap();
            assert!(matches!(again, CreatedAccessPoint::Existing(_)), "{again:?}");
        }
        "throttled" => drop(efs.create_access_point(wanted("throttled", 1000)).await.unwrap()),
        "role" => a_role_is_assumed(&efs).await,
        "wrong key" => {
            let error = efs.describe_file_system(fs()).await.unwrap_err();
            assert_eq!(error.kind, ErrorKind::Credentials, "{error}");
            assert!(error.request_id.is_some(), "{error}");
        }
        other => panic!("no case {other}"),
    }
}

/// A world, and the client's process with `case` and `secret`.
async fn run(case: &'static str, secret: &'static str, prepare: impl FnOnce(&App)) -> App {
    let app = App::new(Sim::new(World::new(Settings::instant(), 7)), REGION);
    Seed::usual(REGION).sow(&app).unwrap();
    app.set_latency(Duration::from_millis(1));
    prepare(&app);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(app.clone().serve(listener));
    let client = tokio::task::spawn_blocking(move || {
        #[expect(clippy::disallowed_methods, reason = "a process is the only clean environment")]
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "child", "--nocapture"]).env_clear().env(CASE, case);
        command.env("AWS_ACCESS_KEY_ID", Credential::well_known().access_key);
        command.env("AWS_SECRET_ACCESS_KEY", secret);
        command.env("AWS_ENDPOINT_URL_EFS", &url).env("AWS_ENDPOINT_URL_STS", url);
        command.env("HOME", "/nonexistent").output().unwrap()
    });
    let output = client.await.unwrap();
    server.abort();
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    app
}

fn fs() -> FileSystemId {
    csi_sim::seed::USUAL_FILE_SYSTEM.parse().unwrap()
}

fn wanted(token: &str, gid: u32) -> CreateAccessPoint {
    CreateAccessPoint {
        client_token: token.to_owned(),
        file_system: fs(),
        posix_user: PosixUser { uid: 0, gid, secondary_gids: vec![7] },
        root: RootDirectory {
            path: format!("/dynamic/{token}"),
            creation: Some(CreationInfo {
                owner_uid: 0,
                owner_gid: gid,
                permissions: "0750".to_owned(),
            }),
        },
        tags: Tags::from([("efs.csi.aws.com/cluster".to_owned(), "true".to_owned())]),
    }
}

async fn made(efs: &Efs, token: &str, gid: u32) -> AccessPoint {
    match efs.create_access_point(wanted(token, gid)).await.unwrap() {
        CreatedAccessPoint::New(made) => made,
        CreatedAccessPoint::Existing(id) => panic!("{token} is {id} already"),
    }
}

async fn access_points_live(efs: &Efs) {
    let first = made(efs, "one", 4_294_967_295).await;
    let shown = efs.describe_access_points(AccessPointQuery::Id(first.id.clone())).await.unwrap();
    let [shown] = shown.items.try_into().unwrap();
    let call = wanted("one", 4_294_967_295);
    assert_eq!(shown.state, LifeCycleState::Available);
    assert_eq!((&shown.id, &shown.client_token), (&first.id, &call.client_token));
    assert_eq!((shown.posix_user, shown.root), (Some(call.posix_user), call.root));
    assert_eq!((shown.file_system, shown.tags), (call.file_system, call.tags));
    let again = efs.create_access_point(wanted("one", 5)).await.unwrap();
    assert_eq!(again, CreatedAccessPoint::Existing(first.id.clone()));
    let found = efs.describe_file_system(fs()).await.unwrap();
    assert_eq!((found.id, found.state, found.zone), (fs(), LifeCycleState::Available, None));
    let targets = efs.describe_mount_targets(fs()).await.unwrap();
    assert_eq!(targets.len(), 3);
    let second = targets.iter().find(|target| target.zone == Zone("us-east-1b".to_owned()));
    let second = second.unwrap();
    assert_eq!(second.ipv4.unwrap().to_string(), "127.92.10.2");
    assert_eq!((second.zone_id.as_str(), second.state), ("use1-az2", LifeCycleState::Available));
    efs.delete_access_point(first.id).await.unwrap();
}

async fn a_listing_has_pages(efs: &Efs) {
    for n in 0..5 {
        made(efs, &format!("token-{n}"), n).await;
    }
    let (mut token, mut sizes) = (None, Vec::new());
    loop {
        let query = AccessPointQuery::FileSystem { file_system: fs(), max: 2, token };
        let page = efs.describe_access_points(query).await.unwrap();
        sizes.push(page.items.len());
        token = page.next;
        if token.is_none() {
            break;
        }
    }
    assert_eq!(sizes.iter().sum::<usize>(), 5, "{sizes:?}");
    assert!(sizes.iter().all(|size| *size <= 2), "{sizes:?}");
}

async fn errors_mean_something(efs: &Efs) {
    let nowhere: FileSystemId = "fs-00000000000000000".parse().unwrap();
    let call = CreateAccessPoint { file_system: nowhere.clone(), ..wanted("one", 1) };
    let error = efs.create_access_point(call).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::FileSystemNotFound, "{error}");
    assert!(error.request_id.is_some() && !error.message.is_empty(), "{error}");
    let error = efs.describe_mount_targets(nowhere.clone()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::FileSystemNotFound, "{error}");
    let error = efs.describe_file_system(nowhere).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::FileSystemNotFound, "{error}");
    let gone = "fsap-00000000000000000".parse().unwrap();
    let error = efs.delete_access_point(gone).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::AccessPointNotFound, "{error}");
    let root = RootDirectory { path: "not/absolute".to_owned(), creation: None };
    let call = CreateAccessPoint { root, ..wanted("one", 1) };
    let error = efs.create_access_point(call).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::InvalidParameter, "{error}");
    // Scripted by the parent.
    let error = efs.create_access_point(wanted("denied", 1)).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Denied, "{error}");
    assert!(error.to_string().contains("elasticfilesystem:CreateAccessPoint"), "{error}");
    let error = efs.create_access_point(wanted("full", 1)).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Quota, "{error}");
}

async fn a_role_is_assumed(efs: &Efs) {
    let role = |external_id: Option<&str>| Role {
        arn: ROLE.to_owned(),
        external_id: external_id.map(str::to_owned),
    };
    let stranger = efs.as_role(&role(Some("wrong-id")));
    let error = stranger.describe_file_system(fs()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Credentials, "{error}");
    assert!(error.message.contains("AssumeRole"), "{error}");
    assert!(!error.to_string().contains("wrong-id"), "{error}");
    let friend = efs.as_role(&role(Some("hush")));
    made(&friend, "of-the-role", 1000).await;
    friend.describe_mount_targets(fs()).await.unwrap();
}

#[tokio::test]
async fn access_points_are_made_found_and_deleted() {
    let app = run("life", SECRET, |_| {}).await;
    assert_eq!(app.sim().with(|world, _| world.access_points().count()), 0);
}

#[tokio::test]
async fn a_long_listing_comes_in_pages() {
    run("pages", SECRET, |_| {}).await;
}

#[tokio::test]
async fn refused_calls_get_the_kind_of_their_code() {
    let script = |app: &App| {
        for (n, code) in [(3, "AccessDeniedException"), (4, "AccessPointLimitExceeded")] {
            let fault = FaultKind::FailBefore { code: code.to_owned(), message: "no".to_owned() };
            let when = When::Nth(n);
            let fault = Fault { action: Some(Action::CreateAccessPoint), when, fault };
            app.sim().with(|world, _| world.add_fault(fault));
        }
    };
    run("errors", SECRET, script).await;
}

#[tokio::test]
async fn a_key_with_a_wrong_secret_is_a_matter_of_credentials() {
    run("wrong key", "another-secret", |_| {}).await;
}

#[tokio::test]
async fn a_role_of_another_account_is_assumed_with_the_external_id() {
    let trusts = vec![Trust::Signed { external_id: Some("hush".to_owned()) }];
    let role = RoleSeed::new(ROLE, trusts);
    let app = run("role", SECRET, |app| app.sim().with(|world, _| world.set_role(role))).await;
    assert_eq!(app.sim().with(|world, _| world.calls(Action::CreateAccessPoint)), 1);
}

fn script(fault: FaultKind) -> impl FnOnce(&App) {
    let action = Some(Action::CreateAccessPoint);
    move |app| {
        let fault = Fault { action, when: When::Next, fault };
        app.sim().with(|world, _| world.add_fault(fault));
    }
}

#[tokio::test]
async fn a_reply_that_is_lost_leaves_the_effect_and_is_not_repeated() {
    let app = run("lost", SECRET, script(FaultKind::LoseReply)).await;
    assert_eq!(app.sim().with(|world, _| world.access_points().count()), 1);
}

#[tokio::test]
async fn throttled_calls_are_sent_again_by_the_pacer() {
    let app = run("throttled", SECRET, script(FaultKind::Throttle)).await;
    assert_eq!(app.sim().with(|world, _| world.calls(Action::CreateAccessPoint)), 2);
}
