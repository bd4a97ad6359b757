//! The port against a canned EC2: what goes over the wire, what is made of what comes back.

mod canned;
mod failures;
mod reads;
mod writes;

use std::time::Duration;

use aws_credential_types::Credentials;
use aws_sdk_ec2::config::timeout::TimeoutConfig;
use aws_sdk_ec2::config::{Region, SharedCredentialsProvider};
use csi_core::{ApiError, ErrorKind};
use prometheus_client::registry::Registry;

use super::*;
use crate::connect::behavior;
use canned::Canned;

const VOLUME: &str = "vol-0123456789abcdef0";
const SNAPSHOT: &str = "snap-0123456789abcdef0";
const INSTANCE: &str = "i-0123456789abcdef0";

/// A client of the canned EC2 with everything that [`Ec2::connect`] sets, but keys of our own and
/// less patience.
async fn ec2_at(url: &str) -> Ec2 {
    ec2_with(url, Duration::from_secs(10)).await
}

async fn ec2_with(url: &str, patience: Duration) -> Ec2 {
    let config = Config { region: "us-east-1".to_owned(), ..Config::default() };
    let ec2 = Ec2::connect(&config, &mut Registry::default()).unwrap();
    let keys = Credentials::builder()
        .access_key_id("AKIDEXAMPLE")
        .secret_access_key("a-secret")
        .provider_name("test")
        .build();
    let patience = TimeoutConfig::builder()
        .connect_timeout(patience)
        .operation_attempt_timeout(patience)
        .build();
    let config = ec2
        .client()
        .await
        .config()
        .to_builder()
        .region(Region::new("us-east-1"))
        .behavior_version(behavior())
        .endpoint_url(url)
        .credentials_provider(SharedCredentialsProvider::new(keys))
        .timeout_config(patience);
    with_client(ec2, config).await
}

/// The same with another client.
async fn with_client(ec2: Ec2, config: aws_sdk_ec2::config::Builder) -> Ec2 {
    let credentials = ec2.connected().await.credentials.clone();
    let client = aws_sdk_ec2::Client::from_conf(config.build());
    let mut shared = Arc::into_inner(ec2.0).unwrap();
    shared.connected = OnceCell::new_with(Some(Connected { client, credentials }));
    Ec2(Arc::new(shared))
}

/// The XML of an answer of `action` with `body` in it.
fn answer(action: &str, body: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <{action}Response xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\">\
         <requestId>59dbff89-35bd-4eac-99ed-be587EXAMPLE</requestId>{body}</{action}Response>"
    )
}

/// The XML of EC2's errors.
fn failure(code: &str, message: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response><Errors><Error><Code>{code}</Code>\
         <Message>{message}</Message></Error></Errors>\
         <RequestID>ea966190-f9aa-478e-9ede-example</RequestID></Response>"
    )
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// A volume as EC2 writes it, in the state `in-use`.
fn volume_xml() -> String {
    format!(
        "<volumeId>{VOLUME}</volumeId><size>10</size><snapshotId/>\
         <availabilityZone>us-east-1a</availabilityZone><status>in-use</status>\
         <createTime>2026-01-02T03:04:05.006Z</createTime><attachmentSet><item>\
         <volumeId>{VOLUME}</volumeId><instanceId>{INSTANCE}</instanceId><device>/dev/xvdaa</device>\
         <status>attached</status><attachTime>2026-01-02T03:05:05.000Z</attachTime>\
         <deleteOnTermination>false</deleteOnTermination></item><item>\
         <volumeId>{VOLUME}</volumeId><device>/dev/xvdab</device><status>attached</status>\
         <associatedResource>arn:aws:ecs:us-east-1:1:task/t</associatedResource>\
         <instanceOwningService>ecs.amazonaws.com</instanceOwningService></item></attachmentSet>\
         <tagSet><item><key>CSIVolumeName</key><value>pvc-1</value></item>\
         <item><key>empty</key><value/></item></tagSet><volumeType>gp3</volumeType>\
         <iops>4000</iops><throughput>400</throughput><encrypted>true</encrypted>\
         <kmsKeyId>arn:aws:kms:us-east-1:1:key/k</kmsKeyId>\
         <multiAttachEnabled>false</multiAttachEnabled>"
    )
}
