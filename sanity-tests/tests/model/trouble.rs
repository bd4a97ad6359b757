//! Causes and ends trouble at EC2.

use csi_sim::Sim;
use csi_sim::world::{Trouble, ZoneRecord};

use crate::ask::{KEY, NODES, ZONES};
use crate::moves::Bad;

/// Volumes of a full account: fewer than the names.
const FULL: u32 = 3;
const QUOTA: u32 = 10_000;

pub(crate) fn cause(sim: &Sim, bad: Bad) {
    let id = |node: usize| NODES[node].0.to_owned();
    sim.with(|world, _| match bad {
        Bad::StickAttaching { node, times } => world.add_trouble(Trouble::StickAttaching {
            volume: None,
            instance: Some(id(node)),
            device: None,
            times,
        }),
        Bad::StickBusy { node } => world.add_trouble(Trouble::StickBusy {
            volume: None,
            instance: Some(id(node)),
            times: 1,
        }),
        Bad::HiddenDevice { node, letter } => world.add_trouble(Trouble::HiddenDevice {
            instance: id(node),
            device: format!("/dev/xvda{}", char::from(b'a' + letter)),
        }),
        Bad::FailModification { times } => {
            world.add_trouble(Trouble::FailModification { volume: None, times });
        }
        Bad::Zone { zone, full } => world.set_zone(zone_record(ZONES[zone], full)),
        Bad::Quota { full } => {
            world.settings_mut().volume_quota = if full { FULL } else { QUOTA };
        }
        Bad::Key { unusable } => world.set_key_unusable(KEY, unusable),
    });
}

/// From now on everything works.
pub(crate) fn end(sim: &Sim) {
    sim.with(|world, _| {
        world.clear_faults();
        for zone in ZONES {
            world.set_zone(zone_record(zone, false));
        }
        let settings = world.settings_mut();
        settings.volume_quota = QUOTA;
        settings.throttle = false;
    });
}

fn zone_record(name: &str, full: bool) -> ZoneRecord {
    ZoneRecord {
        name: name.to_owned(),
        id: format!("id-{name}"),
        newest_hardware: false,
        exhausted: if full { ["*".to_owned()].into() } else { [].into() },
    }
}
