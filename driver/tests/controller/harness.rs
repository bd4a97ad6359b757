//! A controller over a world, and requests as sidecars make them.

use std::collections::BTreeMap;

use csi_controller::ebs::{EbsController, Settings};
use csi_core::VolumeId;
use csi_core::ebs::{Volume, VolumeState};
use csi_proto::csi;
use csi_proto::csi::controller_server::Controller;
use csi_proto::csi::volume_capability::{AccessType, MountVolume, access_mode::Mode};
use csi_sim::world::{
    Action, Delay, Fault, FaultKind, InstanceSeed, Settings as Pace, Trouble, When, World,
};
use csi_sim::{Sim, SimEbs};
use tonic::{Code, Request, Status};

pub(crate) const GIB: i64 = 1 << 30;
pub(crate) const NODE: &str = "i-0000000000000000a";
pub(crate) const OTHER_NODE: &str = "i-0000000000000000b";

/// A controller and its world.
#[derive(Clone)]
pub(crate) struct Bench {
    pub(crate) sim: Sim,
    pub(crate) controller: EbsController<SimEbs>,
}

impl Bench {
    /// A world with EC2's times and lag, two zones, and a node in the first.
    pub(crate) fn new() -> Self {
        Self::with(Pace::ec2(), 1)
    }

    /// EC2's medians without their spread.
    pub(crate) fn steady() -> Self {
        let pace = Pace {
            create: Delay::FixedMs(1_500),
            attach: Delay::FixedMs(1_000),
            detach: Delay::FixedMs(1_000),
            ..Pace::ec2()
        };
        Self::with(pace, 1)
    }

    pub(crate) fn with(pace: Pace, seed: u64) -> Self {
        let sim = Sim::new(World::new(pace, seed));
        sim.with(|world, now| {
            world.add_zone("us-east-1a");
            world.add_zone("us-east-1b");
            for node in [NODE, OTHER_NODE] {
                let seed = InstanceSeed::new("m5.large", "us-east-1a");
                let seed = InstanceSeed { id: Some(node.to_owned()), root: false, ..seed };
                world.set_instance(&seed, now).unwrap();
            }
        });
        let controller = EbsController::new(SimEbs::new(sim.clone()), settings());
        Self { sim, controller }
    }

    /// Another controller over the same world, as after a restart or beside this one.
    pub(crate) fn another(&self) -> Self {
        self.another_with(settings())
    }

    /// The same with other settings.
    pub(crate) fn another_with(&self, settings: Settings) -> Self {
        let ports = SimEbs::new(self.sim.clone());
        Self { sim: self.sim.clone(), controller: EbsController::new(ports, settings) }
    }

    pub(crate) fn fault(&self, action: Action, when: When, fault: FaultKind) {
        self.sim.with(|world, _| {
            world.add_fault(Fault { action: Some(action), when, fault });
        });
    }

    pub(crate) fn trouble(&self, trouble: Trouble) {
        self.sim.with(|world, _| world.add_trouble(trouble));
    }

    pub(crate) fn calls(&self, action: Action) -> u64 {
        self.sim.with(|world, _| world.calls(action))
    }

    /// Volumes that are there, as they truly are.
    pub(crate) fn volumes(&self) -> Vec<Volume> {
        let dead = |state| matches!(state, VolumeState::Deleting | VolumeState::Deleted);
        self.sim.with(|world, _| {
            let all = world.volumes().map(|record| record.volume.clone());
            all.filter(|volume| !dead(volume.state)).collect()
        })
    }

    pub(crate) fn snapshots(&self) -> usize {
        self.sim.with(|world, _| world.snapshots().count())
    }

    pub(crate) async fn create(
        &self,
        message: csi::CreateVolumeRequest,
    ) -> Result<csi::Volume, Status> {
        let reply = self.controller.create_volume(Request::new(message)).await?;
        Ok(reply.into_inner().volume.unwrap())
    }

    /// A plain volume of 10 GiB; its id.
    pub(crate) async fn made(&self, name: &str) -> String {
        self.create(volume(name)).await.unwrap().volume_id
    }

    pub(crate) async fn delete(&self, id: &str) -> Result<(), Status> {
        let message = csi::DeleteVolumeRequest { volume_id: id.to_owned(), ..Default::default() };
        self.controller.delete_volume(Request::new(message)).await.map(|_| ())
    }

    pub(crate) async fn publish(
        &self,
        id: &str,
        node: &str,
    ) -> Result<BTreeMap<String, String>, Status> {
        let reply =
            self.controller.controller_publish_volume(Request::new(publish(id, node))).await?;
        Ok(reply.into_inner().publish_context)
    }

    pub(crate) async fn unpublish(&self, id: &str, node: &str) -> Result<(), Status> {
        let message = csi::ControllerUnpublishVolumeRequest {
            volume_id: id.to_owned(),
            node_id: node.to_owned(),
            ..Default::default()
        };
        self.controller.controller_unpublish_volume(Request::new(message)).await.map(|_| ())
    }

    pub(crate) async fn expand(
        &self,
        id: &str,
        gib: i64,
    ) -> Result<csi::ControllerExpandVolumeResponse, Status> {
        let message = csi::ControllerExpandVolumeRequest {
            volume_id: id.to_owned(),
            capacity_range: range(gib, 0),
            ..Default::default()
        };
        let reply = self.controller.controller_expand_volume(Request::new(message)).await?;
        Ok(reply.into_inner())
    }

    pub(crate) async fn modify(&self, id: &str, pairs: &[(&str, &str)]) -> Result<(), Status> {
        let message = csi::ControllerModifyVolumeRequest {
            volume_id: id.to_owned(),
            mutable_parameters: map(pairs),
            ..Default::default()
        };
        self.controller.controller_modify_volume(Request::new(message)).await.map(|_| ())
    }

    pub(crate) async fn snapshot(&self, name: &str, id: &str) -> Result<csi::Snapshot, Status> {
        self.snapshot_of_class(name, id, &[]).await
    }

    pub(crate) async fn snapshot_of_class(
        &self,
        name: &str,
        id: &str,
        class: &[(&str, &str)],
    ) -> Result<csi::Snapshot, Status> {
        let message = csi::CreateSnapshotRequest {
            name: name.to_owned(),
            source_volume_id: id.to_owned(),
            parameters: map(class),
            ..Default::default()
        };
        let reply = self.controller.create_snapshot(Request::new(message)).await?;
        Ok(reply.into_inner().snapshot.unwrap())
    }

    pub(crate) async fn delete_snapshot(&self, id: &str) -> Result<(), Status> {
        let message =
            csi::DeleteSnapshotRequest { snapshot_id: id.to_owned(), ..Default::default() };
        self.controller.delete_snapshot(Request::new(message)).await.map(|_| ())
    }
}

/// Everything that can be switched on is.
pub(crate) fn settings() -> Settings {
    Settings { list_volumes: true, ..Settings::default() }
}

pub(crate) fn volume_id(id: &str) -> VolumeId {
    id.parse().unwrap()
}

pub(crate) fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

#[expect(clippy::unnecessary_wraps, reason = "the field is optional")]
pub(crate) fn range(required: i64, limit: i64) -> Option<csi::CapacityRange> {
    Some(csi::CapacityRange { required_bytes: required * GIB, limit_bytes: limit * GIB })
}

pub(crate) fn capability() -> csi::VolumeCapability {
    csi::VolumeCapability {
        access_mode: Some(csi::volume_capability::AccessMode {
            mode: Mode::SingleNodeWriter as i32,
        }),
        access_type: Some(AccessType::Mount(MountVolume::default())),
    }
}

pub(crate) fn volume(name: &str) -> csi::CreateVolumeRequest {
    csi::CreateVolumeRequest {
        name: name.to_owned(),
        capacity_range: range(10, 0),
        volume_capabilities: vec![capability()],
        accessibility_requirements: zones(&["us-east-1a"]),
        ..Default::default()
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the field is optional")]
pub(crate) fn zones(names: &[&str]) -> Option<csi::TopologyRequirement> {
    let term =
        |name: &&str| csi::Topology { segments: map(&[("topology.kubernetes.io/zone", name)]) };
    let terms: Vec<_> = names.iter().map(term).collect();
    Some(csi::TopologyRequirement { requisite: terms.clone(), preferred: terms })
}

pub(crate) fn publish(id: &str, node: &str) -> csi::ControllerPublishVolumeRequest {
    csi::ControllerPublishVolumeRequest {
        volume_id: id.to_owned(),
        node_id: node.to_owned(),
        volume_capability: Some(capability()),
        ..Default::default()
    }
}

/// The code of a failure that must be one.
#[track_caller]
pub(crate) fn code<T: std::fmt::Debug>(result: Result<T, Status>) -> Code {
    result.unwrap_err().code()
}
