//! A guest with the two programs, and a real NFS server beside it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use csi_bed::{Bed, BootError, Guest, HOST_ADDRESS};
use csi_proto::csi;
use csi_proto::csi::identity_client::IdentityClient;
use csi_proto::csi::node_client::NodeClient;
use csi_proto::csi::volume_capability::access_mode::Mode;
use csi_proto::csi::volume_capability::{AccessMode, AccessType, MountVolume};
use csi_serve::{Endpoint, health};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::task::block_in_place;
use tokio::time::Instant;
use tonic::transport::Channel;
use tonic::{Request, Status};

/// A file system; its mounts go in clear, by address.
pub(crate) const VOLUME: &str = "efs:fs-92107410";
pub(crate) const OTHER: &str = "efs:fs-92107411";
/// `--unmount-timeout` of the plugin.
pub(crate) const UNMOUNT_TIMEOUT: Duration = Duration::from_secs(3);
const SOCKET: &str = "/run/csi/node.sock";
/// The RSA key of the tunnel, as upstream's mount helper keeps it.
const KEY: &str = "/etc/amazon/efs/privateKey.pem";
const NODE: &str = "csi-node";
const TUNNEL: &str = "efs-tunnel";
/// Starting a program under emulation takes a second or two.
const START: Duration = Duration::from_mins(1);

pub(crate) struct Stand {
    bed: Bed,
    server: Child,
    export: PathBuf,
    // Last, since the guest works in it.
    folder: tempfile::TempDir,
}

impl Stand {
    /// `None`, with a loud word, where it cannot run.
    pub(crate) async fn start() -> Option<Self> {
        if !Path::new("/usr/bin/ganesha.nfsd").exists() {
            eprintln!("SKIPPED: no NFS server (nfs-ganesha), so no mount by a real kernel");
            return None;
        }
        let bed = match block_in_place(Bed::boot) {
            Ok(bed) => bed,
            Err(BootError::NotRoot) => {
                eprintln!("SKIPPED: not root, so no guest machine");
                return None;
            }
            Err(error) => panic!("{error}: {error:?}"),
        };
        let folder = tempfile::tempdir().unwrap();
        let export = folder.path().join("export");
        std::fs::create_dir(&export).unwrap();
        let server = start_server(&bed, folder.path(), &export);
        let stand = Self { bed, server, export, folder };
        block_in_place(|| {
            let guest = stand.guest();
            for name in [NODE, TUNNEL] {
                let program = format!("/usr/local/bin/{name}");
                guest.copy_in(&binary(name), &program, 0o755).unwrap();
            }
            guest
                .run("mkdir -p -m 700 /run/csi /run/efs /etc/amazon/efs /var/lib/kubelet")
                .unwrap();
            // Making it under emulation takes a minute.
            guest.copy_in(&key(stand.folder.path()), KEY, 0o400).unwrap();
            let own = stand.bed.run_dir().join("node.sock");
            guest.forward_to_guest(&own, Path::new(SOCKET)).unwrap();
        });
        stand.start_tunnel();
        stand.start_node().await;
        Some(stand)
    }

    pub(crate) fn guest(&self) -> &Guest {
        self.bed.guest()
    }

    /// What a command in the guest prints.
    pub(crate) fn run(&self, script: &str) -> String {
        let printed = block_in_place(|| self.guest().run(script));
        printed.unwrap_or_else(|error| panic!("{script}: {error:?}\n{}", self.last_words()))
    }

    pub(crate) fn start_tunnel(&self) {
        let command = "/usr/local/bin/efs-tunnel serve --v=4";
        block_in_place(|| self.guest().start(TUNNEL, command)).unwrap();
    }

    pub(crate) async fn start_node(&self) {
        let command = format!(
            "/usr/local/bin/csi-node efs --endpoint=unix://{SOCKET} --v=4 \
             --metadata-sources=flags --instance-id=i-00000000000000001 \
             --instance-type=m5.large --zone=us-east-1a --unmount-timeout={}s",
            UNMOUNT_TIMEOUT.as_secs()
        );
        block_in_place(|| self.guest().start(NODE, &command)).unwrap();
        let started = Instant::now();
        while !self.is_ready().await {
            assert!(started.elapsed() < START, "not ready\n{}", self.last_words());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    pub(crate) fn kill_node(&self) {
        block_in_place(|| self.guest().kill(NODE)).unwrap();
    }

    async fn is_ready(&self) -> bool {
        let Ok(channel) = health::connect(&self.endpoint()).await else { return false };
        let probe = IdentityClient::new(channel).probe(csi::ProbeRequest {}).await;
        probe.is_ok_and(|answer| answer.into_inner().ready == Some(true))
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint::Unix(self.bed.run_dir().join("node.sock"))
    }

    async fn client(&self) -> NodeClient<Channel> {
        NodeClient::new(health::connect(&self.endpoint()).await.unwrap())
    }

    pub(crate) async fn publish(&self, volume: &str, target: &str) -> Result<(), Status> {
        let context = [("encryptInTransit", "false"), ("mounttargetip", HOST_ADDRESS)];
        let mut request = Request::new(csi::NodePublishVolumeRequest {
            volume_id: volume.to_owned(),
            target_path: target.to_owned(),
            volume_capability: Some(csi::VolumeCapability {
                access_mode: Some(AccessMode { mode: Mode::MultiNodeMultiWriter.into() }),
                access_type: Some(AccessType::Mount(MountVolume::default())),
            }),
            volume_context: context.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
            ..csi::NodePublishVolumeRequest::default()
        });
        request.set_timeout(Duration::from_mins(1));
        self.client().await.node_publish_volume(request).await.map(drop)
    }

    pub(crate) async fn unpublish(&self, target: &str) -> Result<(), Status> {
        let mut request = Request::new(csi::NodeUnpublishVolumeRequest {
            volume_id: VOLUME.to_owned(),
            target_path: target.to_owned(),
        });
        request.set_timeout(Duration::from_mins(1));
        self.client().await.node_unpublish_volume(request).await.map(drop)
    }

    pub(crate) async fn measure(
        &self,
        target: &str,
        limit: Duration,
    ) -> Result<Vec<csi::VolumeUsage>, Status> {
        let mut request = Request::new(csi::NodeGetVolumeStatsRequest {
            volume_id: VOLUME.to_owned(),
            volume_path: target.to_owned(),
            ..csi::NodeGetVolumeStatsRequest::default()
        });
        request.set_timeout(limit);
        let answer = self.client().await.node_get_volume_stats(request).await?;
        Ok(answer.into_inner().usage)
    }

    /// Starts a process that opens a file, and writes to it and closes it once `/tmp/go` is written.
    pub(crate) fn start_writer(&self, file: &str) {
        self.run("rm -f /tmp/go && mkfifo /tmp/go");
        let script = format!("exec 3>{file}; echo begin >&3; read go </tmp/go; echo late >&3");
        block_in_place(|| self.guest().start("writer", &format!("sh -c '{script}'"))).unwrap();
        self.run(&format!("until [ -s {file} ]; do sleep 0.1; done"));
    }

    /// A file of the server.
    pub(crate) fn exported(&self, name: &str) -> Option<Vec<u8>> {
        std::fs::read(self.export.join(name)).ok()
    }

    /// Stops the server without closing anything, or lets it go on.
    pub(crate) fn server(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.server.id()).unwrap()), signal).unwrap();
    }

    /// Ports that the tunnel serves.
    pub(crate) fn ports(&self) -> Vec<u64> {
        let list = self.run("/usr/local/bin/efs-tunnel list");
        let list: serde_json::Value = serde_json::from_str(&list).unwrap();
        let ports = list.as_array().unwrap_or_else(|| panic!("{list}")).iter();
        ports.map(|status| status["port"].as_u64().unwrap()).collect()
    }

    /// Waits until nothing is mounted, no port is open, and no server is known to the kernel.
    pub(crate) async fn assert_clean(&self, folder: &str) {
        let mounts = self.run("grep -c ' nfs4 ' /proc/self/mountinfo || true");
        assert_eq!(mounts.trim(), "0");
        assert_eq!(self.run(&format!("ls -A {folder}")).trim(), "", "targets are left");
        let started = Instant::now();
        while !self.ports().is_empty() {
            let words = || format!("{:?} are open\n{}", self.ports(), self.last_words());
            assert!(started.elapsed() < Duration::from_secs(30), "{}", words());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        assert_eq!(self.run("ls -A /run/efs/csi-node").trim(), "", "records are left");
        assert_eq!(self.run("tail -n +2 /proc/fs/nfsfs/servers").trim(), "");
    }

    pub(crate) fn last_words(&self) -> String {
        let log = |name| {
            let log = block_in_place(|| self.guest().log(name)).unwrap_or_default();
            let lines = log.lines().rev().filter(|line| !line.contains("Probe"));
            let lines: Vec<&str> = lines.take(40).collect();
            lines.into_iter().rev().collect::<Vec<_>>().join("\n")
        };
        format!("{NODE}: {}\n{TUNNEL}: {}\n{}", log(NODE), log(TUNNEL), self.bed.console_tail(20))
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        // It may be stopped, or have ended already; the bed kills what is left.
        let _ended = self.server.kill();
        let _reaped = self.server.wait();
    }
}

/// An RSA key in a file.
fn key(folder: &Path) -> PathBuf {
    let file = folder.join("key");
    let mut command = csi_bed::command("ssh-keygen");
    command.args(["-q", "-t", "rsa", "-b", "3072", "-m", "PKCS8", "-N", "", "-f"]).arg(&file);
    assert!(command.status().unwrap().success());
    file
}

/// A binary of the workspace, built into the folder of this package's own.
fn binary(name: &str) -> PathBuf {
    let file = Path::new(env!("CARGO_BIN_EXE_csi-node")).with_file_name(name);
    assert!(file.exists(), "{} is missing: cargo build -p {name}", file.display());
    file
}

/// An NFS server with one export, at NFS's port of the guest's network.
fn start_server(bed: &Bed, folder: &Path, export: &Path) -> Child {
    let configuration = folder.join("ganesha.conf");
    let text = format!(
        "NFS_CORE_PARAM {{ NFS_Port = 2049; Protocols = 4;\n\
         \x20 Enable_NLM = false; Enable_RQUOTA = false; Enable_UDP = false;\n\
         \x20 Plugins_Dir = /usr/lib/x86_64-linux-gnu/ganesha; }}\n\
         NFSv4 {{ Graceless = true; Minor_Versions = 1, 2; RecoveryRoot = {recovery}; }}\n\
         EXPORT {{ Export_Id = 1; Path = {export}; Pseudo = /; Protocols = 4; Transports = TCP;\n\
         \x20 Access_Type = RW; Squash = No_Root_Squash; SecType = sys; FSAL {{ Name = VFS; }} }}\n",
        recovery = folder.join("recovery").display(),
        export = export.display(),
    );
    std::fs::create_dir(folder.join("recovery")).unwrap();
    std::fs::write(&configuration, text).unwrap();
    let log = File::create(folder.join("ganesha.out")).unwrap();
    let mut command = csi_bed::command("/usr/bin/ganesha.nfsd");
    command.arg("-F").arg("-f").arg(&configuration);
    command.arg("-L").arg(folder.join("ganesha.log")).arg("-p").arg(folder.join("ganesha.pid"));
    command.stdout(Stdio::null()).stderr(Stdio::from(log));
    bed.spawn(command).unwrap()
}
