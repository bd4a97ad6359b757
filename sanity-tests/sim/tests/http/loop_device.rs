//! `aws-sim` with loop devices: what is attached appears, grows, is copied and disappears.
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use csi_sim::AdminClient;
use csi_sim::devices::{self, Devices};
use csi_sim::world::Dump;
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::bench::{Bench, element};

const PATIENCE: Duration = Duration::from_secs(20);

/// An AWS whose only instance shows its volumes somewhere.
pub(crate) struct Host {
    pub(crate) bench: Bench,
    pub(crate) devices: Arc<Devices>,
    folder: TempDir,
    _runner: JoinSet<()>,
}

impl Host {
    /// Nothing if this machine has no loop devices for us.
    async fn start() -> Option<Self> {
        if !has_loop_devices() {
            return None;
        }
        Some(Self::with(None).await)
    }

    /// Volumes appear in the guest with that run folder, or else below a folder of this machine.
    pub(crate) async fn with(guest: Option<&Path>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let bench = Bench::start().await;
        let node = || bench.node.parse().unwrap();
        let (roots, guests) = match guest {
            None => (vec![(node(), folder.path().join("root"))], vec![]),
            Some(run_dir) => (vec![], vec![(node(), run_dir.to_owned())]),
        };
        let devices = Devices::open(&folder.path().join("disks"), &roots, &guests).unwrap();
        let devices = Arc::new(devices);
        bench.sim.with(|world, _| world.with_devices());
        let mut runner = JoinSet::new();
        runner.spawn(devices::run(bench.sim.clone(), Arc::clone(&devices)));
        Self { bench, devices, folder, _runner: runner }
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    pub(crate) async fn until(&self, reached: impl Fn(&Dump) -> bool) -> Dump {
        until(&self.bench.admin, reached).await
    }

    pub(crate) async fn create(&self, size: u32, snapshot: &str) -> String {
        let from =
            if snapshot.is_empty() { String::new() } else { format!("&SnapshotId={snapshot}") };
        let form = format!(
            "Action=CreateVolume&AvailabilityZone=us-east-1a&Size={size}&VolumeType=gp3{from}"
        );
        let id = element(&self.bench.ok(&form).await, "volumeId");
        self.until(|dump| dump.volumes[&id].state == "available").await;
        id
    }

    pub(crate) async fn attach_only(&self, id: &str, device: &str) {
        let node = &self.bench.node;
        let form = format!("Action=AttachVolume&VolumeId={id}&InstanceId={node}&Device={device}");
        self.bench.ok(&form).await;
        self.until(|dump| dump.volumes[id].attachments[0].state == "attached").await;
    }

    /// Attaches and returns the node.
    async fn attach(&self, id: &str, device: &str) -> PathBuf {
        self.attach_only(id, device).await;
        let link = format!("nvme-Amazon_Elastic_Block_Store_{}", id.replacen('-', "", 1));
        let link = self.root().join("dev/disk/by-id").join(link);
        fs::canonicalize(link).unwrap()
    }

    pub(crate) async fn detach(&self, id: &str) {
        self.bench.ok(&format!("Action=DetachVolume&VolumeId={id}")).await;
        self.until(|dump| dump.volumes[id].state == "available").await;
    }

    fn attribute(&self, disk: &Path, name: &str) -> String {
        let folder = self.root().join("sys/class/block").join(disk.file_name().unwrap());
        fs::read_to_string(folder.join(name)).unwrap()
    }
}

async fn until(admin: &AdminClient, reached: impl Fn(&Dump) -> bool) -> Dump {
    let wait = async {
        loop {
            let dump = admin.state().await.unwrap();
            assert!(dump.device_failures.is_empty(), "{:?}", dump.device_failures);
            if reached(&dump) {
                return dump;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap()
}

fn write(node: &Path, text: &[u8]) {
    let mut file = File::options().write(true).open(node).unwrap();
    file.write_all(text).unwrap();
    file.sync_all().unwrap();
}

fn head(node: &Path) -> Vec<u8> {
    let mut head = vec![0; 6];
    File::open(node).unwrap().read_exact(&mut head).unwrap();
    head
}

fn length(node: &Path) -> u64 {
    File::open(node).unwrap().seek(SeekFrom::End(0)).unwrap()
}

#[tokio::test]
async fn a_volume_appears_grows_is_copied_and_disappears() {
    let Some(host) = Host::start().await else { return };
    let id = host.create(1, "").await;
    let disk = host.attach(&id, "/dev/xvdaa").await;
    assert_eq!(host.attribute(&disk, "device/serial").trim(), id.replacen('-', "", 1));
    assert_eq!(host.attribute(&disk, "device/model").trim(), "Amazon Elastic Block Store");
    assert_eq!(host.attribute(&disk, "size").trim(), (1 << 21).to_string());
    assert_eq!(length(&disk), 1 << 30);
    write(&disk, b"before");

    let form = format!("Action=CreateSnapshot&VolumeId={id}");
    let snapshot = element(&host.bench.ok(&form).await, "snapshotId");
    write(&disk, b"after!");
    host.until(|dump| dump.snapshots[&snapshot].state == "completed").await;

    host.bench.ok(&format!("Action=ModifyVolume&VolumeId={id}&Size=2")).await;
    host.until(|dump| dump.volumes[&id].size_gib == 2).await;
    assert_eq!(length(&disk), 2 << 30);
    assert_eq!(host.attribute(&disk, "size").trim(), (2 << 21).to_string());

    let restored = host.create(3, &snapshot).await;
    let other = host.attach(&restored, "/dev/xvdab").await;
    assert_ne!(disk, other);
    assert_eq!((head(&disk), head(&other)), (b"after!".to_vec(), b"before".to_vec()));
    assert_eq!(length(&other), 3 << 30);

    host.detach(&id).await;
    host.detach(&restored).await;
    assert!(!disk.exists() && !other.exists());
    assert_eq!(fs::read_dir(host.root().join("sys/class/block")).unwrap().count(), 0);
    host.bench.ok(&format!("Action=DeleteVolume&VolumeId={id}")).await;
    let file = host.folder.path().join("disks").join(&id);
    let gone = async {
        while file.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.unwrap();
    host.devices.close().unwrap();
}

#[tokio::test]
async fn a_held_device_is_busy_until_it_is_let_go() {
    let Some(host) = Host::start().await else { return };
    let id = host.create(1, "").await;
    let disk = host.attach(&id, "/dev/xvdaa").await;
    let flags = nix::fcntl::OFlag::O_EXCL | nix::fcntl::OFlag::O_CLOEXEC;
    let held = nix::fcntl::open(&disk, flags, nix::sys::stat::Mode::empty()).unwrap();
    host.bench.ok(&format!("Action=DetachVolume&VolumeId={id}")).await;
    let state = async {
        loop {
            let dump = host.bench.admin.state().await.unwrap();
            match dump.volumes[&id].attachments[0].state.as_str() {
                "busy" => return dump.device_failures,
                state => assert_eq!(state, "detaching"),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let failures = tokio::time::timeout(PATIENCE, state).await.unwrap();
    assert!(failures[0].contains("mounted or held"), "{failures:?}");
    drop(held);
    host.bench.ok(&format!("Action=DetachVolume&VolumeId={id}")).await;
    let gone = async {
        while disk.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.unwrap();
    host.devices.close().unwrap();
}

#[tokio::test]
async fn the_end_leaves_no_loop_device_and_no_file() {
    let Some(host) = Host::start().await else { return };
    let id = host.create(1, "").await;
    host.attach(&id, "/dev/xvdaa").await;
    let file = host.folder.path().join("disks").join(&id);
    assert!(loop_files().contains(&file));
    host.devices.close().unwrap();
    assert!(!loop_files().contains(&file) && !file.exists() && !host.root().exists());
}

/// Whether this machine has loop devices for us; says so if not.
pub(crate) fn has_loop_devices() -> bool {
    let has = File::options().write(true).open("/dev/loop-control").is_ok();
    if !has {
        eprintln!("SKIPPED: no loop devices here, or not root");
    }
    has
}

/// What loop devices are made of.
pub(crate) fn loop_files() -> Vec<PathBuf> {
    let devices = fs::read_dir("/sys/class/block").unwrap();
    let backing = devices.map(|entry| entry.unwrap().path().join("loop/backing_file"));
    backing
        .filter_map(|file| fs::read_to_string(file).ok())
        .map(|text| text.trim().into())
        .collect()
}
