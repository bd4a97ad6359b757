//! The metadata service.

use http::{Method, StatusCode};
use serde_json::Value;

use super::bench::{Bench, element};

const TTL: &str = "x-aws-ec2-metadata-token-ttl-seconds";
const TOKEN: &str = "x-aws-ec2-metadata-token";
const TOKEN_PATH: &str = "/latest/api/token";

async fn token(bench: &Bench) -> String {
    let (status, token) = bench.metadata(Method::PUT, TOKEN_PATH, (TTL, "60")).await;
    assert_eq!(status, StatusCode::OK);
    token
}

async fn read(bench: &Bench, token: &str, path: &str) -> String {
    let path = format!("/latest/{path}");
    let (status, text) = bench.metadata(Method::GET, &path, (TOKEN, token)).await;
    assert_eq!(status, StatusCode::OK, "{path}");
    text
}

#[tokio::test]
async fn nothing_is_told_without_a_token() {
    let bench = Bench::start().await;
    let path = "/latest/meta-data/instance-id";
    for token in ["", "made-up"] {
        let (status, _) = bench.metadata(Method::GET, path, (TOKEN, token)).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
    }
    for ttl in ["", "0", "21601", "x"] {
        let (status, _) = bench.metadata(Method::PUT, TOKEN_PATH, (TTL, ttl)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{ttl:?}");
    }
    let (status, _) =
        bench.metadata(Method::PUT, TOKEN_PATH, ("x-forwarded-for", "10.0.0.1")).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn an_instance_learns_who_and_where_it_is() {
    let bench = Bench::start().await;
    let token = token(&bench).await;
    let document = read(&bench, &token, "dynamic/instance-identity/document").await;
    let document: Value = serde_json::from_str(&document).unwrap();
    assert_eq!(document["instanceId"], bench.node.as_str());
    assert_eq!(document["availabilityZone"], "us-east-1a");
    assert_eq!(document["instanceType"], "m5.large");
    assert_eq!(read(&bench, &token, "meta-data/placement/region").await, "us-east-1");
    let macs = read(&bench, &token, "meta-data/network/interfaces/macs/").await;
    assert_eq!(macs, "0e:00:00:00:00:01/\n0e:00:00:00:00:02/");
}

#[tokio::test]
async fn block_devices_are_those_of_the_last_boot() {
    let bench = Bench::start().await;
    let token = token(&bench).await;
    let list = "meta-data/block-device-mapping";
    let created =
        bench.ok("Action=CreateVolume&AvailabilityZone=us-east-1a&Size=1&VolumeType=gp3").await;
    let id = element(&created, "volumeId");
    let node = &bench.node;
    bench
        .ok(&format!("Action=AttachVolume&VolumeId={id}&InstanceId={node}&Device=/dev/xvdaa"))
        .await;
    assert_eq!(read(&bench, &token, list).await, "ami\nroot");
    bench.admin.reboot(node).await.unwrap();
    assert_eq!(read(&bench, &token, list).await, "ami\nebs1\nroot");
    assert_eq!(read(&bench, &token, &format!("{list}/ebs1")).await, "/dev/xvdaa");
    let (status, _) =
        bench.metadata(Method::GET, "/latest/meta-data/nothing", (TOKEN, &token)).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}
