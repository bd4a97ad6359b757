//! File systems and mount targets as they are seeded.

use std::net::{IpAddr, Ipv4Addr};

use csi_core::ebs::Tags;
use serde::{Deserialize, Serialize};

use super::super::{AwsError, Millis, World};
use super::{
    AccessPointRecord, CreateAccessPoint, FileSystemPolicy, FileSystemRecord, Lagged, LifeCycle,
    MountTargetRecord, PosixUser, RootDirectory, rules,
};

/// A file system to be there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileSystemSeed {
    /// Its id, `fs-…`.
    pub id: String,
    /// The only zone of a One Zone file system.
    #[serde(default)]
    pub one_zone: Option<String>,
    /// Its state.
    #[serde(default)]
    pub state: LifeCycle,
    /// Who may do what; everybody everything if absent.
    #[serde(default)]
    pub policy: Option<FileSystemPolicy>,
    /// Its mount targets; they replace those of an earlier seed.
    #[serde(default)]
    pub mount_targets: Vec<MountTargetSeed>,
    /// Access points that it has already, as if made long ago; those whose token is known are
    /// left as they are.
    #[serde(default)]
    pub access_points: Vec<AccessPointSeed>,
    /// Its tags.
    #[serde(default)]
    pub tags: Tags,
}

/// An access point to be there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessPointSeed {
    /// The token it was made with.
    pub client_token: String,
    /// The identity it enforces.
    #[serde(default)]
    pub posix_user: Option<PosixUser>,
    /// Its root.
    #[serde(default)]
    pub root: RootDirectory,
    /// Its tags.
    #[serde(default)]
    pub tags: Tags,
}

/// A mount target to be there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MountTargetSeed {
    /// Its zone, which must be seeded.
    pub zone: String,
    /// Its address.
    pub address: IpAddr,
    /// Its state.
    #[serde(default)]
    pub state: LifeCycle,
}

impl FileSystemSeed {
    /// An available file system in several zones with a mount target in each.
    #[must_use]
    pub fn new(id: &str, targets: &[(&str, Ipv4Addr)]) -> Self {
        let target = |(zone, address): &(&str, Ipv4Addr)| MountTargetSeed {
            zone: (*zone).to_owned(),
            address: (*address).into(),
            state: LifeCycle::Available,
        };
        Self {
            id: id.to_owned(),
            one_zone: None,
            state: LifeCycle::Available,
            policy: None,
            mount_targets: targets.iter().map(target).collect(),
            access_points: Vec::new(),
            tags: Tags::new(),
        }
    }
}

impl World {
    /// Makes a file system, or changes one: all but its access points.
    pub fn set_file_system(&mut self, seed: &FileSystemSeed, now: Millis) -> Result<(), AwsError> {
        self.advance(now);
        rules::file_system_id(&seed.id)?;
        for zone in seed.one_zone.iter().chain(seed.mount_targets.iter().map(|t| &t.zone)) {
            self.zone(zone)?;
        }
        let created = self.efs.file_systems.get(&seed.id).map_or(now, |known| known.created);
        let record = FileSystemRecord {
            id: seed.id.clone(),
            one_zone: seed.one_zone.clone(),
            state: seed.state,
            policy: seed.policy.clone(),
            tags: seed.tags.clone(),
            created,
        };
        self.efs.file_systems.insert(seed.id.clone(), record);
        let mut old = Vec::new();
        self.efs.mount_targets.retain(|_, target| {
            let goes = target.file_system == seed.id;
            if goes {
                old.push(target.clone());
            }
            !goes
        });
        for target in &seed.mount_targets {
            let same = old.iter().find(|old| old.zone == target.zone);
            let id = match same {
                Some(same) => same.id.clone(),
                None => format!("fsmt-{}", self.rng.id_digits()),
            };
            let record = MountTargetRecord {
                id: id.clone(),
                file_system: seed.id.clone(),
                zone: target.zone.clone(),
                address: target.address,
                state: target.state,
            };
            self.efs.mount_targets.insert(id, record);
        }
        seed.access_points.iter().try_for_each(|point| self.seed_access_point(&seed.id, point, now))
    }

    fn seed_access_point(
        &mut self,
        file_system: &str,
        seed: &AccessPointSeed,
        now: Millis,
    ) -> Result<(), AwsError> {
        let call = CreateAccessPoint {
            client_token: seed.client_token.clone(),
            file_system: file_system.to_owned(),
            posix_user: seed.posix_user.clone(),
            root: seed.root.clone(),
            tags: seed.tags.clone(),
        };
        rules::check(&call)?;
        if self.access_points().any(|known| known.client_token == call.client_token) {
            return Ok(());
        }
        let id = self.new_access_point_id();
        let record = call.record(&id, LifeCycle::Available, now);
        self.efs.access_points.insert(id, Lagged::new(record, now));
        Ok(())
    }

    /// Removes a file system with all that belongs to it.
    pub fn remove_file_system(&mut self, id: &str) {
        self.efs.file_systems.remove(id);
        self.efs.mount_targets.retain(|_, target| target.file_system != id);
        self.efs.access_points.retain(|_, point| point.truth().file_system != id);
    }

    /// A file system, if it exists.
    #[must_use]
    pub fn file_system(&self, id: &str) -> Option<&FileSystemRecord> {
        self.efs.file_systems.get(id)
    }

    /// All file systems.
    pub fn file_systems(&self) -> impl Iterator<Item = &FileSystemRecord> {
        self.efs.file_systems.values()
    }

    /// All mount targets.
    pub fn mount_targets(&self) -> impl Iterator<Item = &MountTargetRecord> {
        self.efs.mount_targets.values()
    }

    /// All access points as they are in truth.
    pub fn access_points(&self) -> impl Iterator<Item = &AccessPointRecord> {
        self.efs.access_points.values().map(Lagged::truth)
    }

    /// An access point as it is in truth.
    #[must_use]
    pub fn access_point(&self, id: &str) -> Option<&AccessPointRecord> {
        self.efs.access_points.get(id).map(Lagged::truth)
    }
}
