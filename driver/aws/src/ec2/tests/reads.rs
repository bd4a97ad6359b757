//! The calls that only ask.

use csi_core::ebs::{
    Ebs, Initialization, InitializationState, Instance, ModificationState, Page, SnapshotQuery,
    SnapshotState, VolumeQuery,
};
use csi_core::{VolumeId, Zone};

use super::writes::volume;
use super::*;

fn volumes(body: &str) -> String {
    answer("DescribeVolumes", body)
}

#[tokio::test]
async fn volumes_by_id_are_filtered_and_every_page_is_read() {
    let page = format!("<volumeSet><item>{}</item></volumeSet>", volume_xml());
    let server = Canned::answering([
        volumes(&format!("{page}<nextToken>more</nextToken>")),
        volumes(&format!("{page}<nextToken/>")),
    ])
    .await;
    let query = VolumeQuery::Ids(vec![VOLUME.parse().unwrap(), "vol-00000001".parse().unwrap()]);
    let found = ec2_at(&server.url()).await.describe_volumes(query).await.unwrap();
    assert_eq!(found, Page { items: vec![volume(), volume()], next: None });
    let fields = [
        ("Action", "DescribeVolumes"),
        ("Filter.1.Name", "volume-id"),
        ("Filter.1.Value.1", VOLUME),
        ("Filter.1.Value.2", "vol-00000001"),
    ];
    let second = [&fields[..], &[("NextToken", "more")]].concat();
    assert_eq!(server.forms(), [pairs(&fields), pairs(&second)]);
}

#[tokio::test]
async fn more_than_200_ids_are_split_and_none_make_no_call() {
    let empty = || volumes("<volumeSet/>");
    let server = Canned::answering([empty(), empty()]).await;
    let ec2 = ec2_at(&server.url()).await;
    let nothing = Page { items: Vec::new(), next: None };
    let found = ec2.describe_volumes(VolumeQuery::Ids(Vec::new())).await.unwrap();
    assert_eq!(found, nothing);
    assert_eq!(server.forms().len(), 0);

    let ids: Vec<VolumeId> = (0..201).map(|n| format!("vol-{n:08x}").parse().unwrap()).collect();
    let found = ec2.describe_volumes(VolumeQuery::Ids(ids)).await.unwrap();
    assert_eq!(found, nothing);
    let forms = server.forms();
    assert_eq!(forms[0].last().unwrap().0, "Filter.1.Value.200");
    assert_eq!(
        forms[1][1..],
        pairs(&[("Filter.1.Name", "volume-id"), ("Filter.1.Value.1", "vol-000000c8")])
    );
}

#[tokio::test]
async fn volumes_by_name_are_found_by_tag_without_wildcards() {
    let server = Canned::answering([volumes("<volumeSet/>")]).await;
    let names = vec!["pvc-1".parse().unwrap(), "a*".parse().unwrap()];
    ec2_at(&server.url()).await.describe_volumes(VolumeQuery::Names(names)).await.unwrap();
    let fields = [
        ("Action", "DescribeVolumes"),
        ("Filter.1.Name", "tag:CSIVolumeName"),
        ("Filter.1.Value.1", "pvc-1"),
        ("Filter.1.Value.2", "a\\*"),
    ];
    assert_eq!(server.forms(), [pairs(&fields)]);
}

#[tokio::test]
async fn a_page_of_all_is_one_call() {
    let body =
        format!("<volumeSet><item>{}</item></volumeSet><nextToken>t2</nextToken>", volume_xml());
    let server = Canned::answering([volumes(&body)]).await;
    let query = VolumeQuery::All { max: 500, token: Some("t1".to_owned()) };
    let found = ec2_at(&server.url()).await.describe_volumes(query).await.unwrap();
    assert_eq!(found, Page { items: vec![volume()], next: Some("t2".to_owned()) });
    let mut form = server.forms().remove(0);
    form.sort();
    let fields = [("Action", "DescribeVolumes"), ("MaxResults", "500"), ("NextToken", "t1")];
    assert_eq!(form, pairs(&fields));
}

#[tokio::test]
async fn only_the_accounts_own_snapshots_are_listed() {
    let body = format!(
        "<snapshotSet><item><snapshotId>{SNAPSHOT}</snapshotId><volumeId>vol-ffffffff</volumeId>\
         <status>completed</status><startTime>2026-01-02T03:04:05.006Z</startTime>\
         <progress>100%</progress><volumeSize>10</volumeSize></item></snapshotSet>"
    );
    let server = Canned::answering(vec![answer("DescribeSnapshots", &body); 3]).await;
    let ec2 = ec2_at(&server.url()).await;
    let of_volume =
        SnapshotQuery::All { volume: Some(VOLUME.parse().unwrap()), max: 5, token: None };
    for query in [
        SnapshotQuery::Ids(vec![SNAPSHOT.parse().unwrap()]),
        SnapshotQuery::Names(vec!["s".parse().unwrap()]),
        of_volume,
    ] {
        let found = ec2.describe_snapshots(query).await.unwrap().items.remove(0);
        assert_eq!(found.state, SnapshotState::Completed);
        assert_eq!(found.progress, 100);
    }
    let form = |name, value, last: &[(&str, &str)]| {
        let mut form = pairs(&[("Action", "DescribeSnapshots"), ("Owner.1", "self")]);
        form.extend(pairs(&[("Filter.1.Name", name), ("Filter.1.Value.1", value)]));
        form.extend(pairs(last));
        form.sort();
        form
    };
    let mut forms = server.forms();
    for form in &mut forms {
        form.sort();
    }
    assert_eq!(
        forms,
        [
            form("snapshot-id", SNAPSHOT, &[]),
            form("tag:CSIVolumeSnapshotName", "s", &[]),
            form("volume-id", VOLUME, &[("MaxResults", "5")]),
        ]
    );
}

#[tokio::test]
async fn instances_show_their_devices() {
    let body = format!(
        "<reservationSet><item><instancesSet><item><instanceId>{INSTANCE}</instanceId>\
         <instanceState><code>16</code><name>running</name></instanceState>\
         <instanceType>m5.large</instanceType><rootDeviceName>/dev/xvda</rootDeviceName>\
         <placement><availabilityZone>us-east-1a</availabilityZone></placement>\
         <blockDeviceMapping><item><deviceName>/dev/xvda</deviceName><ebs>\
         <volumeId>{VOLUME}</volumeId><status>attached</status></ebs></item></blockDeviceMapping>\
         </item></instancesSet></item></reservationSet>"
    );
    let server = Canned::answering([answer("DescribeInstances", &body)]).await;
    let ids = vec![INSTANCE.parse().unwrap()];
    let found = ec2_at(&server.url()).await.describe_instances(ids).await.unwrap();
    let expected = Instance {
        id: INSTANCE.parse().unwrap(),
        instance_type: "m5.large".to_owned(),
        zone: Zone("us-east-1a".to_owned()),
        state: "running".to_owned(),
        devices: [("/dev/xvda".to_owned(), VOLUME.parse().unwrap())].into(),
        root_device: Some("/dev/xvda".to_owned()),
    };
    assert_eq!(found, [expected]);
    let fields = [("Filter.1.Name", "instance-id"), ("Filter.1.Value.1", INSTANCE)];
    assert_eq!(server.forms()[0][1..], pairs(&fields));
}

fn status_xml(id: &str, state: &str, more: &str) -> String {
    format!(
        "<item><volumeId>{id}</volumeId><volumeStatus><status>ok</status><details><item>\
         <name>io-enabled</name><status>passed</status></item>{state}</details></volumeStatus>\
         {more}</item>"
    )
}

#[tokio::test]
async fn volumes_that_do_not_exist_are_left_out_of_the_next_question_about_their_filling() {
    let state = |word: &str| {
        format!("<item><name>initialization-state</name><status>{word}</status></item>")
    };
    let details = "<initializationStatusDetails><initializationType>provisioned-rate\
         </initializationType><progress>40</progress>\
         <estimatedTimeToCompleteInSeconds>90</estimatedTimeToCompleteInSeconds>\
         </initializationStatusDetails>";
    let [busy, done, young] = ["vol-00000001", "vol-00000002", "vol-00000003"];
    let body = format!(
        "<volumeStatusSet>{}{}{}</volumeStatusSet>",
        status_xml(busy, &state("initializing"), details),
        status_xml(done, &state("completed"), ""),
        status_xml(young, "", ""),
    );
    let refusal = format!("The volume '{VOLUME}' does not exist.");
    let server = Canned::with([
        canned::Reply::Http(400, failure("InvalidVolume.NotFound", &refusal)),
        canned::Reply::Http(200, answer("DescribeVolumeStatus", &body)),
    ])
    .await;
    let ids = [VOLUME, busy, done, young].map(|id| id.parse().unwrap());
    let found = ec2_at(&server.url()).await.describe_initialization(ids.to_vec()).await.unwrap();
    let filling = InitializationState::Initializing {
        progress: Some(40),
        left: Some(Duration::from_secs(90)),
    };
    let states = [filling, InitializationState::Initialized, InitializationState::Unknown];
    let expected = ids[1..].iter().zip(states);
    let expected: Vec<_> =
        expected.map(|(id, state)| Initialization { volume: id.clone(), state }).collect();
    assert_eq!(found, expected);
    let asked = [("VolumeId.1", busy), ("VolumeId.2", done), ("VolumeId.3", young)];
    assert_eq!(server.forms()[1][1..], pairs(&asked));
}

#[tokio::test]
async fn a_refusal_that_names_no_volume_makes_each_be_asked_for_by_itself() {
    let refusal = || canned::Reply::Http(400, failure("InvalidVolume.NotFound", "one is not"));
    let body = format!("<volumeStatusSet>{}</volumeStatusSet>", status_xml(VOLUME, "", ""));
    let good = canned::Reply::Http(200, answer("DescribeVolumeStatus", &body));
    let server = Canned::with([refusal(), refusal(), good]).await;
    let ids = vec!["vol-00000001".parse().unwrap(), VOLUME.parse().unwrap()];
    let found = ec2_at(&server.url()).await.describe_initialization(ids).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].volume.as_str(), VOLUME);
}

fn modification_xml(state: &str, start: &str) -> String {
    format!(
        "<item><volumeId>{VOLUME}</volumeId>{state}<targetSize>20</targetSize>\
         <targetVolumeType>gp3</targetVolumeType><progress>99</progress>{start}</item>"
    )
}

#[tokio::test]
async fn of_modifications_the_latest_counts_and_rows_without_one_do_not() {
    let old = modification_xml(
        "<modificationState>completed</modificationState>",
        "<startTime>2026-01-01T00:00:00.000Z</startTime>",
    );
    let new = modification_xml(
        "<modificationState>optimizing</modificationState>",
        "<startTime>2026-01-02T00:00:00.000Z</startTime>",
    );
    let never = modification_xml("", "").replace(VOLUME, "vol-00000001");
    let body = format!("<volumeModificationSet>{new}{old}{never}</volumeModificationSet>");
    let server = Canned::with([
        canned::Reply::Http(200, answer("DescribeVolumesModifications", &body)),
        canned::Reply::Http(400, failure("InvalidVolumeModification.NotFound", "none")),
    ])
    .await;
    let ec2 = ec2_at(&server.url()).await;
    let ids = vec![VOLUME.parse().unwrap(), "vol-00000001".parse().unwrap()];
    let found = ec2.describe_modifications(ids.clone()).await.unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].state, ModificationState::Optimizing);
    assert_eq!(server.forms()[0][1..][..1], pairs(&[("Filter.1.Name", "volume-id")]));
    assert_eq!(ec2.describe_modifications(ids).await.unwrap(), []);
}

#[tokio::test]
async fn only_open_availability_zones_are_offered() {
    let zone = |name: &str, state: &str, kind: &str| {
        format!(
            "<item><zoneName>{name}</zoneName><zoneState>{state}</zoneState>\
             <zoneType>{kind}</zoneType></item>"
        )
    };
    let body = format!(
        "<availabilityZoneInfo>{}{}{}</availabilityZoneInfo>",
        zone("us-east-1a", "available", "availability-zone"),
        zone("us-east-1b", "impaired", "availability-zone"),
        zone("us-east-1-bos-1a", "available", "local-zone"),
    );
    let server = Canned::answering([answer("DescribeAvailabilityZones", &body)]).await;
    let found = ec2_at(&server.url()).await.describe_zones().await.unwrap();
    assert_eq!(found, [Zone("us-east-1a".to_owned())]);
}
