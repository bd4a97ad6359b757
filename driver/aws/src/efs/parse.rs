//! From EFS's answers to domain types; see [`crate::parse`].

use aws_sdk_efs::operation::create_access_point::CreateAccessPointOutput;
use aws_sdk_efs::types;
use csi_core::Zone;
use csi_core::efs::{
    AccessPoint, CreationInfo, FileSystem, LifeCycleState, MountTarget, PosixUser, RootDirectory,
};

use crate::parse::{Odd, need, need_id, parse_id, text, value};

pub(super) fn access_point(found: &types::AccessPointDescription) -> Result<AccessPoint, Odd> {
    Ok(AccessPoint {
        id: need_id("AccessPointId", found.access_point_id())?,
        client_token: found.client_token().unwrap_or_default().to_owned(),
        file_system: need_id("FileSystemId", found.file_system_id())?,
        state: state(need("LifeCycleState", found.life_cycle_state())?)?,
        posix_user: found.posix_user().map(user).transpose()?,
        root: match found.root_directory() {
            None => RootDirectory { path: "/".to_owned(), creation: None },
            Some(root) => RootDirectory {
                path: text(root.path()).unwrap_or("/").to_owned(),
                creation: root.creation_info().map(creation).transpose()?,
            },
        },
        tags: found
            .tags()
            .iter()
            .map(|tag| (tag.key().to_owned(), tag.value().to_owned()))
            .collect(),
    })
}

/// A creating call's answer has the fields of a description.
pub(super) fn access_point_from(made: CreateAccessPointOutput) -> Result<AccessPoint, Odd> {
    access_point(
        &types::AccessPointDescription::builder()
            .set_access_point_id(made.access_point_id)
            .set_client_token(made.client_token)
            .set_file_system_id(made.file_system_id)
            .set_life_cycle_state(made.life_cycle_state)
            .set_posix_user(made.posix_user)
            .set_root_directory(made.root_directory)
            .set_tags(made.tags)
            .build(),
    )
}

pub(super) fn file_system(found: &types::FileSystemDescription) -> Result<FileSystem, Odd> {
    Ok(FileSystem {
        id: parse_id("FileSystemId", found.file_system_id())?,
        state: state(found.life_cycle_state())?,
        zone: text(found.availability_zone_name()).map(|zone| Zone(zone.to_owned())),
    })
}

pub(super) fn mount_target(found: &types::MountTargetDescription) -> Result<MountTarget, Odd> {
    let ipv4 = text(found.ip_address()).map(|ip| parse_id("IpAddress", ip)).transpose()?;
    let ipv6 = text(found.ipv6_address()).map(|ip| parse_id("Ipv6Address", ip)).transpose()?;
    Ok(MountTarget {
        id: found.mount_target_id().to_owned(),
        file_system: parse_id("FileSystemId", found.file_system_id())?,
        state: state(found.life_cycle_state())?,
        zone: Zone(found.availability_zone_name().unwrap_or_default().to_owned()),
        zone_id: found.availability_zone_id().unwrap_or_default().to_owned(),
        ipv4,
        ipv6,
    })
}

fn state(found: &types::LifeCycleState) -> Result<LifeCycleState, Odd> {
    match found.as_str() {
        "creating" => Ok(LifeCycleState::Creating),
        "available" => Ok(LifeCycleState::Available),
        "updating" => Ok(LifeCycleState::Updating),
        "deleting" => Ok(LifeCycleState::Deleting),
        "deleted" => Ok(LifeCycleState::Deleted),
        "error" => Ok(LifeCycleState::Error),
        other => Err(value("LifeCycleState", other)),
    }
}

fn user(found: &types::PosixUser) -> Result<PosixUser, Odd> {
    let more = found.secondary_gids().iter().map(|gid| id("SecondaryGids", *gid));
    Ok(PosixUser {
        uid: id("Uid", found.uid())?,
        gid: id("Gid", found.gid())?,
        secondary_gids: more.collect::<Result<_, _>>()?,
    })
}

fn creation(found: &types::CreationInfo) -> Result<CreationInfo, Odd> {
    Ok(CreationInfo {
        owner_uid: id("OwnerUid", found.owner_uid())?,
        owner_gid: id("OwnerGid", found.owner_gid())?,
        permissions: found.permissions().to_owned(),
    })
}

fn id(field: &'static str, found: i64) -> Result<u32, Odd> {
    u32::try_from(found).map_err(|_too_large| value(field, &found))
}
