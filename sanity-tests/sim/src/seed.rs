//! What a simulated AWS starts with, as data.

use std::net::Ipv4Addr;

use csi_core::InstanceId;
use serde::{Deserialize, Serialize};

use crate::http::App;
use crate::http::credentials::Credential;
use crate::http::web_identity::Issuer;
use crate::world::efs::FileSystemSeed;
use crate::world::role::RoleSeed;
use crate::world::{AwsError, InstanceSeed, Settings, ZoneRecord};

/// The file system of [`Seed::usual`].
pub const USUAL_FILE_SYSTEM: &str = "fs-92107410";

/// Zones, file systems, instances, access keys and settings. Seeding again adds to what is there and changes
/// what has the same name.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Seed {
    /// Zones.
    pub zones: Vec<ZoneRecord>,
    /// Instances, in zones of this or an earlier seed.
    pub instances: Vec<InstanceSeed>,
    /// File systems with their mount targets, in zones of this or an earlier seed.
    pub file_systems: Vec<FileSystemSeed>,
    /// IAM roles.
    pub roles: Vec<RoleSeed>,
    /// Issuers of web identity tokens.
    pub issuers: Vec<Issuer>,
    /// Access keys.
    pub credentials: Vec<Credential>,
    /// Settings; absent ones stay as EC2's.
    pub settings: Option<Settings>,
}

impl Seed {
    /// Three zones, the well-known access key, and a file system with a mount target in each zone,
    /// at addresses of the loopback interface.
    #[must_use]
    pub fn usual(region: &str) -> Self {
        let zone = |letter: char| ZoneRecord {
            name: format!("{region}{letter}"),
            id: String::new(),
            newest_hardware: letter == 'a',
            exhausted: std::collections::BTreeSet::new(),
        };
        let targets = [('a', 1), ('b', 2), ('c', 3)]
            .map(|(letter, last)| (format!("{region}{letter}"), Ipv4Addr::new(127, 92, 10, last)));
        let targets = targets.each_ref().map(|(zone, address)| (zone.as_str(), *address));
        Self {
            zones: ['a', 'b', 'c'].into_iter().map(zone).collect(),
            file_systems: vec![FileSystemSeed::new(USUAL_FILE_SYSTEM, &targets)],
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
        for issuer in &self.issuers {
            app.set_issuer(issuer.clone());
        }
        app.sim().with(|world, now| {
            if let Some(settings) = &self.settings {
                *world.settings_mut() = settings.clone();
            }
            for zone in &self.zones {
                world.set_zone(zone.clone());
            }
            for file_system in &self.file_systems {
                world.set_file_system(file_system, now)?;
            }
            for role in &self.roles {
                world.set_role(role.clone());
            }
            self.instances.iter().map(|instance| world.set_instance(instance, now)).collect()
        })
    }
}
