//! The world through the port, in paused time.

use std::time::Duration;

use csi_core::ebs::{CreateVolume, Ebs, ModifyVolume, Tags, VolumeQuery, VolumeState};
use csi_core::{ErrorKind, GiB, VolumeId, Zone};
use csi_sim::world::{Action, Fault, FaultKind, InstanceSeed, Settings, When};
use csi_sim::{Sim, SimEbs, World};
use tokio::time::{Instant, timeout};

fn ebs(settings: Settings) -> SimEbs {
    let mut world = World::new(settings, 1);
    world.add_zone("us-east-1a");
    SimEbs::new(Sim::new(world))
}

fn volume(token: &str) -> CreateVolume {
    CreateVolume {
        client_token: token.to_owned(),
        size: GiB(10),
        zone: Zone("us-east-1a".to_owned()),
        volume_type: "gp3".to_owned(),
        iops: None,
        throughput: None,
        encrypted: false,
        kms_key: None,
        source: None,
        initialization_rate: None,
        multi_attach: false,
        tags: Tags::new(),
    }
}

fn script(ebs: &SimEbs, action: Action, fault: FaultKind) {
    let fault = Fault { action: Some(action), when: When::Next, fault };
    ebs.sim().with(|world, _| world.add_fault(fault));
}

async fn seen(ebs: &SimEbs, id: &VolumeId) -> Option<VolumeState> {
    let page = ebs.describe_volumes(VolumeQuery::Ids(vec![id.clone()])).await.ok()?;
    page.items.first().map(|volume| volume.state)
}

#[tokio::test(start_paused = true)]
async fn a_volume_becomes_available_in_about_ec2s_time() {
    let ebs = ebs(Settings::ec2());
    let began = Instant::now();
    let id = ebs.create_volume(volume("t")).await.unwrap().id;
    while seen(&ebs, &id).await != Some(VolumeState::Available) {
        assert!(began.elapsed() < Duration::from_secs(10));
    }
    assert!(began.elapsed() > Duration::from_millis(200), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_call_takes_its_latency() {
    let ebs = ebs(Settings::instant());
    let began = Instant::now();
    ebs.describe_zones().await.unwrap();
    assert_eq!(began.elapsed().as_millis(), 15);
}

#[tokio::test(start_paused = true)]
async fn a_lost_reply_leaves_its_effect_behind() {
    let ebs = ebs(Settings::instant());
    script(&ebs, Action::CreateVolume, FaultKind::LoseReply);
    let error = ebs.create_volume(volume("t")).await.unwrap_err();
    assert_eq!((error.kind, error.request_id), (ErrorKind::NoAnswer, None));
    assert_eq!(ebs.sim().with(|world, _| world.volumes().count()), 1);
    ebs.create_volume(volume("t")).await.unwrap();
    assert_eq!(ebs.sim().with(|world, _| world.volumes().count()), 1);
    let count = ebs.sim().with(|world, _| world.counts()[&Action::CreateVolume].clone());
    assert_eq!((count.calls, count.outcomes["lost"], count.outcomes["ok"]), (2, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_hung_call_never_answers_and_a_failed_one_names_its_request() {
    let ebs = ebs(Settings::instant());
    script(&ebs, Action::CreateVolume, FaultKind::HangAfter);
    let hung = timeout(Duration::from_hours(1), ebs.create_volume(volume("t"))).await;
    assert!(hung.is_err());
    assert_eq!(ebs.sim().with(|world, _| world.volumes().count()), 1);
    script(
        &ebs,
        Action::CreateVolume,
        FaultKind::FailAfter { code: "InternalError".to_owned(), message: String::new() },
    );
    let error = ebs.create_volume(volume("u")).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(error.request_id.is_some());
    assert_eq!(ebs.sim().with(|world, _| world.volumes().count()), 2);
}

#[tokio::test(start_paused = true)]
async fn the_way_of_a_volume_through_the_port() {
    let ebs = ebs(Settings::instant());
    let seed = InstanceSeed::new("m5.large", "us-east-1a");
    let node = ebs.sim().with(|world, now| world.set_instance(&seed, now)).unwrap();
    let id = ebs.create_volume(volume("t")).await.unwrap().id;
    ebs.attach_volume(id.clone(), node.clone(), "/dev/xvdaa".to_owned()).await.unwrap();
    let shown = ebs.describe_instances(vec![node.clone()]).await.unwrap().remove(0);
    assert_eq!(shown.devices.get("/dev/xvdaa"), Some(&id));
    let grow = ModifyVolume {
        volume: id.clone(),
        size: Some(GiB(20)),
        volume_type: None,
        iops: None,
        throughput: None,
    };
    assert_eq!(ebs.modify_volume(grow).await.unwrap().size, GiB(20));
    assert_eq!(ebs.describe_modifications(vec![id.clone()]).await.unwrap().len(), 1);
    let error = ebs.delete_volume(id.clone()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::VolumeInUse);
    ebs.detach_volume(id.clone(), node).await.unwrap();
    ebs.delete_volume(id.clone()).await.unwrap();
    assert_eq!(seen(&ebs, &id).await, None);
}
