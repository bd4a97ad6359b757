//! The whole port against the simulated AWS over HTTP, signatures verified. The client takes its
//! keys and endpoint from environment variables, so each case runs in a process of its own: this
//! test program again, which then is the client; the parent holds the world.

#![expect(clippy::unwrap_used, reason = "a failed step of a test is a panic")]

use std::process::Command;

use csi_aws::{Config, Ec2};
use csi_core::ebs::{
    AttachmentState, CreateSnapshot, CreateVolume, Ebs, Initialization, InitializationState,
    LockEnd, LockMode, ModificationState, ModifyVolume, SnapshotLock, SnapshotQuery, SnapshotState,
    Tags, Volume, VolumeQuery, VolumeSource, VolumeState,
};
use csi_core::{ErrorKind, GiB, InstanceId, VolumeId, Zone};
use csi_sim::http::App;
use csi_sim::http::credentials::Credential;
use csi_sim::world::{Action, Fault, FaultKind, InstanceSeed, Settings, When};
use csi_sim::{Seed, Sim, World};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::time::{Duration, Instant};

const CASE: &str = "CSI_AWS_SIMULATED_CASE";
const REGION: &str = "us-east-1";
const INSTANCE: &str = "i-0123456789abcdef0";

/// The client's side.
#[tokio::test]
async fn child() {
    #[expect(clippy::disallowed_methods, reason = "tells the child from the parent")]
    let Ok(case) = std::env::var(CASE) else { return };
    let config = Config { region: REGION.to_owned(), ..Config::default() };
    let ec2 = Ec2::connect(&config, &mut Registry::default()).unwrap();
    match case.as_str() {
        "life" => volumes_live(&ec2).await,
        "snapshots" => snapshots_live(&ec2).await,
        "errors" => errors_mean_something(&ec2).await,
        "lost" => a_lost_reply_is_no_answer(&ec2).await,
        "throttled" => refusals_are_ridden_out(&ec2).await,
        "wrong key" => {
            let error = ec2.describe_zones().await.unwrap_err();
            assert_eq!(error.kind, ErrorKind::Credentials, "{error}");
            assert!(error.request_id.is_some(), "{error}");
        }
        other => panic!("no case {other}"),
    }
}

/// A world with an instance, and the client's process with `case` and `secret`.
async fn run(case: &'static str, secret: &'static str, prepare: impl FnOnce(&App)) -> App {
    let app = App::new(Sim::new(World::new(Settings::instant(), 7)), REGION);
    let mut seed = Seed::usual(REGION);
    seed.instances.push(instance());
    seed.sow(&app).unwrap();
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
        command.env("AWS_SECRET_ACCESS_KEY", secret).env("AWS_ENDPOINT_URL", url);
        command.env("HOME", "/nonexistent").output().unwrap()
    });
    let output = client.await.unwrap();
    server.abort();
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    app
}

fn secret() -> &'static str {
    "simulated-aws-has-no-secrets"
}

fn instance() -> InstanceSeed {
    let seed = InstanceSeed::new("m5.large", "us-east-1a");
    InstanceSeed { id: Some(INSTANCE.to_owned()), root: false, ..seed }
}

fn wanted(name: &str) -> CreateVolume {
    CreateVolume {
        client_token: format!("token-{name}"),
        size: GiB(10),
        zone: Zone("us-east-1a".to_owned()),
        volume_type: "gp3".to_owned(),
        iops: Some(4_000),
        throughput: Some(400),
        encrypted: false,
        kms_key: None,
        source: None,
        initialization_rate: None,
        multi_attach: false,
        tags: [("CSIVolumeName".to_owned(), name.to_owned())].into(),
    }
}

async fn volume(ec2: &Ec2, id: &VolumeId) -> Volume {
    ec2.describe_volumes(VolumeQuery::Ids(vec![id.clone()])).await.unwrap().items.remove(0)
}

fn host() -> InstanceId {
    INSTANCE.parse().unwrap()
}

async fn volumes_live(ec2: &Ec2) {
    ec2.dry_run_create(wanted("dry")).await.unwrap();
    let absurd = CreateVolume { iops: Some(2_147_483_647), ..wanted("dry") };
    let error = ec2.dry_run_create(absurd).await.unwrap_err();
    assert!(error.message.contains("maximum is"), "{error}");
    let zones = ["us-east-1a", "us-east-1b", "us-east-1c"].map(|zone| Zone(zone.to_owned()));
    assert_eq!(ec2.describe_zones().await.unwrap(), zones);
    let made = ec2.create_volume(wanted("a*b ü&=")).await.unwrap();
    assert_eq!((made.size, made.iops, made.throughput), (GiB(10), Some(4_000), Some(400)));
    let again = ec2.create_volume(wanted("a*b ü&=")).await.unwrap();
    assert_eq!(again.id, made.id);
    let other = ec2.create_volume(wanted("axb ü&=")).await.unwrap();

    let unknown = "vol-00000000000000000".parse().unwrap();
    let ids = VolumeQuery::Ids(vec![unknown, made.id.clone()]);
    let found = ec2.describe_volumes(ids).await.unwrap().items;
    assert_eq!(found.len(), 1, "an unknown id is absent");
    assert_eq!(found[0].state, VolumeState::Available);
    let names = VolumeQuery::Names(vec!["a*b ü&=".parse().unwrap()]);
    assert_eq!(ec2.describe_volumes(names).await.unwrap().items, found);
    let all = ec2.describe_volumes(VolumeQuery::All { max: 5, token: None }).await.unwrap();
    assert_eq!((all.items.len(), all.next), (2, None));

    attachments_live(ec2, &made.id).await;

    let tags: Tags = [("k".to_owned(), "v".to_owned())].into();
    ec2.create_tags(made.id.clone(), tags).await.unwrap();
    assert_eq!(volume(ec2, &made.id).await.tags["k"], "v");
    ec2.delete_tags(made.id.clone(), vec!["k".to_owned()]).await.unwrap();
    assert_eq!(volume(ec2, &made.id).await.tags.get("k"), None);
    for id in [made.id, other.id] {
        ec2.delete_volume(id.clone()).await.unwrap();
        let error = ec2.delete_volume(id).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::VolumeNotFound);
    }
}

async fn attachments_live(ec2: &Ec2, id: &VolumeId) {
    let device = || "/dev/xvdaa".to_owned();
    let attached = ec2.attach_volume(id.clone(), host(), device()).await.unwrap();
    assert_eq!((attached.volume, attached.device), (id.clone(), device()));
    assert_eq!(volume(ec2, id).await.attachments[0].state, AttachmentState::Attached);
    let ids = vec![host(), "i-00000000000000000".parse().unwrap()];
    let hosts = ec2.describe_instances(ids).await.unwrap();
    assert_eq!(hosts.len(), 1, "an unknown id is absent");
    assert_eq!((hosts[0].state.as_str(), hosts[0].instance_type.as_str()), ("running", "m5.large"));
    assert_eq!(hosts[0].devices.get(&device()), Some(id));

    let ids = vec!["vol-00000000000000000".parse().unwrap(), id.clone()];
    let filled = ec2.describe_initialization(ids).await.unwrap();
    let whole = Initialization { volume: id.clone(), state: InitializationState::Initialized };
    assert_eq!(filled, [whole], "an unknown id is absent");

    assert_eq!(ec2.describe_modifications(vec![id.clone()]).await.unwrap(), []);
    let change = ModifyVolume {
        volume: id.clone(),
        size: Some(GiB(20)),
        volume_type: None,
        iops: Some(6_000),
        throughput: None,
    };
    let started = ec2.modify_volume(change).await.unwrap();
    assert_eq!((started.size, started.iops), (GiB(20), Some(6_000)));
    let found = ec2.describe_modifications(vec![id.clone()]).await.unwrap();
    assert_eq!((found.len(), found[0].state), (1, ModificationState::Completed));
    assert_eq!(volume(ec2, id).await.size, GiB(20));
    ec2.detach_volume(id.clone(), host()).await.unwrap();
    assert_eq!(volume(ec2, id).await.attachments, []);
}

async fn snapshots_live(ec2: &Ec2) {
    let source = ec2.create_volume(wanted("source")).await.unwrap();
    let call = CreateSnapshot {
        volume: source.id.clone(),
        description: "a & b".to_owned(),
        tags: [("CSIVolumeSnapshotName".to_owned(), "s-1".to_owned())].into(),
    };
    let made = ec2.create_snapshot(call).await.unwrap();
    assert_eq!((made.volume, made.size), (Some(source.id.clone()), GiB(10)));
    assert!(made.started_ms > 0);
    let of_volume = SnapshotQuery::All { volume: Some(source.id.clone()), max: 5, token: None };
    for query in [
        SnapshotQuery::Ids(vec!["snap-00000000000000000".parse().unwrap(), made.id.clone()]),
        SnapshotQuery::Names(vec!["s-1".parse().unwrap()]),
        of_volume,
        SnapshotQuery::All { volume: None, max: 5, token: None },
    ] {
        let found = ec2.describe_snapshots(query).await.unwrap().items;
        assert_eq!((found.len(), found[0].state), (1, SnapshotState::Completed));
        assert_eq!((&found[0].id, found[0].progress), (&made.id, 100));
    }
    let from = |source| CreateVolume { source: Some(source), size: GiB(12), ..wanted("from") };
    let restored = ec2.create_volume(from(VolumeSource::Snapshot(made.id.clone()))).await.unwrap();
    assert_eq!((restored.snapshot, restored.size), (Some(made.id.clone()), GiB(12)));
    let copied = ec2.create_volume(from(VolumeSource::Volume(source.id.clone()))).await.unwrap();
    assert_eq!((copied.source_volume, copied.zone), (Some(source.id), source.zone));
    let secret = CreateVolume {
        client_token: "token-secret".to_owned(),
        encrypted: true,
        ..from(VolumeSource::Volume(copied.id))
    };
    assert!(ec2.create_volume(secret).await.unwrap().encrypted);
    ec2.enable_fast_restore(made.id.clone(), vec![wanted("").zone]).await.unwrap();
    let mut lock = SnapshotLock {
        mode: LockMode::Governance,
        end: LockEnd::At { seconds: 4_000_000_000 },
        cool_off_hours: None,
    };
    ec2.lock_snapshot(made.id.clone(), lock).await.unwrap();
    let error = ec2.delete_snapshot(made.id.clone()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::SnapshotInUse);
    // A lock of no days is over, which lets the snapshot go.
    lock.end = LockEnd::AfterDays(0);
    ec2.lock_snapshot(made.id.clone(), lock).await.unwrap();
    ec2.delete_snapshot(made.id.clone()).await.unwrap();
    let error = ec2.delete_snapshot(made.id).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::SnapshotNotFound);
    let error = ec2
        .describe_volumes(VolumeQuery::All { max: 5, token: Some("made up".to_owned()) })
        .await
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::BadPageToken, "{error}");
}

async fn errors_mean_something(ec2: &Ec2) {
    let made = ec2.create_volume(wanted("one")).await.unwrap();
    let error = ec2.create_volume(CreateVolume { size: GiB(11), ..wanted("one") }).await;
    assert_eq!(error.unwrap_err().kind, ErrorKind::TokenMismatch);
    let error = ec2.create_volume(CreateVolume { size: GiB(4), ..wanted("small") }).await;
    assert_eq!(error.unwrap_err().kind, ErrorKind::InvalidParameter);
    let error = ec2.detach_volume(made.id.clone(), host()).await.unwrap_err();
    assert!(
        matches!(error.kind, ErrorKind::IncorrectState | ErrorKind::AttachmentNotFound),
        "{error}"
    );
    ec2.attach_volume(made.id.clone(), host(), "/dev/xvdaa".to_owned()).await.unwrap();
    let error = ec2.delete_volume(made.id).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::VolumeInUse);
    assert!(error.request_id.is_some());
    let other = ec2.create_volume(wanted("other")).await.unwrap();
    let error = ec2.attach_volume(other.id, host(), "/dev/xvdaa".to_owned()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::DeviceNameInUse, "{error}");
}

async fn a_lost_reply_is_no_answer(ec2: &Ec2) {
    let error = ec2.create_volume(wanted("lost")).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NoAnswer, "{error}");
    let names = VolumeQuery::Names(vec!["lost".parse().unwrap()]);
    assert_eq!(ec2.describe_volumes(names).await.unwrap().items.len(), 1);
}

async fn refusals_are_ridden_out(ec2: &Ec2) {
    let started = Instant::now();
    for turn in 0..3 {
        ec2.create_volume(wanted(&format!("throttled-{turn}"))).await.unwrap();
    }
    assert!(started.elapsed() > Duration::from_millis(500), "no pause after a refusal");
}

#[tokio::test]
async fn volumes_are_made_found_attached_modified_tagged_and_deleted() {
    let app = run("life", secret(), |_| {}).await;
    let left = app.sim().with(|world, now| world.dump(now).volumes.len());
    assert_eq!(left, 0);
}

#[tokio::test]
async fn snapshots_are_made_listed_restored_and_copies_made() {
    run("snapshots", secret(), |_| {}).await;
}

#[tokio::test]
async fn refused_calls_get_the_kind_of_their_code() {
    run("errors", secret(), |_| {}).await;
}

#[tokio::test]
async fn a_key_with_a_wrong_secret_is_a_matter_of_credentials() {
    run("wrong key", "another-secret", |_| {}).await;
}

fn fault(action: Action, fault: FaultKind) -> Fault {
    Fault { action: Some(action), when: When::Next, fault }
}

#[tokio::test]
async fn a_reply_that_is_lost_leaves_the_effect_and_is_not_repeated() {
    let lose = |app: &App| {
        let fault = fault(Action::CreateVolume, FaultKind::LoseReply);
        app.sim().with(|world, _| world.add_fault(fault));
    };
    let app = run("lost", secret(), lose).await;
    assert_eq!(app.sim().with(|world, now| world.dump(now).volumes.len()), 1);
}

#[tokio::test]
async fn throttled_calls_are_sent_again_by_the_pacer() {
    let throttle = |app: &App| {
        let fault = fault(Action::CreateVolume, FaultKind::Throttle);
        app.sim().with(|world, _| world.add_fault(fault));
    };
    let app = run("throttled", secret(), throttle).await;
    assert_eq!(app.sim().with(|world, now| world.dump(now).volumes.len()), 3);
}
