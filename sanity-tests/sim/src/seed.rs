//! What a simulated AWS starts with, as data.

use csi_core::InstanceId;
use serde::{Deserialize, Serialize};

use crate::http::App;
use crate::http::credentials::Credential;
use crate::world::{AwsError, InstanceSeed, Settings, ZoneRecord};

/// Zones, instances, access keys and settings. Seeding again adds to what is there and changes
/// what has the same name.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Seed {
    /// Zones.
    pub zones: Vec<ZoneRecord>,
    /// Instances, in zones of this or an earlier seed.
    pub instances: Vec<InstanceSeed>,
    /// Access keys.
    pub credentials: Vec<Credential>,
    /// Settings; absent ones stay as EC2's.
    pub settings: Option<Settings>,
}

impl Seed {
    /// Three zones and the well-known access key.
    #[must_use]
    pub fn usual(region: &str) -> Self {
        let zone = |letter: char| ZoneRecord {
            name: format!("{region}{letter}"),
            id: String::new(),
            newest_hardware: letter == 'a',
            exhausted: std::collections::BTreeSet::new(),
        };
        Self {
            zones: ['a', 'b', 'c'].into_iter().map(zone).collect(),
            credentials: vec![Credential::well_known()],
            ..Self::default()
        }
    }

    /// Puts the seed into a simulated AWS: the ids of its instances, in their order.
    ///
    /// # Errors
    /// An instance in an unknown zone or with a malformed id; what came before it stays.
    pub fn sow(&self, app: &App) -> Result<Vec<InstanceId>, AwsError> {
        for credential in &self.credentials {
            app.set_credential(credential.clone());
        }
        app.sim().with(|world, now| {
            if let Some(settings) = &self.settings {
                *world.settings_mut() = settings.clone();
            }
            for zone in &self.zones {
                world.set_zone(zone.clone());
            }
            self.instances.iter().map(|instance| world.set_instance(instance, now)).collect()
        })
    }
}
