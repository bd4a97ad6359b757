//! Whatever is asked in whatever order: what the world shows holds together.

use std::collections::BTreeSet;

use csi_core::ebs::{AttachmentState, VolumeState};
use proptest::prelude::*;

use super::super::call::{CreateSnapshot, ModifyVolume};
use super::super::trouble::Trouble;
use super::*;

/// One call, or a while of nothing. Numbers choose among what there is.
#[derive(Debug, Clone, Copy)]
enum Step {
    Create { token: u8, size: u32 },
    Delete { volume: usize },
    Attach { volume: usize, node: usize, device: u8 },
    Detach { volume: usize, node: usize },
    Modify { volume: usize, size: u32 },
    Snapshot { volume: usize },
    Stick { busy: bool },
    Wait { ms: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let volume = 0..6_usize;
    let node = 0..2_usize;
    prop_oneof![
        (0..8_u8, 1..20_u32).prop_map(|(token, size)| Step::Create { token, size }),
        volume.clone().prop_map(|volume| Step::Delete { volume }),
        (volume.clone(), node.clone(), 0..3_u8).prop_map(|(volume, node, device)| Step::Attach {
            volume,
            node,
            device
        }),
        (volume.clone(), node).prop_map(|(volume, node)| Step::Detach { volume, node }),
        (volume.clone(), 1..30_u32).prop_map(|(volume, size)| Step::Modify { volume, size }),
        volume.prop_map(|volume| Step::Snapshot { volume }),
        any::<bool>().prop_map(|busy| Step::Stick { busy }),
        (0..3_000_u64).prop_map(|ms| Step::Wait { ms }),
    ]
}

struct Run {
    world: World,
    now: Millis,
    nodes: Vec<String>,
    volumes: Vec<String>,
}

impl Run {
    fn start(seed: u64) -> Self {
        let mut world = World::new(Settings::ec2(), seed);
        world.add_zone(ZONE);
        let nodes = (0..2).map(|_| node(&mut world)).collect();
        Self { world, now: 0, nodes, volumes: Vec::new() }
    }

    fn volume(&self, n: usize) -> String {
        let unknown = || "vol-0123456789abcdef0".to_owned();
        self.volumes.get(n).cloned().unwrap_or_else(unknown)
    }

    fn take(&mut self, step: Step) {
        self.now += 7;
        let now = self.now;
        match step {
            Step::Create { token, size } => {
                let call = CreateVolume { size: Some(size), ..gp3(&format!("t{token}")) };
                if let Ok(record) = self.world.create_volume(&call, now) {
                    let id = record.volume.id.to_string();
                    if !self.volumes.contains(&id) {
                        self.volumes.push(id);
                    }
                }
            }
            Step::Delete { volume } => drop(self.world.delete_volume(&self.volume(volume), now)),
            Step::Attach { volume, node, device } => {
                let device = format!("/dev/xvda{}", char::from(b'a' + device));
                let (volume, node) = (self.volume(volume), &self.nodes[node]);
                drop(self.world.attach_volume(&volume, node, &device, now));
            }
            Step::Detach { volume, node } => {
                let (volume, node) = (self.volume(volume), self.nodes[node].as_str());
                drop(self.world.detach_volume(&volume, Some(node), now));
            }
            Step::Modify { volume, size } => {
                let volume = self.volume(volume);
                let call = ModifyVolume { volume, size: Some(size), ..ModifyVolume::default() };
                drop(self.world.modify_volume(&call, now));
            }
            Step::Snapshot { volume } => {
                let volume = self.volume(volume);
                let call = CreateSnapshot { volume, ..CreateSnapshot::default() };
                drop(self.world.create_snapshot(&call, now));
            }
            Step::Stick { busy: true } => {
                let stick = Trouble::StickBusy { volume: None, instance: None, times: 1 };
                self.world.add_trouble(stick);
            }
            Step::Stick { busy: false } => self.world.add_trouble(Trouble::StickAttaching {
                volume: None,
                instance: None,
                device: None,
                times: 1,
            }),
            Step::Wait { ms } => self.now += ms,
        }
        self.world.advance(self.now);
    }

    fn check(&self) {
        let mut points = BTreeSet::new();
        for record in self.world.volumes() {
            let volume = &record.volume;
            let attached = !volume.attachments.is_empty();
            assert_eq!(attached, volume.state == VolumeState::InUse, "{volume:?}");
            assert!(volume.attachments.len() <= 1, "{volume:?}");
            for attachment in &volume.attachments {
                assert_eq!(attachment.volume, volume.id);
                let point = (attachment.instance.clone(), attachment.device.clone());
                assert!(points.insert(point), "two volumes at one device: {attachment:?}");
            }
        }
    }

    /// Nothing stays half-way for ever, unless it was told to stick.
    fn check_end(&mut self) {
        self.world.advance(self.now + 1_000_000);
        let sticks = self.world.troubles().iter().map(|report| report.struck).sum::<u64>() > 0;
        for record in self.world.volumes() {
            let volume = &record.volume;
            assert!(
                matches!(volume.state, VolumeState::Available | VolumeState::InUse),
                "{volume:?}"
            );
            let settled = |state| state == AttachmentState::Attached;
            assert!(sticks || volume.attachments.iter().all(|a| settled(a.state)), "{volume:?}");
        }
        assert_eq!(self.world.next_due(), None);
        let dump = self.world.dump(self.now);
        assert_eq!(dump.volumes.len(), self.world.volumes().count());
    }
}

proptest! {
    #[test]
    fn any_sequence_of_calls_leaves_a_consistent_world(
        seed in any::<u64>(),
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut run = Run::start(seed);
        for step in steps {
            run.take(step);
            run.check();
        }
        run.check_end();
    }
}
