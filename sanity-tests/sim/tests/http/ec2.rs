//! EC2 and STS calls, and faults as a client meets them.

use std::time::Duration;

use csi_sim::world::{Action, Fault, FaultKind, When};
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tokio::time::timeout;

use super::bench::{Bench, Signer, ZONE, element};

const CREATE: &str = "Action=CreateVolume&AvailabilityZone=us-east-1a&Size=10&VolumeType=gp3\
                      &ClientToken=t&TagSpecification.1.ResourceType=volume\
                      &TagSpecification.1.Tag.1.Key=CSIVolumeName\
                      &TagSpecification.1.Tag.1.Value=pvc-1%3C";

async fn script(bench: &Bench, action: Action, fault: FaultKind) {
    let fault = Fault { action: Some(action), when: When::Next, fault };
    bench.admin.add_fault(&fault).await.unwrap();
}

#[tokio::test]
async fn a_volume_lives_through_its_whole_life() {
    let bench = Bench::start().await;
    let created = bench.ok(CREATE).await;
    assert!(
        created
            .contains("<CreateVolumeResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\">")
    );
    assert_eq!(element(&created, "status"), "creating");
    let id = element(&created, "volumeId");
    let node = &bench.node;
    let attached = format!("VolumeId={id}&InstanceId={node}");
    let shown = bench.ok(&format!("Action=AttachVolume&{attached}&Device=/dev/xvdaa")).await;
    assert_eq!(element(&shown, "status"), "attaching");
    let filter = "Filter.1.Name=tag:CSIVolumeName&Filter.1.Value.1=pvc-1%3C";
    let shown = bench.ok(&format!("Action=DescribeVolumes&{filter}")).await;
    assert!(
        shown.contains("<status>attached</status>") && shown.contains("<value>pvc-1&lt;</value>")
    );
    let shown = bench.ok(&format!("Action=DescribeInstances&InstanceId.1={node}")).await;
    assert!(shown.contains("<deviceName>/dev/xvdaa</deviceName>"), "{shown}");
    let shown = bench.ok(&format!("Action=ModifyVolume&VolumeId={id}&Size=20")).await;
    assert_eq!(
        (element(&shown, "targetSize"), element(&shown, "originalSize")),
        ("20".into(), "10".into())
    );
    let shown = bench.ok(&format!("Action=DescribeVolumesModifications&VolumeId.1={id}")).await;
    assert_eq!(element(&shown, "modificationState"), "completed");
    let snapshot = bench.ok(&format!("Action=CreateSnapshot&VolumeId={id}")).await;
    assert_eq!(
        (element(&snapshot, "volumeSize"), element(&snapshot, "progress")),
        ("20".into(), "0%".into())
    );
    let shown = bench.ok("Action=DescribeSnapshots&Owner.1=self&MaxResults=5").await;
    assert_eq!(element(&shown, "status"), "completed");
    assert_eq!(bench.refused(&format!("Action=DeleteVolume&VolumeId={id}")).await, "VolumeInUse");
    bench.ok(&format!("Action=DetachVolume&{attached}")).await;
    bench.ok(&format!("Action=CopyVolumes&SourceVolumeId={id}&VolumeType=gp3")).await;
    bench.ok(&format!("Action=CreateTags&ResourceId.1={id}&Tag.1.Key=k&Tag.1.Value=v")).await;
    bench.ok(&format!("Action=DeleteTags&ResourceId.1={id}&Tag.1.Key=k")).await;
    bench.ok(&format!("Action=DeleteVolume&VolumeId={id}")).await;
    let snapshot = element(&snapshot, "snapshotId");
    bench.ok(&format!("Action=DeleteSnapshot&SnapshotId={snapshot}")).await;
    let state = bench.admin.state().await.unwrap();
    assert_eq!((state.volumes.len(), state.snapshots.len()), (2, 0));
    assert!(!state.volumes.contains_key(&id));
}

#[tokio::test]
async fn zones_and_instance_types_are_described() {
    let bench = Bench::start().await;
    let zones = bench.ok("Action=DescribeAvailabilityZones").await;
    assert_eq!(
        (element(&zones, "zoneName"), element(&zones, "regionName")),
        (ZONE.into(), "us-east-1".into())
    );
    let types = bench.ok("Action=DescribeInstanceTypes&InstanceType.1=m7i.large").await;
    assert_eq!(element(&types, "attachmentLimitType"), "dedicated");
    assert_eq!(element(&types, "maximumEbsAttachments"), "32");
    assert_eq!(
        bench.refused("Action=DescribeInstanceTypes&InstanceType.1=x9").await,
        "InvalidInstanceType"
    );
}

#[tokio::test]
async fn errors_carry_code_message_and_request_id() {
    let bench = Bench::start().await;
    let (status, xml) = bench.ec2("Action=DeleteVolume&VolumeId=vol-0123456789abcdef0").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(xml.contains("<Response><Errors><Error><Code>InvalidVolume.NotFound</Code>"), "{xml}");
    assert_eq!(element(&xml, "RequestID").len(), 36);
    assert_eq!(bench.refused("Action=RunInstances").await, "InvalidAction");
    assert_eq!(bench.refused("Action=DescribeVolumes&Colour=red").await, "UnknownParameter");
    let dry = format!("{CREATE}&DryRun=true");
    assert_eq!(bench.ec2(&dry).await.0, StatusCode::PRECONDITION_FAILED);
    assert_eq!(bench.refused(&dry).await, "DryRunOperation");
    assert_eq!(bench.refused("Action=DescribeSnapshots").await, "MissingParameter");
}

#[tokio::test]
async fn only_well_signed_calls_are_heard() {
    let bench = Bench::start().await;
    let form = "Action=DescribeVolumes&Version=2016-11-15";
    let code = async |signer: Signer| {
        let (status, xml) = bench.signed("ec2", form, &signer).await.unwrap();
        (status.as_u16(), element(&xml, "Code"))
    };
    let wrong = Signer { secret: "another".to_owned(), ..Signer::default() };
    assert_eq!(code(wrong).await, (403, "SignatureDoesNotMatch".to_owned()));
    let unknown = Signer { access_key: "AKIAUNKNOWN".to_owned(), ..Signer::default() };
    assert_eq!(code(unknown).await, (401, "AuthFailure".to_owned()));
    let early = Timestamp::now() - SignedDuration::from_mins(6);
    let old = Signer { at: early, ..Signer::default() };
    assert_eq!(code(old).await, (400, "RequestExpired".to_owned()));
    let elsewhere = Signer { region: "eu-west-1".to_owned(), ..Signer::default() };
    assert_eq!(code(elsewhere).await, (403, "SignatureDoesNotMatch".to_owned()));
    bench.admin.remove_credential(&Signer::default().access_key).await.unwrap();
    assert_eq!(code(Signer::default()).await, (401, "AuthFailure".to_owned()));
}

#[tokio::test]
async fn sts_says_who_calls() {
    let bench = Bench::start().await;
    let form = "Action=GetCallerIdentity&Version=2011-06-15";
    let (status, xml) = bench.signed("sts", form, &Signer::default()).await.unwrap();
    assert_eq!(status, StatusCode::OK);
    assert_eq!(element(&xml, "Arn"), "arn:aws:iam::123456789012:user/AKIASIMULATED0000000");
    let wrong = Signer { secret: "another".to_owned(), ..Signer::default() };
    let (_, xml) = bench.signed("sts", form, &wrong).await.unwrap();
    assert!(xml.starts_with("<?xml") && xml.contains("<ErrorResponse"), "{xml}");
}

#[tokio::test]
async fn a_lost_answer_drops_the_connection_and_leaves_the_effect() {
    let bench = Bench::start().await;
    script(&bench, Action::CreateVolume, FaultKind::LoseReply).await;
    let form = format!("{CREATE}&Version=2016-11-15");
    bench.signed("ec2", &form, &Signer::default()).await.unwrap_err();
    assert_eq!(bench.admin.state().await.unwrap().volumes.len(), 2);
    bench.ok(CREATE).await;
    assert_eq!(bench.admin.state().await.unwrap().volumes.len(), 2);
    let history = bench.admin.history(Some(Action::CreateVolume)).await.unwrap();
    let outcomes: Vec<_> = history.iter().map(|record| record.outcome.as_str()).collect();
    assert_eq!(outcomes, ["lost", "ok"]);
    assert!(bench.admin.faults().await.unwrap().first().unwrap().spent);
}

#[tokio::test]
async fn a_hung_call_does_not_answer_and_others_do() {
    let bench = Bench::start().await;
    script(&bench, Action::CreateVolume, FaultKind::HangBefore).await;
    let hung = timeout(Duration::from_millis(200), bench.ec2(CREATE)).await;
    assert!(hung.is_err());
    assert_eq!(bench.admin.state().await.unwrap().volumes.len(), 1);
    bench.ok(CREATE).await;
}

#[tokio::test]
async fn quotas_settings_and_counters_are_set_from_outside() {
    let bench = Bench::start().await;
    bench.admin.change_settings(&json!({"throttle": true})).await.unwrap();
    assert!(bench.admin.settings().await.unwrap().throttle);
    bench.admin.set_buckets(&[(Action::DescribeVolumes, (1, 0))].into()).await.unwrap();
    bench.ok("Action=DescribeVolumes").await;
    assert_eq!(bench.refused("Action=DescribeVolumes").await, "RequestLimitExceeded");
    let counts = bench.admin.counts().await.unwrap();
    let count = &counts[&Action::DescribeVolumes];
    assert_eq!((count.calls, count.outcomes["RequestLimitExceeded"]), (2, 1));
    bench.admin.reset_history().await.unwrap();
    assert!(bench.admin.counts().await.unwrap().is_empty());
    let error = bench.admin.change_settings(&json!({"colour": 1})).await.unwrap_err();
    assert!(error.to_string().contains("colour"), "{error}");
}
