//! `NodeGetInfo`: who this node is, where it is, and how many volumes it takes.

use std::sync::{Mutex, PoisonError};

use csi_core::instance::InstanceFacts;
use csi_core::rpc_error::Chain;
use csi_core::{device_name, topology};
use csi_proto::csi::NodeGetInfoResponse;
use tracing::warn;

use crate::ebs::limits::{self, max_volumes};
use crate::metadata::{MetadataError, Sources};

/// What an operator has said about the number of volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LimitFlags {
    /// The limit, whatever the instance type.
    pub attach_limit: Option<u32>,
    /// Volumes that are not the driver's, the root among them.
    pub reserved: Option<u32>,
}

/// Answers from the metadata sources, or from what they said last.
#[derive(Debug)]
pub struct InfoSource {
    sources: Sources,
    flags: LimitFlags,
    last: Mutex<InstanceFacts>,
}

impl InfoSource {
    /// Asks the sources once: a node that does not know itself cannot serve.
    ///
    /// # Errors
    /// [`MetadataError`] if no source answers.
    pub async fn start(sources: Sources, flags: LimitFlags) -> Result<Self, MetadataError> {
        let facts = sources.facts().await?;
        Ok(Self { sources, flags, last: Mutex::new(facts) })
    }

    /// The answer of `NodeGetInfo`. Network interfaces come and go, so the sources are asked each
    /// time; if they do not answer, what they said last still holds.
    pub async fn answer(&self) -> NodeGetInfoResponse {
        match self.sources.facts().await {
            Ok(facts) => {
                let response = response(&facts, self.flags);
                *self.last.lock().unwrap_or_else(PoisonError::into_inner) = facts;
                response
            }
            Err(error) => {
                warn!(error = %Chain(&error), "metadata not renewed");
                response(&self.last.lock().unwrap_or_else(PoisonError::into_inner), self.flags)
            }
        }
    }
}

fn response(facts: &InstanceFacts, flags: LimitFlags) -> NodeGetInfoResponse {
    let reserved = flags.reserved.unwrap_or_else(|| reserved(facts));
    let limit = flags.attach_limit.unwrap_or_else(|| {
        max_volumes(limits::Node {
            instance_type: &facts.instance_type,
            interfaces: facts.network_interfaces.unwrap_or(1),
            reserved,
        })
    });
    NodeGetInfoResponse {
        node_id: facts.instance.to_string(),
        max_volumes_per_node: i64::from(limit),
        accessible_topology: Some(topology::node_topology(&facts.zone)),
    }
}

/// Volumes that are not the driver's: the root, and every mapping whose name is none of ours.
/// The metadata service shows the mappings of the last boot, so volumes of the driver that were
/// attached then are among them; by their names they are not counted, and the answer stays the
/// same over a reboot.
fn reserved(facts: &InstanceFacts) -> u32 {
    let mapped = facts.block_devices.as_deref().unwrap_or_default();
    let foreign = mapped.iter().filter(|name| !device_name::is_own(name)).count();
    u32::try_from(foreign).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use csi_core::Zone;

    fn facts(block_devices: Option<&[&str]>) -> InstanceFacts {
        InstanceFacts {
            instance: "i-0123456789abcdef0".parse().unwrap(),
            instance_type: "m5.large".to_owned(),
            zone: Zone("us-east-1a".to_owned()),
            region: "us-east-1".to_owned(),
            network_interfaces: Some(2),
            block_devices: block_devices
                .map(|names| names.iter().map(|name| (*name).to_owned()).collect()),
        }
    }

    fn volumes(block_devices: Option<&[&str]>, flags: LimitFlags) -> i64 {
        response(&facts(block_devices), flags).max_volumes_per_node
    }

    #[test]
    fn own_volumes_that_were_attached_at_boot_do_not_lower_the_limit_and_foreign_ones_do() {
        let flags = LimitFlags::default();
        assert_eq!(volumes(Some(&["xvda"]), flags), 25);
        assert_eq!(volumes(Some(&["xvda", "xvdaa", "xvdbz"]), flags), 25);
        assert_eq!(volumes(Some(&["xvda", "xvdb", "sdf"]), flags), 23);
        assert_eq!(volumes(None, flags), 25);
    }

    #[test]
    fn flags_win_over_what_is_known() {
        let reserved = LimitFlags { reserved: Some(4), ..LimitFlags::default() };
        assert_eq!(volumes(Some(&["xvda"]), reserved), 22);
        let fixed = LimitFlags { attach_limit: Some(9), ..reserved };
        assert_eq!(volumes(Some(&["xvda"]), fixed), 9);
    }

    #[test]
    fn the_answer_names_node_and_zone_with_all_keys() {
        let response = response(&facts(None), LimitFlags::default());
        assert_eq!(response.node_id, "i-0123456789abcdef0");
        let segments = response.accessible_topology.unwrap().segments;
        for (key, value) in [
            (topology::ZONE_KEY, "us-east-1a"),
            (topology::EBS_ZONE_KEY, "us-east-1a"),
            (topology::OS_KEY, "linux"),
        ] {
            assert_eq!(segments.get(key).map(String::as_str), Some(value), "{key}");
        }
        assert_eq!(segments.len(), 3);
    }
}
