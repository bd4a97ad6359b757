//! Attaching and detaching.

use csi_core::ebs::{AttachmentState, VolumeState};

use super::super::trouble::Trouble;
use super::*;

fn attachment(world: &mut World, id: &str, now: Millis) -> Option<AttachmentState> {
    world.advance(now);
    let record = world.volume(&id.parse().unwrap()).unwrap();
    record.volume.attachments.first().map(|attachment| attachment.state)
}

#[test]
fn an_attachment_passes_through_its_states() {
    let second = Delay::FixedMs(1_000);
    let mut world = world_with(Settings { attach: second, detach: second, ..Settings::instant() });
    let (id, node) = (made(&mut world, 0), node(&mut world));
    let answer = world.attach_volume(&id, &node, "/dev/xvdaa", 0).unwrap();
    assert_eq!(answer.state, AttachmentState::Attaching);
    assert_eq!(attachment(&mut world, &id, 999), Some(AttachmentState::Attaching));
    assert_eq!(attachment(&mut world, &id, 1_000), Some(AttachmentState::Attached));
    world.detach_volume(&id, Some(&node), 2_000).unwrap();
    assert_eq!(attachment(&mut world, &id, 2_999), Some(AttachmentState::Detaching));
    assert_eq!(code(world.detach_volume(&id, Some(&node), 2_999)), "IncorrectState");
    assert_eq!(attachment(&mut world, &id, 3_000), None);
    assert_eq!(world.volume(&id.parse().unwrap()).unwrap().volume.state, VolumeState::Available);
    assert_eq!(code(world.detach_volume(&id, Some(&node), 3_001)), "IncorrectState");
}

#[test]
fn how_long_a_change_took_is_kept_with_what_readers_saw() {
    let settings = Settings {
        create: Delay::FixedMs(1_500),
        attach: Delay::FixedMs(300),
        detach: Delay::FixedMs(700),
        read_lag: Delay::FixedMs(500),
        ..Settings::instant()
    };
    let mut world = world_with(settings);
    let (id, node) = (made(&mut world, 100), node(&mut world));
    world.advance(2_000);
    world.attach_volume(&id, &node, "/dev/xvdaa", 2_000).unwrap();
    world.advance(3_000);
    world.detach_volume(&id, Some(&node), 3_000).unwrap();
    world.advance(3_700);
    let seen = world.changes().map(|change| {
        assert_eq!(change.volume, id);
        (change.action, change.asked_ms, change.shown_ms)
    });
    let wanted = [
        (Action::CreateVolume, 100, 1_600),
        (Action::AttachVolume, 2_000, 2_500),
        (Action::DetachVolume, 3_000, 3_700),
    ];
    assert_eq!(seen.collect::<Vec<_>>(), wanted);
    world.reset_history();
    assert_eq!(world.changes().count(), 0);
}

#[test]
fn a_device_name_is_taken_once_and_must_be_one() {
    let mut world = world();
    let (a, b, node) = (made(&mut world, 0), made(&mut world, 0), node(&mut world));
    world.attach_volume(&a, &node, "/dev/xvdaa", 0).unwrap();
    let error = world.attach_volume(&b, &node, "/dev/xvdaa", 0).unwrap_err();
    assert_eq!(
        error.to_string(),
        "InvalidParameterValue: Invalid value '/dev/xvdaa' for unixDevice. Attachment point \
         /dev/xvdaa is already in use"
    );
    for wrong in ["xvdb", "/dev/xvdzz", "/dev/nvme1n1", "/dev/sd", "/dev/sda16", "/dev/xvdaaa"] {
        let error = world.attach_volume(&b, &node, wrong, 0).unwrap_err();
        assert!(error.message.contains("not a valid EBS device name"), "{wrong}: {error}");
    }
    for right in ["/dev/xvdb", "/dev/sdz", "/dev/sda2", "/dev/xvddx"] {
        world.attach_volume(&b, &node, right, 0).unwrap();
        world.detach_volume(&b, Some(&node), 0).unwrap();
    }
    world.add_trouble(Trouble::HiddenDevice {
        instance: node.clone(),
        device: "/dev/xvdab".to_owned(),
    });
    assert_eq!(code(world.attach_volume(&b, &node, "/dev/xvdab", 0)), "InvalidParameterValue");
}

#[test]
fn a_volume_attaches_once_unless_it_is_multi_attach() {
    let mut world = world();
    let (one, two) = (node(&mut world), node(&mut world));
    let single = made(&mut world, 0);
    world.attach_volume(&single, &one, "/dev/xvdaa", 0).unwrap();
    assert_eq!(code(world.attach_volume(&single, &two, "/dev/xvdaa", 0)), "VolumeInUse");
    assert_eq!(code(world.detach_volume(&single, Some(&two), 0)), "InvalidAttachment.NotFound");
    let shared = CreateVolume {
        volume_type: Some("io2".to_owned()),
        iops: Some(100),
        multi_attach: Some(true),
        ..gp3("m")
    };
    let shared = world.create_volume(&shared, 0).unwrap().volume.id.to_string();
    world.attach_volume(&shared, &one, "/dev/xvdab", 0).unwrap();
    world.attach_volume(&shared, &two, "/dev/xvdab", 0).unwrap();
    assert_eq!(code(world.attach_volume(&shared, &two, "/dev/xvdac", 0)), "VolumeInUse");
    world.detach_volume(&shared, Some(&one), 1).unwrap();
    let record = world.volume(&shared.parse().unwrap()).unwrap();
    assert_eq!(record.volume.state, VolumeState::InUse);
}

#[test]
fn zone_state_and_existence_are_checked() {
    let mut world = world_with(Settings { create: Delay::FixedMs(5), ..Settings::instant() });
    let (id, here) = (made(&mut world, 0), node(&mut world));
    let far = world.set_instance(&InstanceSeed::new("m5.large", "us-east-1b"), 0).unwrap();
    let device = "/dev/xvdaa";
    assert_eq!(code(world.attach_volume(&id, &here, device, 1)), "IncorrectState");
    let far = far.to_string();
    assert_eq!(code(world.attach_volume(&id, &far, device, 6)), "InvalidVolume.ZoneMismatch");
    let unknown = "i-0123456789abcdef0";
    assert_eq!(code(world.attach_volume(&id, unknown, device, 6)), "InvalidInstanceID.NotFound");
    assert_eq!(code(world.attach_volume(&id, "i-x", device, 6)), "InvalidInstanceID.Malformed");
    let unknown = "vol-0123456789abcdef0";
    assert_eq!(code(world.attach_volume(unknown, &here, device, 6)), "InvalidVolume.NotFound");
}

#[test]
fn an_instance_takes_as_many_volumes_as_its_type_allows() {
    let mut world = world();
    let seed = InstanceSeed { max_attachments: Some(3), ..InstanceSeed::new("m5.large", ZONE) };
    let node = world.set_instance(&seed, 0).unwrap().to_string();
    for device in ["/dev/xvdaa", "/dev/xvdab"] {
        let id = made(&mut world, 0);
        world.attach_volume(&id, &node, device, 0).unwrap();
    }
    let id = made(&mut world, 0);
    assert_eq!(code(world.attach_volume(&id, &node, "/dev/xvdac", 0)), "AttachmentLimitExceeded");
    let large = InstanceSeed::new("m5d.large", ZONE);
    let large = world.set_instance(&large, 0).unwrap();
    assert_eq!(world.instance(&large).unwrap().max_attachments, 26);
}

#[test]
fn an_attachment_can_stick_and_detaching_frees_it() {
    let mut world = world();
    let (id, node) = (made(&mut world, 0), node(&mut world));
    world.add_trouble(Trouble::StickAttaching {
        volume: None,
        instance: None,
        device: Some("/dev/xvdaa".to_owned()),
        times: 0,
    });
    world.attach_volume(&id, &node, "/dev/xvdaa", 0).unwrap();
    assert_eq!(attachment(&mut world, &id, 1_000_000), Some(AttachmentState::Attaching));
    world.detach_volume(&id, Some(&node), 1_000_000).unwrap();
    assert_eq!(attachment(&mut world, &id, 1_000_001), None);
    world.attach_volume(&id, &node, "/dev/xvdab", 1_000_002).unwrap();
    assert_eq!(attachment(&mut world, &id, 1_000_003), Some(AttachmentState::Attached));
}

#[test]
fn a_busy_device_stays_until_the_trouble_ends() {
    let mut world = world();
    let (id, node) = (made(&mut world, 0), node(&mut world));
    world.attach_volume(&id, &node, "/dev/xvdaa", 0).unwrap();
    world.add_trouble(Trouble::StickBusy { volume: None, instance: None, times: 1 });
    world.detach_volume(&id, Some(&node), 1).unwrap();
    assert_eq!(attachment(&mut world, &id, 100), Some(AttachmentState::Busy));
    world.detach_volume(&id, Some(&node), 101).unwrap();
    assert_eq!(attachment(&mut world, &id, 102), None);
    assert_eq!(world.troubles().first().unwrap().struck, 1);
}

#[test]
fn a_root_volume_is_listed_and_cannot_be_detached() {
    let mut world = world();
    let node = node(&mut world);
    let root = world.volumes().next().unwrap().volume.id.to_string();
    assert_eq!(code(world.detach_volume(&root, Some(&node), 0)), "OperationNotPermitted");
    let listing = world.describe_instances(&by_id(&node), 0).unwrap();
    let attachment = listing.items.first().unwrap().1.first().unwrap();
    assert_eq!((attachment.device.as_str(), attachment.volume.to_string()), ("/dev/xvda", root));
}
