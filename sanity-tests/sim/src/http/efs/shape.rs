//! EFS's data types as JSON. Member names: EFS API reference, "Data types".

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::shape::ACCOUNT;
use super::Context;
use crate::world::World;
use crate::world::efs::{AccessPointRecord, FileSystemRecord, MountTargetRecord};

fn tags(tags: &BTreeMap<String, String>) -> Value {
    tags.iter().map(|(key, value)| json!({"Key": key, "Value": value})).collect()
}

pub(super) fn access_point(context: &Context<'_>, record: &AccessPointRecord) -> Value {
    let arn = format!(
        "arn:aws:elasticfilesystem:{}:{ACCOUNT}:access-point/{}",
        context.region, record.id
    );
    json!({
        "ClientToken": record.client_token,
        "Name": record.tags.get("Name"),
        "Tags": tags(&record.tags),
        "AccessPointId": record.id,
        "AccessPointArn": arn,
        "FileSystemId": record.file_system,
        "PosixUser": record.posix_user,
        "RootDirectory": record.root,
        "OwnerId": ACCOUNT,
        "LifeCycleState": record.state.name(),
    })
}

pub(super) fn file_system(world: &World, record: &FileSystemRecord) -> Value {
    let targets = world.mount_targets().filter(|target| target.file_system == record.id).count();
    let zone = record.one_zone.as_ref();
    json!({
        "OwnerId": ACCOUNT,
        "CreationToken": record.id,
        "FileSystemId": record.id,
        "CreationTime": world.wall_clock(record.created) / 1_000,
        "LifeCycleState": record.state.name(),
        "Name": record.tags.get("Name"),
        "NumberOfMountTargets": targets,
        "SizeInBytes": {"Value": 6_144},
        "PerformanceMode": "generalPurpose",
        "Encrypted": true,
        "ThroughputMode": "elastic",
        "AvailabilityZoneName": zone,
        "AvailabilityZoneId": zone.map(|name| zone_id(world, name)),
        "Tags": tags(&record.tags),
    })
}

pub(super) fn mount_target(world: &World, record: &MountTargetRecord) -> Value {
    json!({
        "OwnerId": ACCOUNT,
        "MountTargetId": record.id,
        "FileSystemId": record.file_system,
        "SubnetId": "subnet-0123456789abcdef0",
        "LifeCycleState": record.state.name(),
        "IpAddress": record.address.is_ipv4().then_some(record.address),
        "Ipv6Address": record.address.is_ipv6().then_some(record.address),
        "NetworkInterfaceId": "eni-0123456789abcdef0",
        "AvailabilityZoneId": zone_id(world, &record.zone),
        "AvailabilityZoneName": record.zone,
        "VpcId": "vpc-0123456789abcdef0",
    })
}

fn zone_id(world: &World, name: &str) -> String {
    let zone = world.zones().into_iter().find(|zone| zone.name == name);
    zone.map(|zone| zone.id).unwrap_or_default()
}
