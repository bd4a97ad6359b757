//! The calls that change something.

use csi_core::ebs::{
    Attachment, AttachmentState, CreateSnapshot, CreateVolume, Ebs, LockEnd, LockMode,
    Modification, ModificationState, ModifyVolume, Snapshot, SnapshotLock, SnapshotState, Tags,
    Volume, VolumeSource, VolumeState,
};
use csi_core::{GiB, Zone};

use super::*;

pub(super) fn volume() -> Volume {
    Volume {
        id: VOLUME.parse().unwrap(),
        state: VolumeState::InUse,
        size: GiB(10),
        zone: Zone("us-east-1a".to_owned()),
        volume_type: "gp3".to_owned(),
        iops: Some(4_000),
        throughput: Some(400),
        encrypted: true,
        kms_key: Some("arn:aws:kms:us-east-1:1:key/k".to_owned()),
        snapshot: None,
        source_volume: None,
        multi_attach: false,
        attachments: vec![Attachment {
            volume: VOLUME.parse().unwrap(),
            instance: INSTANCE.parse().unwrap(),
            device: "/dev/xvdaa".to_owned(),
            state: AttachmentState::Attached,
        }],
        tags: tags(&[("CSIVolumeName", "pvc-1"), ("empty", "")]),
    }
}

fn tags(list: &[(&str, &str)]) -> Tags {
    pairs(list).into_iter().collect()
}

fn wanted() -> CreateVolume {
    CreateVolume {
        client_token: "token".to_owned(),
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
        tags: tags(&[("CSIVolumeName", "pvc-1"), ("ebs.csi.aws.com/cluster", "true")]),
    }
}

const TAGS: [(&str, &str); 5] = [
    ("TagSpecification.1.ResourceType", "volume"),
    ("TagSpecification.1.Tag.1.Key", "CSIVolumeName"),
    ("TagSpecification.1.Tag.1.Value", "pvc-1"),
    ("TagSpecification.1.Tag.2.Key", "ebs.csi.aws.com/cluster"),
    ("TagSpecification.1.Tag.2.Value", "true"),
];

fn sorted(mut form: Vec<(String, String)>) -> Vec<(String, String)> {
    form.sort();
    form
}

/// That one request came, with `fields` and `more` in any order and nothing else.
#[track_caller]
fn assert_sent(server: &Canned, fields: &[(&str, &str)], more: &[(&str, &str)]) {
    let forms: Vec<_> = server.forms().into_iter().map(sorted).collect();
    assert_eq!(forms, [sorted(pairs(&[fields, more].concat()))]);
}

#[tokio::test]
async fn a_new_volume_is_asked_for_by_every_field_and_read_back() {
    let server = Canned::answering([answer("CreateVolume", &volume_xml())]).await;
    let made = ec2_at(&server.url()).await.create_volume(wanted()).await.unwrap();
    assert_eq!(made, volume());
    let fields = [
        ("Action", "CreateVolume"),
        ("ClientToken", "token"),
        ("Size", "10"),
        ("AvailabilityZone", "us-east-1a"),
        ("VolumeType", "gp3"),
        ("Iops", "4000"),
        ("Throughput", "400"),
        ("Encrypted", "false"),
        ("MultiAttachEnabled", "false"),
    ];
    assert_sent(&server, &fields, &TAGS);
    let head = &server.requests()[0].head;
    assert!(head.contains("authorization: aws4-hmac-sha256 credential=akidexample/"), "{head}");
    assert!(head.contains("app/aws-ebs-csi-driver-"), "{head}");
}

#[tokio::test]
async fn a_volume_from_a_snapshot_carries_snapshot_rate_key_and_sharing() {
    let body =
        volume_xml().replace("<snapshotId/>", &format!("<snapshotId>{SNAPSHOT}</snapshotId>"));
    let server = Canned::answering([answer("CreateVolume", &body)]).await;
    let call = CreateVolume {
        volume_type: "io2".to_owned(),
        throughput: None,
        encrypted: true,
        kms_key: Some("alias/k".to_owned()),
        source: Some(VolumeSource::Snapshot(SNAPSHOT.parse().unwrap())),
        initialization_rate: Some(300),
        multi_attach: true,
        ..wanted()
    };
    let made = ec2_at(&server.url()).await.create_volume(call).await.unwrap();
    assert_eq!(made.snapshot, Some(SNAPSHOT.parse().unwrap()));
    let fields = [
        ("Action", "CreateVolume"),
        ("ClientToken", "token"),
        ("Size", "10"),
        ("AvailabilityZone", "us-east-1a"),
        ("VolumeType", "io2"),
        ("Iops", "4000"),
        ("Encrypted", "true"),
        ("KmsKeyId", "alias/k"),
        ("SnapshotId", SNAPSHOT),
        ("VolumeInitializationRate", "300"),
        ("MultiAttachEnabled", "true"),
    ];
    assert_sent(&server, &fields, &TAGS);
}

#[tokio::test]
async fn a_volume_from_a_volume_is_copied() {
    let source = format!("{}<sourceVolumeId>{VOLUME}</sourceVolumeId>", volume_xml());
    let body = format!("<volumeSet><item>{source}</item></volumeSet>");
    let server = Canned::answering([answer("CopyVolumes", &body)]).await;
    let call = CreateVolume {
        source: Some(VolumeSource::Volume(VOLUME.parse().unwrap())),
        initialization_rate: Some(300),
        ..wanted()
    };
    let made = ec2_at(&server.url()).await.create_volume(call).await.unwrap();
    assert_eq!(made.source_volume, Some(VOLUME.parse().unwrap()));
    let fields = [
        ("Action", "CopyVolumes"),
        ("SourceVolumeId", VOLUME),
        ("ClientToken", "token"),
        ("Size", "10"),
        ("VolumeType", "gp3"),
        ("Iops", "4000"),
        ("Throughput", "400"),
        ("MultiAttachEnabled", "false"),
    ];
    assert_sent(&server, &fields, &TAGS);
}

#[tokio::test]
async fn an_attachment_is_made_and_removed_without_force() {
    let body = format!(
        "<volumeId>{VOLUME}</volumeId><instanceId>{INSTANCE}</instanceId>\
         <device>/dev/xvdaa</device><status>attaching</status>"
    );
    let server = Canned::answering([answer("AttachVolume", &body)]).await;
    let ec2 = ec2_at(&server.url()).await;
    let (id, at) = (VOLUME.parse().unwrap(), INSTANCE.parse().unwrap());
    let made = ec2.attach_volume(id, at, "/dev/xvdaa".to_owned()).await.unwrap();
    assert_eq!(made.state, AttachmentState::Attaching);
    assert_eq!(made.device, "/dev/xvdaa");
    let ids = [("VolumeId", VOLUME), ("InstanceId", INSTANCE)];
    assert_sent(&server, &ids, &[("Action", "AttachVolume"), ("Device", "/dev/xvdaa")]);

    let server = Canned::answering([answer("DetachVolume", &body)]).await;
    let ec2 = ec2_at(&server.url()).await;
    ec2.detach_volume(VOLUME.parse().unwrap(), INSTANCE.parse().unwrap()).await.unwrap();
    assert_sent(&server, &ids, &[("Action", "DetachVolume")]);
}

#[tokio::test]
async fn a_modification_carries_only_what_changes() {
    let body = format!(
        "<volumeModification><volumeId>{VOLUME}</volumeId>\
         <modificationState>modifying</modificationState><targetSize>20</targetSize>\
         <targetVolumeType>gp3</targetVolumeType><targetIops>6000</targetIops>\
         <targetThroughput>400</targetThroughput><progress>0</progress>\
         <startTime>2026-01-02T03:04:05.006Z</startTime></volumeModification>"
    );
    let server = Canned::answering([answer("ModifyVolume", &body)]).await;
    let call = ModifyVolume {
        volume: VOLUME.parse().unwrap(),
        size: Some(GiB(20)),
        volume_type: None,
        iops: Some(6_000),
        throughput: None,
    };
    let made = ec2_at(&server.url()).await.modify_volume(call).await.unwrap();
    let expected = Modification {
        volume: VOLUME.parse().unwrap(),
        state: ModificationState::Modifying,
        size: GiB(20),
        volume_type: "gp3".to_owned(),
        iops: Some(6_000),
        throughput: Some(400),
        progress: 0,
        status_message: None,
        started_ms: Some(1_767_323_045_006),
    };
    assert_eq!(made, expected);
    let fields = [("VolumeId", VOLUME), ("Size", "20"), ("Iops", "6000")];
    assert_sent(&server, &fields, &[("Action", "ModifyVolume")]);
}

#[tokio::test]
async fn a_snapshot_is_made_and_deleted() {
    let body = format!(
        "<snapshotId>{SNAPSHOT}</snapshotId><volumeId>{VOLUME}</volumeId>\
         <status>pending</status><startTime>2026-01-02T03:04:05.006Z</startTime><progress/>\
         <volumeSize>10</volumeSize><tagSet><item><key>k</key><value>v</value></item></tagSet>"
    );
    let server = Canned::answering([answer("CreateSnapshot", &body)]).await;
    let call = CreateSnapshot {
        volume: VOLUME.parse().unwrap(),
        description: "Made for ö & co".to_owned(),
        tags: tags(&[("k", "v")]),
    };
    let made = ec2_at(&server.url()).await.create_snapshot(call).await.unwrap();
    let expected = Snapshot {
        id: SNAPSHOT.parse().unwrap(),
        volume: Some(VOLUME.parse().unwrap()),
        state: SnapshotState::Pending,
        size: GiB(10),
        started_ms: 1_767_323_045_006,
        progress: 0,
        tags: tags(&[("k", "v")]),
    };
    assert_eq!(made, expected);
    let tag = [
        ("TagSpecification.1.ResourceType", "snapshot"),
        ("TagSpecification.1.Tag.1.Key", "k"),
        ("TagSpecification.1.Tag.1.Value", "v"),
    ];
    let fields =
        [("Action", "CreateSnapshot"), ("VolumeId", VOLUME), ("Description", "Made for ö & co")];
    assert_sent(&server, &fields, &tag);

    let server = Canned::answering([answer("DeleteSnapshot", "<return>true</return>")]).await;
    ec2_at(&server.url()).await.delete_snapshot(SNAPSHOT.parse().unwrap()).await.unwrap();
    assert_sent(&server, &[("Action", "DeleteSnapshot"), ("SnapshotId", SNAPSHOT)], &[]);
}

#[tokio::test]
async fn deletes_and_tags_name_their_volume_and_no_keys_make_no_call() {
    let server = Canned::answering([answer("DeleteVolume", "<return>true</return>")]).await;
    ec2_at(&server.url()).await.delete_volume(VOLUME.parse().unwrap()).await.unwrap();
    assert_sent(&server, &[("Action", "DeleteVolume"), ("VolumeId", VOLUME)], &[]);

    let server = Canned::answering([answer("CreateTags", "<return>true</return>")]).await;
    let some = tags(&[("a", "1"), ("b", "")]);
    ec2_at(&server.url()).await.create_tags(VOLUME.parse().unwrap(), some).await.unwrap();
    let fields =
        [("Tag.1.Key", "a"), ("Tag.1.Value", "1"), ("Tag.2.Key", "b"), ("Tag.2.Value", "")];
    assert_sent(&server, &[("Action", "CreateTags"), ("ResourceId.1", VOLUME)], &fields);

    let server = Canned::answering([answer("DeleteTags", "<return>true</return>")]).await;
    let ec2 = ec2_at(&server.url()).await;
    ec2.delete_tags(VOLUME.parse().unwrap(), Vec::new()).await.unwrap();
    ec2.delete_tags(VOLUME.parse().unwrap(), vec!["a".to_owned()]).await.unwrap();
    let fields = [("Action", "DeleteTags"), ("ResourceId.1", VOLUME), ("Tag.1.Key", "a")];
    assert_sent(&server, &fields, &[]);
}

#[tokio::test]
async fn fast_restore_is_enabled_zone_by_zone_and_a_part_is_a_failure() {
    let zones = || vec![Zone("us-east-1a".to_owned()), Zone("us-east-1b".to_owned())];
    let done = "<successful/><unsuccessful/>";
    let server = Canned::answering([answer("EnableFastSnapshotRestores", done)]).await;
    let ec2 = ec2_at(&server.url()).await;
    ec2.enable_fast_restore(SNAPSHOT.parse().unwrap(), zones()).await.unwrap();
    let fields = [
        ("Action", "EnableFastSnapshotRestores"),
        ("AvailabilityZone.1", "us-east-1a"),
        ("AvailabilityZone.2", "us-east-1b"),
        ("SourceSnapshotId.1", SNAPSHOT),
    ];
    assert_sent(&server, &fields, &[]);

    let part = "<successful/><unsuccessful><item><snapshotId>s</snapshotId>\
        <fastSnapshotRestoreStateErrorSet><item><availabilityZone>us-east-1b</availabilityZone>\
        <error><code>UnauthorizedOperation</code><message>no</message></error></item>\
        </fastSnapshotRestoreStateErrorSet></item></unsuccessful>";
    let server = Canned::answering([answer("EnableFastSnapshotRestores", part)]).await;
    let ec2 = ec2_at(&server.url()).await;
    let error = ec2.enable_fast_restore(SNAPSHOT.parse().unwrap(), zones()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Denied);
    assert_eq!(error.message, "in us-east-1b: no");
}

#[tokio::test]
async fn a_lock_carries_its_mode_and_its_end() {
    let body = format!("<snapshotId>{SNAPSHOT}</snapshotId><lockState>governance</lockState>");
    let days = SnapshotLock {
        mode: LockMode::Compliance,
        end: LockEnd::AfterDays(7),
        cool_off_hours: Some(3),
    };
    let date = SnapshotLock {
        mode: LockMode::Governance,
        end: LockEnd::At { seconds: 1_767_323_045 },
        cool_off_hours: None,
    };
    let same = [("Action", "LockSnapshot"), ("SnapshotId", SNAPSHOT)];
    let days_sent = [("LockMode", "compliance"), ("LockDuration", "7"), ("CoolOffPeriod", "3")];
    let date_sent = [("LockMode", "governance"), ("ExpirationDate", "2026-01-02T03:04:05Z")];
    for (lock, sent) in [(days, &days_sent[..]), (date, &date_sent)] {
        let server = Canned::answering([answer("LockSnapshot", &body)]).await;
        ec2_at(&server.url()).await.lock_snapshot(SNAPSHOT.parse().unwrap(), lock).await.unwrap();
        assert_sent(&server, &same, sent);
    }
}
