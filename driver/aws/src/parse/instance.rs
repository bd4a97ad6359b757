//! Instances.

use std::collections::BTreeMap;

use aws_sdk_ec2::types;
use csi_core::Zone;
use csi_core::ebs::Instance;

use super::{Odd, need, need_id, text};

/// An instance in a reservation of `DescribeInstances`.
pub(crate) fn instance(found: &types::Instance) -> Result<Instance, Odd> {
    let placement = need("placement", found.placement())?;
    let state = need("instanceState", found.state())?;
    Ok(Instance {
        id: need_id("instanceId", found.instance_id())?,
        instance_type: need("instanceType", found.instance_type())?.as_str().to_owned(),
        zone: Zone(
            need("placement.availabilityZone", text(placement.availability_zone()))?.to_owned(),
        ),
        state: need("instanceState.name", state.name())?.as_str().to_owned(),
        devices: found
            .block_device_mappings()
            .iter()
            .filter_map(|row| row.ebs().map(|ebs| (row.device_name(), ebs.volume_id())))
            .map(|(device, volume)| {
                let device = need("blockDeviceMapping.deviceName", text(device))?.to_owned();
                Ok((device, need_id("blockDeviceMapping.ebs.volumeId", volume)?))
            })
            .collect::<Result<BTreeMap<_, _>, Odd>>()?,
        root_device: text(found.root_device_name()).map(str::to_owned),
    })
}
