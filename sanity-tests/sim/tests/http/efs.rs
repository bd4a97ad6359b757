//! EFS through signed REST calls.

use csi_sim::seed::USUAL_FILE_SYSTEM;
use csi_sim::world::{Action, Fault, FaultKind, When};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::bench::{Bench, Signer};

fn creation(token: &str) -> Value {
    json!({
        "ClientToken": token,
        "FileSystemId": USUAL_FILE_SYSTEM,
        "PosixUser": {"Uid": 1000, "Gid": 1000},
        "RootDirectory": {
            "Path": "/dynamic_provisioning/pvc-1",
            "CreationInfo": {"OwnerUid": 1000, "OwnerGid": 1000, "Permissions": "700"},
        },
        "Tags": [{"Key": "efs.csi.aws.com/cluster", "Value": "true"}],
    })
}

async fn create(bench: &Bench, call: &Value) -> (StatusCode, Value) {
    let signer = Signer::default();
    bench.efs(Method::POST, "access-points", &call.to_string(), &signer).await
}

async fn get(bench: &Bench, path: &str) -> (StatusCode, Value) {
    bench.efs(Method::GET, path, "", &Signer::default()).await
}

#[tokio::test]
async fn an_access_point_lives_through_its_whole_life() {
    let bench = Bench::start().await;
    let (status, made) = create(&bench, &creation("t")).await;
    assert_eq!((status, &made["LifeCycleState"]), (StatusCode::OK, &json!("creating")));
    let id = made["AccessPointId"].as_str().unwrap();
    let (_, shown) = get(&bench, &format!("access-points?AccessPointId={id}")).await;
    let shown = &shown["AccessPoints"][0];
    assert_eq!(shown["LifeCycleState"], "available");
    assert_eq!(shown["RootDirectory"], creation("t")["RootDirectory"]);
    assert_eq!(shown["PosixUser"], json!({"Uid": 1000, "Gid": 1000}));
    assert_eq!(shown["Tags"], creation("t")["Tags"]);
    let (status, error) = create(&bench, &creation("t")).await;
    assert_eq!(
        (status, &error["ErrorCode"]),
        (StatusCode::CONFLICT, &json!("AccessPointAlreadyExists"))
    );
    assert_eq!(error["AccessPointId"], made["AccessPointId"]);
    let dump = bench.admin.state().await.unwrap();
    assert_eq!(dump.access_points[id].path, "/dynamic_provisioning/pvc-1");
    let path = format!("access-points/{id}");
    let (status, _) = bench.efs(Method::DELETE, &path, "", &Signer::default()).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let (status, error) = bench.efs(Method::DELETE, &path, "", &Signer::default()).await;
    assert_eq!(
        (status, &error["ErrorCode"]),
        (StatusCode::NOT_FOUND, &json!("AccessPointNotFound"))
    );
}

#[tokio::test]
async fn access_points_come_in_pages() {
    let bench = Bench::start().await;
    for n in 0..5 {
        create(&bench, &creation(&format!("t{n}"))).await;
    }
    let mut found = Vec::new();
    let mut query = format!("FileSystemId={USUAL_FILE_SYSTEM}&MaxResults=2");
    loop {
        let (_, page) = get(&bench, &format!("access-points?{query}")).await;
        let ids = page["AccessPoints"].as_array().unwrap().iter();
        found.extend(ids.map(|point| point["ClientToken"].as_str().unwrap().to_owned()));
        let Some(next) = page["NextToken"].as_str() else { break };
        query = format!("FileSystemId={USUAL_FILE_SYSTEM}&MaxResults=2&NextToken={next}");
    }
    found.sort_unstable();
    assert_eq!(found, ["t0", "t1", "t2", "t3", "t4"]);
}

#[tokio::test]
async fn file_systems_and_mount_targets_are_shown() {
    let bench = Bench::start().await;
    let (_, shown) = get(&bench, &format!("file-systems?FileSystemId={USUAL_FILE_SYSTEM}")).await;
    let shown = &shown["FileSystems"][0];
    assert_eq!(
        (&shown["NumberOfMountTargets"], &shown["LifeCycleState"]),
        (&json!(3), &json!("available"))
    );
    assert_eq!(shown.get("AvailabilityZoneName"), None);
    let (_, shown) = get(&bench, &format!("mount-targets?FileSystemId={USUAL_FILE_SYSTEM}")).await;
    let targets = shown["MountTargets"].as_array().unwrap();
    let in_a =
        targets.iter().find(|target| target["AvailabilityZoneName"] == "us-east-1a").unwrap();
    assert_eq!(
        (&in_a["IpAddress"], &in_a["AvailabilityZoneId"]),
        (&json!("127.92.10.1"), &json!("use1-az1"))
    );
    let (status, error) = get(&bench, "mount-targets?FileSystemId=fs-aaaaaaaa").await;
    assert_eq!(
        (status, &error["ErrorCode"]),
        (StatusCode::NOT_FOUND, &json!("FileSystemNotFound"))
    );
}

#[tokio::test]
async fn only_well_signed_and_well_formed_calls_are_heard() {
    let bench = Bench::start().await;
    let code = async |signer: Signer| {
        let (status, error) = bench.efs(Method::GET, "file-systems", "", &signer).await;
        (status.as_u16(), error["ErrorCode"].clone())
    };
    let wrong = Signer { secret: "another".to_owned(), ..Signer::default() };
    assert_eq!(code(wrong).await, (403, json!("InvalidSignatureException")));
    let unknown = Signer { access_key: "AKIAUNKNOWN".to_owned(), ..Signer::default() };
    assert_eq!(code(unknown).await.1, json!("UnrecognizedClientException"));
    let elsewhere = Signer { region: "eu-west-1".to_owned(), ..Signer::default() };
    assert_eq!(code(elsewhere).await, (403, json!("InvalidSignatureException")));
    let mut call = creation("t");
    call["Colour"] = json!("red");
    assert_eq!(create(&bench, &call).await.0, StatusCode::BAD_REQUEST);
    call = creation("t");
    call["PosixUser"]["Gid"] = json!(-1);
    assert_eq!(create(&bench, &call).await.1["ErrorCode"], "ValidationException");
    assert_eq!(get(&bench, "replications").await.0, StatusCode::BAD_REQUEST);
    assert!(bench.admin.state().await.unwrap().access_points.is_empty());
}

#[tokio::test]
async fn a_scripted_throttle_is_efss_own() {
    let bench = Bench::start().await;
    let fault = Fault {
        action: Some(Action::CreateAccessPoint),
        when: When::Next,
        fault: FaultKind::Throttle,
    };
    bench.admin.add_fault(&fault).await.unwrap();
    let (status, error) = create(&bench, &creation("t")).await;
    assert_eq!((status.as_u16(), &error["ErrorCode"]), (429, &json!("ThrottlingException")));
    assert_eq!(create(&bench, &creation("t")).await.0, StatusCode::OK);
}
