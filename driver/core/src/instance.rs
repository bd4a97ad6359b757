//! What a node must know about its instance, from whichever source knows it.

use crate::id::InstanceId;
use crate::topology::Zone;

/// Facts about the instance a node plugin runs on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceFacts {
    /// The instance; the CSI node id.
    pub instance: InstanceId,
    /// The instance type, `m5.large`.
    pub instance_type: String,
    /// The instance's zone.
    pub zone: Zone,
    /// The instance's region, `us-east-1`.
    pub region: String,
    /// Network interfaces attached; `None` if the source does not know. Types that share one
    /// limit between volumes and interfaces need it.
    pub network_interfaces: Option<u32>,
    /// Names of the EBS block devices mapped at boot, root first if known, without `/dev/`;
    /// `None` if the source does not know.
    pub block_devices: Option<Vec<String>>,
}
