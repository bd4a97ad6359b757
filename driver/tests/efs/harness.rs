//! A controller over a world, and requests as the provisioner makes them.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use csi_controller::efs::{EfsController, Settings};
use csi_proto::csi;
use csi_proto::csi::controller_server::Controller;
use csi_proto::csi::volume_capability::{AccessType, MountVolume, access_mode::Mode};
use csi_sim::world::efs::{
    AccessPointRecord, CreateAccessPoint, FileSystemSeed, LifeCycle, PosixUser, RootDirectory,
};
use csi_sim::world::{Action, Fault, FaultKind, Settings as Pace, When, World};
use csi_sim::{Sim, SimEfs};
use tonic::{Code, Request, Status};

pub(crate) const FS: &str = "fs-92107410";

/// A controller and its world.
#[derive(Clone)]
pub(crate) struct Bench {
    pub(crate) sim: Sim,
    pub(crate) controller: EfsController<SimEfs>,
}

impl Bench {
    /// A world with AWS's times and lag, two zones, and a file system in both.
    pub(crate) fn new() -> Self {
        Self::with(Pace::ec2(), 1)
    }

    pub(crate) fn with(pace: Pace, seed: u64) -> Self {
        let sim = Sim::new(World::new(pace, seed));
        sim.with(|world, now| {
            world.add_zone("us-east-1a");
            world.add_zone("us-east-1b");
            let (a, b) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
            let seed = FileSystemSeed::new(FS, &[("us-east-1a", a), ("us-east-1b", b)]);
            world.set_file_system(&seed, now).unwrap();
        });
        let controller = EfsController::new(SimEfs::new(sim.clone()), Settings::default());
        Self { sim, controller }
    }

    /// Another controller over the same world, as after a restart or beside this one.
    pub(crate) fn another(&self) -> Self {
        self.another_with(Settings::default())
    }

    /// The same with other settings.
    pub(crate) fn another_with(&self, settings: Settings) -> Self {
        let controller = EfsController::new(SimEfs::new(self.sim.clone()), settings);
        Self { sim: self.sim.clone(), controller }
    }

    pub(crate) fn fault(&self, action: Action, when: When, fault: FaultKind) {
        self.sim.with(|world, _| {
            world.add_fault(Fault { action: Some(action), when, fault });
        });
    }

    pub(crate) fn calls(&self, action: Action) -> u64 {
        self.sim.with(|world, _| world.calls(action))
    }

    /// Puts access points of others with these numbers into the world.
    pub(crate) fn occupy(&self, gids: impl IntoIterator<Item = u32>) {
        self.sim.with(|world, now| {
            for gid in gids {
                let call = CreateAccessPoint {
                    client_token: format!("other-{gid}"),
                    file_system: FS.to_owned(),
                    posix_user: Some(PosixUser { uid: gid, gid, secondary_gids: vec![] }),
                    root: RootDirectory { path: format!("/other-{gid}"), creation_info: None },
                    tags: BTreeMap::new(),
                };
                world.create_access_point(&call, now).unwrap();
            }
        });
    }

    /// Access points that are there, as they truly are, less those of [`Self::occupy`].
    pub(crate) fn access_points(&self) -> Vec<AccessPointRecord> {
        self.sim.with(|world, _| {
            let all = world.access_points().filter(|ap| ap.state != LifeCycle::Deleting);
            all.filter(|ap| !ap.client_token.starts_with("other-")).cloned().collect()
        })
    }

    /// The groups of [`Self::access_points`], sorted.
    pub(crate) fn gids(&self) -> Vec<u32> {
        let points = self.access_points();
        let mut gids: Vec<u32> =
            points.iter().map(|ap| ap.posix_user.as_ref().unwrap().gid).collect();
        gids.sort_unstable();
        gids
    }

    pub(crate) async fn create(
        &self,
        message: csi::CreateVolumeRequest,
    ) -> Result<csi::Volume, Status> {
        let reply = self.controller.create_volume(Request::new(message)).await?;
        Ok(reply.into_inner().volume.unwrap())
    }

    /// A plain volume; its id.
    pub(crate) async fn made(&self, name: &str) -> String {
        self.create(volume(name)).await.unwrap().volume_id
    }

    pub(crate) async fn delete(&self, id: &str) -> Result<(), Status> {
        let message = csi::DeleteVolumeRequest { volume_id: id.to_owned(), ..Default::default() };
        self.controller.delete_volume(Request::new(message)).await.map(|_| ())
    }

    pub(crate) async fn validate(
        &self,
        id: &str,
        capability: csi::VolumeCapability,
    ) -> Result<csi::ValidateVolumeCapabilitiesResponse, Status> {
        let message = csi::ValidateVolumeCapabilitiesRequest {
            volume_id: id.to_owned(),
            volume_capabilities: vec![capability],
            ..Default::default()
        };
        let reply = self.controller.validate_volume_capabilities(Request::new(message)).await?;
        Ok(reply.into_inner())
    }
}

pub(crate) fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

pub(crate) fn capability() -> csi::VolumeCapability {
    csi::VolumeCapability {
        access_mode: Some(csi::volume_capability::AccessMode {
            mode: Mode::MultiNodeMultiWriter.into(),
        }),
        access_type: Some(AccessType::Mount(MountVolume::default())),
    }
}

/// A volume of the class `efs-sc`, with its range of GIDs from 1000 to 2000.
pub(crate) fn volume(name: &str) -> csi::CreateVolumeRequest {
    csi::CreateVolumeRequest {
        name: name.to_owned(),
        capacity_range: Some(csi::CapacityRange { required_bytes: 1 << 30, limit_bytes: 0 }),
        volume_capabilities: vec![capability()],
        parameters: map(&[
            ("provisioningMode", "efs-ap"),
            ("fileSystemId", FS),
            ("directoryPerms", "700"),
            ("gidRangeStart", "1000"),
            ("gidRangeEnd", "2000"),
            ("basePath", "/dynamic_provisioning"),
        ]),
        ..Default::default()
    }
}

/// The same with further parameters.
pub(crate) fn volume_of(name: &str, pairs: &[(&str, &str)]) -> csi::CreateVolumeRequest {
    let mut message = volume(name);
    message.parameters.extend(map(pairs));
    message
}

/// The code of a failure that must be one.
#[track_caller]
pub(crate) fn code<T: std::fmt::Debug>(result: Result<T, Status>) -> Code {
    result.unwrap_err().code()
}
