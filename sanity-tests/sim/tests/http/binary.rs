//! `aws-sim` itself.
#![expect(clippy::disallowed_methods, reason = "the test runs the binary")]

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use csi_sim::AdminClient;
use csi_sim::http::credentials::Credential;
use csi_sim::server::Announcement;
use csi_sim::targets::has_nfs_server;
use csi_sim::world::efs::FileSystemSeed;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::bench::{Caller, element};
use super::loop_device::{has_loop_devices, loop_files};

const PATIENCE: Duration = Duration::from_secs(20);
const NODE: &str = "i-0123456789abcdef0";

/// Starts `aws-sim` with one instance and returns it with what it announced.
async fn start(folder: &Path, args: &[String]) -> (Child, Announcement) {
    let seed = folder.join("seed.json");
    let instance = format!(r#"{{"id": "{NODE}", "type": "m5.large", "zone": "z1"}}"#);
    let key = serde_json::to_string(&Credential::well_known()).unwrap();
    let text = format!(
        r#"{{"zones": [{{"name": "z1"}}], "instances": [{instance}], "credentials": [{key}]}}"#
    );
    std::fs::write(&seed, text).unwrap();
    let mut sim = Command::new(env!("CARGO_BIN_EXE_aws-sim"))
        .args(["--instant", "--imds", &format!("{NODE}=0"), "--seed"])
        .arg(&seed)
        .arg("--address-file")
        .arg(folder.join("address"))
        .args(args)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(sim.stdout.take().unwrap()).lines();
    let line = timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap().unwrap();
    (sim, serde_json::from_str(&line).unwrap())
}

async fn signal(sim: &mut Child, signal: &str) -> ExitStatus {
    let pid = sim.id().unwrap().to_string();
    assert!(Command::new("kill").args([signal, &pid]).status().await.unwrap().success());
    timeout(PATIENCE, sim.wait()).await.unwrap().unwrap()
}

#[tokio::test]
async fn aws_sim_announces_itself_serves_and_ends_on_sigterm() {
    let folder = tempfile::tempdir().unwrap();
    let (mut sim, announcement) = start(folder.path(), &[]).await;
    let text = std::fs::read(folder.path().join("address")).unwrap();
    assert_eq!(serde_json::from_slice::<Announcement>(&text).unwrap(), announcement);
    assert!(announcement.imds.contains_key(NODE));
    let state = AdminClient::new(&announcement.endpoint).state().await.unwrap();
    assert_eq!(state.instances[NODE].instance_type, "m5.large");
    let status = signal(&mut sim, "-TERM").await;
    assert!(status.success(), "{status}");
}

#[tokio::test]
async fn a_killed_aws_sim_leaves_no_loop_device_and_no_file() {
    if !has_loop_devices() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (root, disks) = (folder.path().join("root"), folder.path().join("disks"));
    let args = ["--loop".to_owned(), format!("{NODE}={}", root.display())];
    let args = args.into_iter().chain(["--disks".to_owned(), disks.display().to_string()]);
    let (mut sim, announcement) = start(folder.path(), &args.collect::<Vec<_>>()).await;
    let caller = Caller::new(announcement.endpoint.trim_start_matches("http://"));
    let created = caller.ok("Action=CreateVolume&AvailabilityZone=z1&Size=1&VolumeType=gp3").await;
    let id = element(&created, "volumeId");
    let admin = AdminClient::new(&announcement.endpoint);
    until(async || admin.state().await.unwrap().volumes[&id].state == "available").await;
    let attach = format!("Action=AttachVolume&VolumeId={id}&InstanceId={NODE}&Device=/dev/sdf");
    caller.ok(&attach).await;
    until(async || root.join("dev/nvme1n1").exists()).await;
    assert!(loop_files().contains(&disks.join(&id)));
    signal(&mut sim, "-KILL").await;
    until(async || !disks.exists() && !root.exists()).await;
    assert!(!loop_files().contains(&disks.join(&id)));
}

/// Whether a process with that text in its command line runs.
fn runs(text: &str) -> bool {
    std::fs::read_dir("/proc").unwrap().filter_map(Result::ok).any(|entry| {
        let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&command).contains(text)
    })
}

#[tokio::test]
async fn a_killed_aws_sim_leaves_no_nfs_server_and_no_data() {
    if !has_nfs_server() || !nix::unistd::getuid().is_root() {
        eprintln!("SKIPPED: nfs-ganesha is not installed, or this is not root");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("efs");
    // An address of loopback's that no other test takes.
    let pid = std::process::id();
    let address = Ipv4Addr::from(0x7f5c_0000 | (pid & 0xffff));
    let args = [format!("--efs={}", data.display()), "--target-port=20490".to_owned()];
    let (mut sim, announcement) = start(folder.path(), &args).await;
    assert_eq!(announcement.cafile, Some(data.join("ca.pem")));
    let admin = AdminClient::new(&announcement.endpoint);
    let seed = FileSystemSeed::new("fs-92107410", &[("z1", address)]);
    admin.set_file_system(&seed).await.unwrap();
    until(async || !admin.targets().await.unwrap().is_empty()).await;
    let mut plain = TcpStream::connect((address, 20_490)).await.unwrap();
    plain.write_all(&[0x80]).await.unwrap();
    until(async || runs(&data.display().to_string())).await;
    signal(&mut sim, "-KILL").await;
    until(async || !data.exists() && !runs(&data.display().to_string())).await;
}

async fn until(reached: impl AsyncFn() -> bool) {
    let wait = async {
        while !reached().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, wait).await.unwrap();
}
