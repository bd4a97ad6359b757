//! The EFS driver on a stand: its controller on the host, its tunnel and node plugin in the guest,
//! the mount targets on addresses of the bed's own network namespace.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use csi_sim::world::efs::FileSystemSeed;
use tokio::task::block_in_place;

use super::program::{HostProgram, binary, tail, until, until_nothing_is_left};
use super::{REGION, Stand, ZONE, sim_key};
use crate::calls::{self, Controller, Node};

/// The file system that there is.
pub const FILE_SYSTEM: &str = csi_sim::seed::USUAL_FILE_SYSTEM;
/// The controller's socket in the guest, for tools that run there.
pub const EFS_CONTROLLER_IN_GUEST: &str = "/run/csi/efs-controller.sock";
/// The node's socket in the guest.
pub const EFS_NODE_IN_GUEST: &str = "/run/csi/efs-node.sock";

const TUNNEL: &str = "efs-tunnel";
const NODE: &str = "csi-node-efs";
pub(super) const TUNNEL_PROGRAM: &str = "/usr/local/bin/efs-tunnel";
const TUNNEL_SOCKET: &str = "/run/efs/tunnel.sock";
pub(super) const CAFILE: &str = "/etc/amazon/efs/ca.pem";
/// The worker that serves; another stands by.
const KILL_WORKER: &str = "kill -KILL \
    $(efs-tunnel health --control-socket=/run/efs/tunnel.sock | sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/')";
/// The supervisor starts its own program again; the brackets keep the shell out of it.
const KILL_WORKERS: &str = "pkill -KILL -f '[s]elf/exe worker'";
/// The first start makes an RSA key, in a guest that emulates its processor.
const FIRST_START: Duration = Duration::from_mins(2);
const PATIENCE: Duration = Duration::from_secs(40);

/// The file system with its mount targets, where the guest reaches them: at addresses which
/// aws-sim adds to `lo` of the bed's namespace.
#[must_use]
pub fn file_system() -> FileSystemSeed {
    let targets = [('a', 1), ('b', 2)].map(|(zone, last)| (zone, Ipv4Addr::new(10, 92, 10, last)));
    let targets = targets.map(|(zone, address)| (format!("{REGION}{zone}"), address));
    let targets: Vec<(&str, Ipv4Addr)> =
        targets.iter().map(|(zone, address)| (zone.as_str(), *address)).collect();
    FileSystemSeed::new(FILE_SYSTEM, &targets)
}

/// What runs of the EFS driver. Dropping it ends the controller; the rest ends with the guest.
#[derive(Debug)]
pub struct Efs {
    controller: HostProgram,
}

impl Efs {
    /// Starts the EFS driver on a stand and waits until all of it is ready.
    pub async fn start(stand: &Stand) -> Result<Self> {
        let run_dir = stand.bed.run_dir();
        let mut controller = HostProgram::named("efs-controller", "csi-controller", run_dir);
        controller.arguments = vec![
            "efs".to_owned(),
            format!("--endpoint=unix://{}", run_dir.join("efs-controller.sock").display()),
            format!("--v={}", stand.settings.verbosity),
        ];
        controller.environment = vec![
            ("AWS_EFS_ENDPOINT", stand.endpoint.clone()),
            ("AWS_ENDPOINT_URL_STS", stand.endpoint.clone()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
            ("AWS_REGION", REGION.to_owned()),
            ("AWS_ACCESS_KEY_ID", sim_key().0),
            ("AWS_SECRET_ACCESS_KEY", sim_key().1),
        ];
        controller.start(&stand.bed)?;
        let efs = Self { controller };
        let ready = calls::ready(&efs.controller(stand).0, PATIENCE).await;
        ready.with_context(|| efs.controller.log_tail())?;
        block_in_place(|| prepare_guest(stand))?;
        efs.start_tunnel(stand).await?;
        efs.start_node(stand).await?;
        Ok(efs)
    }

    /// Calls to the controller plugin.
    #[must_use]
    pub fn controller(&self, stand: &Stand) -> Controller {
        Controller(calls::channel(&stand.bed.run_dir().join("efs-controller.sock")))
    }

    /// Calls to the node plugin.
    #[must_use]
    pub fn node(&self, stand: &Stand) -> Node {
        Node(calls::channel(&stand.bed.run_dir().join("efs-node.sock")))
    }

    /// Starts the tunnel in the guest and waits until it is healthy.
    pub async fn start_tunnel(&self, stand: &Stand) -> Result<()> {
        block_in_place(|| stand.guest().start(TUNNEL, &tunnel_command(stand)))?;
        until(FIRST_START, || tunnel_worker(stand).ok())
            .await
            .with_context(|| self.tunnel_log(stand))?;
        Ok(())
    }

    /// Kills the tunnel's worker, not the supervisor that holds its ports.
    pub fn kill_tunnel_worker(&self, stand: &Stand) -> Result<()> {
        block_in_place(|| stand.guest().run(KILL_WORKER))?;
        Ok(())
    }

    /// Kills all of the tunnel.
    pub fn kill_tunnel(&self, stand: &Stand) -> Result<()> {
        // The worker may have ended with its supervisor before its turn comes.
        let script = format!("pkill -KILL -x efs-tunnel && ({KILL_WORKERS} || true)");
        block_in_place(|| stand.guest().run(&script))?;
        Ok(())
    }

    /// The tunnel's log.
    #[must_use]
    pub fn tunnel_log(&self, stand: &Stand) -> String {
        block_in_place(|| stand.guest().log(TUNNEL)).unwrap_or_default()
    }

    /// Starts the node plugin in the guest and waits until it is ready.
    pub async fn start_node(&self, stand: &Stand) -> Result<()> {
        let command = format!(
            "env PATH=$PATH AWS_EC2_METADATA_SERVICE_ENDPOINT={imds} CSI_NODE_NAME=guest {program} \
             efs --endpoint=unix://{EFS_NODE_IN_GUEST} --metadata-sources=imds \
             --tunnel-socket={TUNNEL_SOCKET} --state-dir=/run/efs/csi-node --rollback-dir=/run/efs \
             --unmount-timeout=10s \
             --efs-utils-conf-overrides=mount:stunnel_cafile={CAFILE} --v={verbosity}",
            imds = stand.imds,
            program = super::node::PROGRAM,
            verbosity = stand.settings.verbosity,
        );
        block_in_place(|| stand.guest().start(NODE, &command))?;
        let ready = calls::ready(&self.node(stand).0, PATIENCE).await;
        ready.with_context(|| self.node_log(stand))?;
        Ok(())
    }

    /// Kills the node plugin.
    pub fn kill_node(&self, stand: &Stand) -> Result<()> {
        Ok(block_in_place(|| stand.guest().kill(NODE))?)
    }

    /// The node plugin's log.
    #[must_use]
    pub fn node_log(&self, stand: &Stand) -> String {
        block_in_place(|| stand.guest().log(NODE)).unwrap_or_default()
    }

    /// Fails if an access point, a mount or a port of the tunnel's is left.
    pub async fn check_nothing_is_left(&self, stand: &Stand) -> Result<()> {
        until_nothing_is_left(PATIENCE, async || self.check_now(stand).await).await
    }

    async fn check_now(&self, stand: &Stand) -> Result<()> {
        let state = stand.admin.state().await?;
        ensure!(state.access_points.is_empty(), "access points: {:?}", state.access_points);
        let mounts = "grep -E ' nfs4? ' /proc/self/mountinfo || true";
        let mounts = block_in_place(|| stand.guest().run(mounts))?;
        ensure!(mounts.is_empty(), "mounts: {mounts}");
        let list = format!("{TUNNEL_PROGRAM} list --control-socket={TUNNEL_SOCKET}");
        let ports = block_in_place(|| stand.guest().run(&list))?;
        let ports: serde_json::Value = serde_json::from_str(&ports)?;
        ensure!(ports.as_array().is_some_and(Vec::is_empty), "ports: {ports}");
        Ok(())
    }

    /// The ends of all logs, for the message of a test that fails.
    #[must_use]
    pub fn last_words(&self, stand: &Stand) -> String {
        format!(
            "{}\ncsi-node efs: {}\nefs-tunnel: {}\n",
            self.controller.log_tail(),
            tail(&self.node_log(stand), 30),
            tail(&self.tunnel_log(stand), 30),
        )
    }
}

/// The process id of the worker that serves; an error unless it is healthy.
fn tunnel_worker(stand: &Stand) -> Result<u64> {
    let health = format!("{TUNNEL_PROGRAM} health --control-socket={TUNNEL_SOCKET}");
    let health = block_in_place(|| stand.guest().run(&health))?;
    let health: serde_json::Value = serde_json::from_str(&health)?;
    health.get("pid").and_then(serde_json::Value::as_u64).context("no pid")
}

fn tunnel_command(stand: &Stand) -> String {
    format!(
        "{TUNNEL_PROGRAM} serve --control-socket={TUNNEL_SOCKET} --state-dir=/run/efs --v={}",
        stand.settings.verbosity
    )
}

fn prepare_guest(stand: &Stand) -> Result<()> {
    let (guest, run_dir) = (stand.guest(), stand.bed.run_dir());
    guest.copy_in(&binary(TUNNEL)?, TUNNEL_PROGRAM, 0o755)?;
    guest.copy_in(&run_dir.join("efs").join("ca.pem"), CAFILE, 0o644)?;
    // As the VPC's resolver: the name of a file system is the target of the caller's own zone.
    let seed = file_system();
    let target = seed.mount_targets.iter().find(|target| target.zone == ZONE);
    let address = target.context("no mount target in the guest's zone")?.address;
    guest.run(&format!(
        "mkdir -p -m 700 /run/efs && echo '{address} {FILE_SYSTEM}.efs.{REGION}.amazonaws.com' >>/etc/hosts"
    ))?;
    let node = run_dir.join("efs-node.sock");
    guest.forward_to_guest(&node, Path::new(EFS_NODE_IN_GUEST))?;
    let controller = run_dir.join("efs-controller.sock");
    guest.forward_to_host(Path::new(EFS_CONTROLLER_IN_GUEST), &controller)?;
    Ok(())
}
