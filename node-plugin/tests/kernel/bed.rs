//! A place where disks may be formatted and mounted, and of which nothing is left.
//!
//! Each test runs twice: outside, where it starts itself again under `unshare` with counting
//! wrappers around the mkfs tools on its PATH, and inside, where it works. The outer one owns the
//! folder and the loop devices, so they go away even if the inner one is killed.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use csi_node::ebs::info::{InfoSource, LimitFlags};
use csi_node::ebs::{EbsNode, Settings};
use csi_node::kernel::linux::Linux;
use csi_node::metadata::{SourceName, SourceSettings, Sources};
use csi_proto::csi;
use csi_proto::csi::node_server::Node;
use csi_proto::csi::volume_capability::access_mode::Mode;
use csi_proto::csi::volume_capability::{AccessMode, AccessType, BlockVolume, MountVolume};
use nix::sys::stat::{major, minor};
use tonic::{Request, Status};

pub(crate) const VOLUME: &str = "vol-0123456789abcdef0";
pub(crate) const SERIAL: &str = "vol0123456789abcdef0";
pub(crate) const GIB: u64 = 1 << 30;
/// Seconds that a test may take; the longest takes some.
const LIMIT: &str = "180";
const FOLDER: &str = "CSI_NODE_TEST_FOLDER";
const EDGE: usize = 1 << 20;

#[expect(clippy::disallowed_methods, reason = "tests prepare disks with the system's tools")]
pub(crate) fn command(program: &str) -> std::process::Command {
    std::process::Command::new(program)
}

/// Runs a tool and returns what it printed; panics if it fails.
pub(crate) fn run(program: &str, arguments: &[&str]) -> String {
    let output = command(program).args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// Runs `test` in a namespace of its own, or says why it cannot.
pub(crate) fn in_namespace<F: Future<Output = ()>>(name: &str, test: impl FnOnce(Bed) -> F) {
    #[expect(clippy::disallowed_methods, reason = "how the inner test learns where it is")]
    if let Ok(folder) = std::env::var(FOLDER) {
        let bed = Bed { folder: PathBuf::from(folder) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(test(bed));
        return;
    }
    if !nix::unistd::geteuid().is_root() || !Path::new("/dev/loop-control").exists() {
        aloud(&format!("SKIPPED: {name} needs root and loop devices"));
        return;
    }
    let outer = Outer(tempfile::tempdir().unwrap());
    outer.wrap_tools();
    // In a process namespace too: with its first process end all that it has started.
    let inner = command("timeout")
        .args(["-s", "KILL", LIMIT, "unshare", "--mount", "--propagation", "private"])
        .args(["--pid", "--fork", "--kill-child=KILL"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(FOLDER, outer.0.path())
        .env("PATH", format!("{}/bin:/usr/sbin:/usr/bin:/sbin:/bin", outer.0.path().display()))
        .output()
        .unwrap();
    drop(outer);
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (printed, errors) = (said(&inner.stdout), said(&inner.stderr));
    assert!(inner.status.success(), "failed inside its namespace:\n{printed}\n{errors}");
    for line in printed.lines().filter(|line| line.contains("SKIPPED")) {
        aloud(line);
    }
}

/// Prints although the test passes, when the harness swallows what the print macros say.
fn aloud(line: &str) {
    writeln!(std::io::stderr(), "{line}").unwrap();
}

/// Owns everything outside of the namespace.
struct Outer(tempfile::TempDir);

impl Outer {
    /// A tool is counted, then either runs or does what a file of its name plus `.hook` says.
    fn wrap_tools(&self) {
        let bin = self.0.path().join("bin");
        fs::create_dir(&bin).unwrap();
        for tool in ["mkfs.ext3", "mkfs.ext4", "mkfs.xfs", "e2fsck", "resize2fs", "xfs_growfs"] {
            let script = format!(
                "#!/bin/sh\nD={folder}\necho {tool} >> $D/runs\nREAL=/usr/sbin/{tool}\n\
                 if [ -f $D/{tool}.hook ]; then . $D/{tool}.hook; fi\nexec $REAL \"$@\"\n",
                folder = self.0.path().display(),
            );
            let path = bin.join(tool);
            fs::write(&path, script).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }
}

impl Drop for Outer {
    fn drop(&mut self) {
        let folder = self.0.path().display().to_string();
        let listed = command("losetup").args(["-n", "-l", "-O", "NAME,BACK-FILE"]).output();
        let listed = listed.map(|output| output.stdout).unwrap_or_default();
        for line in String::from_utf8_lossy(&listed).lines() {
            if let Some((name, file)) = line.trim().split_once(' ')
                && file.trim().starts_with(&folder)
            {
                let _ = command("losetup").args(["-d", name]).status();
            }
        }
    }
}

/// What the inner test works with.
pub(crate) struct Bed {
    folder: PathBuf,
}

/// A loop device that is shown as a disk.
pub(crate) struct Disk {
    pub(crate) name: String,
    backing: PathBuf,
    shown: PathBuf,
}

impl Bed {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// A disk of zeroes; `None` as serial is a bus without serials.
    pub(crate) fn disk(&self, bytes: u64, serial: Option<&str>) -> Disk {
        let count = fs::read_dir(&self.folder).unwrap().count();
        let backing = self.path(&format!("disk{count}"));
        File::create(&backing).unwrap().set_len(bytes).unwrap();
        let node = attach(&backing);
        let name = node.trim_start_matches("/dev/").to_owned();
        let shown = self.path("sys/class/block").join(&name);
        fs::create_dir_all(shown.join("holders")).unwrap();
        let number = fs::metadata(&node).unwrap().rdev();
        fs::write(shown.join("dev"), format!("{}:{}\n", major(number), minor(number))).unwrap();
        fs::write(shown.join("ro"), "0\n").unwrap();
        if let Some(serial) = serial {
            fs::create_dir_all(shown.join("device")).unwrap();
            fs::write(shown.join("device/serial"), format!("{serial}\n")).unwrap();
        }
        let disk = Disk { name, backing, shown };
        disk.show_size(bytes);
        disk
    }

    pub(crate) async fn node(&self) -> EbsNode<Linux> {
        let sources = Sources::new(SourceSettings {
            order: vec![SourceName::Flags],
            imds: csi_imds::ImdsEndpoint::default(),
            imds_disabled: true,
            node_name: None,
            kubeconfig: None,
            instance: Some("i-0123456789abcdef0".parse().unwrap()),
            instance_type: Some("m5.large".to_owned()),
            zone: Some("us-east-1a".to_owned()),
            region: None,
        });
        let info = InfoSource::start(sources, LimitFlags::default()).await.unwrap();
        let kernel = Linux::new(self.path("sys"), PathBuf::from("/dev"));
        let settings = Settings { device_wait: Duration::from_millis(300), legacy_xfs: false };
        EbsNode::new(kernel, info, settings)
    }

    /// How often a tool ran.
    pub(crate) fn runs(&self, tool: &str) -> usize {
        let runs = fs::read_to_string(self.path("runs")).unwrap_or_default();
        runs.lines().filter(|line| *line == tool).count()
    }

    /// Shell lines that run instead of a tool, with its path in `$REAL`.
    pub(crate) fn hook(&self, tool: &str, script: &str) {
        fs::write(self.path(&format!("{tool}.hook")), script).unwrap();
    }

    pub(crate) fn unhook(&self, tool: &str) {
        fs::remove_file(self.path(&format!("{tool}.hook"))).unwrap();
    }
}

/// Another test may take the loop device that `losetup` has just found free.
fn attach(backing: &Path) -> String {
    for _ in 0..50 {
        let output = command("losetup").args(["-f", "--show"]).arg(backing).output().unwrap();
        if output.status.success() {
            return String::from_utf8_lossy(&output.stdout).trim().to_owned();
        }
    }
    panic!("no loop device is to be had");
}

impl Disk {
    pub(crate) fn node(&self) -> String {
        format!("/dev/{}", self.name)
    }

    fn show_size(&self, bytes: u64) {
        fs::write(self.shown.join("size"), format!("{}\n", bytes / 512)).unwrap();
    }

    /// What EC2 does to a volume that is modified.
    pub(crate) fn grow(&self, bytes: u64) {
        File::options().write(true).open(&self.backing).unwrap().set_len(bytes).unwrap();
        run("losetup", &["-c", &self.node()]);
        self.show_size(bytes);
    }

    pub(crate) fn show_serial(&self, serial: &str) {
        fs::write(self.shown.join("device/serial"), serial).unwrap();
    }

    pub(crate) fn show_holder(&self, holder: &str) {
        fs::create_dir(self.shown.join("holders").join(holder)).unwrap();
    }

    pub(crate) fn write(&self, offset: SeekFrom, bytes: &[u8]) {
        let mut file = File::options().write(true).open(self.node()).unwrap();
        file.seek(offset).unwrap();
        file.write_all(bytes).unwrap();
        file.sync_all().unwrap();
    }

    /// First and last MiB.
    pub(crate) fn edges(&self) -> (Vec<u8>, Vec<u8>) {
        let mut file = File::open(self.node()).unwrap();
        let (mut head, mut tail) = (vec![0; EDGE], vec![0; EDGE]);
        file.read_exact(&mut head).unwrap();
        file.seek(SeekFrom::End(-(i64::try_from(EDGE).unwrap()))).unwrap();
        file.read_exact(&mut tail).unwrap();
        (head, tail)
    }
}

pub(crate) fn capability(fs: Option<&str>, flags: &[&str]) -> csi::VolumeCapability {
    let access_type = match fs {
        None => AccessType::Block(BlockVolume {}),
        Some(fs) => AccessType::Mount(MountVolume {
            fs_type: fs.to_owned(),
            mount_flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
            ..MountVolume::default()
        }),
    };
    let access_mode = Some(AccessMode { mode: Mode::SingleNodeMultiWriter.into() });
    csi::VolumeCapability { access_mode, access_type: Some(access_type) }
}

/// The calls of kubelet, at paths below the bed's folder.
pub(crate) struct Kubelet<'a> {
    pub(crate) bed: &'a Bed,
    pub(crate) node: EbsNode<Linux>,
    pub(crate) fs: Option<&'a str>,
    pub(crate) context: Vec<(&'static str, String)>,
}

impl<'a> Kubelet<'a> {
    pub(crate) async fn new(bed: &'a Bed, fs: Option<&'a str>) -> Self {
        Self { bed, node: bed.node().await, fs, context: Vec::new() }
    }

    pub(crate) async fn stage(&self, flags: &[&str]) -> Result<(), Status> {
        let context = self.context.iter().map(|(key, value)| ((*key).to_owned(), value.clone()));
        let request = csi::NodeStageVolumeRequest {
            volume_id: VOLUME.to_owned(),
            publish_context: context.collect(),
            staging_target_path: self.bed.text("staging"),
            volume_capability: Some(capability(self.fs, flags)),
            ..csi::NodeStageVolumeRequest::default()
        };
        self.node.node_stage_volume(Request::new(request)).await.map(drop)
    }

    pub(crate) async fn publish(&self, target: &str, readonly: bool) -> Result<(), Status> {
        let request = csi::NodePublishVolumeRequest {
            volume_id: VOLUME.to_owned(),
            staging_target_path: self.bed.text("staging"),
            target_path: self.bed.text(target),
            volume_capability: Some(capability(self.fs, &[])),
            readonly,
            ..csi::NodePublishVolumeRequest::default()
        };
        self.node.node_publish_volume(Request::new(request)).await.map(drop)
    }

    pub(crate) async fn unpublish(&self, target: &str) -> Result<(), Status> {
        let request = csi::NodeUnpublishVolumeRequest {
            volume_id: VOLUME.to_owned(),
            target_path: self.bed.text(target),
        };
        self.node.node_unpublish_volume(Request::new(request)).await.map(drop)
    }

    pub(crate) async fn unstage(&self) -> Result<(), Status> {
        let request = csi::NodeUnstageVolumeRequest {
            volume_id: VOLUME.to_owned(),
            staging_target_path: self.bed.text("staging"),
        };
        self.node.node_unstage_volume(Request::new(request)).await.map(drop)
    }

    pub(crate) async fn expand(&self, path: &str, bytes: u64) -> Result<i64, Status> {
        let required_bytes = i64::try_from(bytes).unwrap();
        let request = csi::NodeExpandVolumeRequest {
            volume_id: VOLUME.to_owned(),
            volume_path: self.bed.text(path),
            capacity_range: Some(csi::CapacityRange { required_bytes, limit_bytes: 0 }),
            ..csi::NodeExpandVolumeRequest::default()
        };
        let response = self.node.node_expand_volume(Request::new(request)).await?;
        Ok(response.into_inner().capacity_bytes)
    }

    pub(crate) async fn stats(&self, path: &str) -> Result<Vec<csi::VolumeUsage>, Status> {
        let request = csi::NodeGetVolumeStatsRequest {
            volume_id: VOLUME.to_owned(),
            volume_path: self.bed.text(path),
            ..csi::NodeGetVolumeStatsRequest::default()
        };
        Ok(self.node.node_get_volume_stats(Request::new(request)).await?.into_inner().usage)
    }
}

/// Lines of the mount table that name something in the bed's folder.
pub(crate) fn mounts(bed: &Bed) -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let folder = bed.text("");
    table.lines().filter(|line| line.contains(&folder)).map(str::to_owned).collect()
}
