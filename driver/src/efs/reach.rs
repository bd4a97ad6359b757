//! How nodes reach the file system: the context of volumes in another account's file system, and
//! the zone of a One Zone file system. Looked up before anything is made.

use std::collections::BTreeMap;
use std::net::IpAddr;

use csi_core::efs::{Efs, FileSystem, LifeCycleState, MountTarget, Secrets};
use csi_core::{ApiError, FileSystemId, Zone};
use tokio::time::Instant;

use super::spec::Spec;
use crate::call::repeat;

/// Key of the volume context: `true` lets nodes find the mount target by the name that holds the
/// id of their zone.
pub const CROSS_ACCOUNT: &str = "crossaccount";
/// Key of the volume context: the address of the one mount target to use.
pub const MOUNT_TARGET_IP: &str = "mounttargetip";
/// Key of the volume context: a JSON object from zone names to addresses of mount targets.
pub const MOUNT_TARGET_IP_MAP: &str = "mounttargetipmap";

/// How a volume is reached.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Reach {
    /// Its volume context.
    pub(super) context: BTreeMap<String, String>,
    /// The only zone from which it is to be used.
    pub(super) zone: Option<Zone>,
}

/// Why it is not known how a volume is reached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReachError {
    /// EFS did not say.
    #[error("cannot look at the mount targets of {file_system}")]
    Targets {
        /// The file system.
        file_system: FileSystemId,
        /// EFS's answer, or its absence.
        #[source]
        error: ApiError,
    },
    /// EFS did not say.
    #[error("cannot look at {file_system}")]
    FileSystem {
        /// The file system.
        file_system: FileSystemId,
        /// EFS's answer, or its absence.
        #[source]
        error: ApiError,
    },
    /// There is no mount target that is available.
    #[error("{file_system} has no available mount target, so no node can mount it; make one")]
    NoTarget {
        /// The file system.
        file_system: FileSystemId,
    },
}

/// Looks up how the volume will be reached, as far as that depends on anything.
pub(super) async fn look<C: Efs>(
    efs: &C,
    spec: &Spec,
    secrets: &Secrets,
    until: Instant,
) -> Result<Reach, ReachError> {
    let id = &spec.file_system;
    let mut reach = Reach::default();
    if spec.class.enforce_zone {
        let found = repeat(until, || efs.describe_file_system(id.clone())).await;
        let found: FileSystem = found.map_err(|failed| ReachError::FileSystem {
            file_system: id.clone(),
            error: failed.error,
        })?;
        reach.zone = found.zone;
    }
    // Without a role the file system is in the nodes' own account, where its name resolves.
    if secrets.role.is_none() {
        return Ok(reach);
    }
    if secrets.cross_account {
        reach.context.insert(CROSS_ACCOUNT.to_owned(), "true".to_owned());
        return Ok(reach);
    }
    let targets = repeat(until, || efs.describe_mount_targets(id.clone())).await;
    let targets = targets
        .map_err(|failed| ReachError::Targets { file_system: id.clone(), error: failed.error })?;
    let none = || ReachError::NoTarget { file_system: id.clone() };
    let (key, value) = address(&targets, spec.class.zone.as_ref()).ok_or_else(none)?;
    reach.context.insert(key, value);
    Ok(reach)
}

/// The context entry with the addresses, or `None` if there is none. A zone that has no target gets
/// that of the first zone: slower and dearer, but the volume can be used.
fn address(targets: &[MountTarget], wanted: Option<&Zone>) -> Option<(String, String)> {
    let usable = targets.iter().filter(|target| target.state == LifeCycleState::Available);
    let addresses: BTreeMap<&str, String> = usable
        .filter_map(|target| {
            let four = target.ipv4.map(IpAddr::from);
            let address = four.or_else(|| target.ipv6.map(IpAddr::from))?;
            Some((target.zone.0.as_str(), address.to_string()))
        })
        .collect();
    let (first, _) = addresses.first_key_value()?;
    if let Some(zone) = wanted {
        let address = addresses.get(zone.0.as_str()).or_else(|| addresses.get(first))?;
        return Some((MOUNT_TARGET_IP.to_owned(), address.clone()));
    }
    let map = serde_json::to_string(&addresses).ok()?;
    Some((MOUNT_TARGET_IP_MAP.to_owned(), map))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(zone: &str, ip: &str, state: LifeCycleState) -> MountTarget {
        let address: IpAddr = ip.parse().unwrap();
        let (ipv4, ipv6) = match address {
            IpAddr::V4(four) => (Some(four), None),
            IpAddr::V6(six) => (None, Some(six)),
        };
        MountTarget {
            id: "fsmt-0123456789abcdef0".to_owned(),
            file_system: "fs-92107410".parse().unwrap(),
            state,
            zone: Zone(zone.to_owned()),
            zone_id: String::new(),
            ipv4,
            ipv6,
        }
    }

    #[test]
    fn the_wanted_zone_is_taken_where_it_has_an_available_target() {
        use LifeCycleState::{Available, Creating};
        let targets = [
            target("b", "10.0.0.2", Available),
            target("a", "10.0.0.1", Available),
            target("c", "10.0.0.3", Creating),
            target("d", "fd00::4", Available),
        ];
        let at = |zone: &str| address(&targets, Some(&Zone(zone.to_owned()))).unwrap();
        assert_eq!(at("b"), ("mounttargetip".to_owned(), "10.0.0.2".to_owned()));
        assert_eq!(at("c").1, "10.0.0.1", "not available, so the first");
        assert_eq!(at("d").1, "fd00::4");
        let (key, map) = address(&targets, None).unwrap();
        assert_eq!(key, "mounttargetipmap");
        assert_eq!(map, r#"{"a":"10.0.0.1","b":"10.0.0.2","d":"fd00::4"}"#);
        assert_eq!(address(&targets[2..3], None), None);
    }
}
