//! A stand: a node in a guest machine, a simulated AWS and the two plugins, all as real processes
//! with real sockets, and all gone when it is dropped.

mod deleting;
mod efs;
mod leftovers;
mod node;
mod power;
mod program;
mod shared;
mod sim;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use csi_bed::{Bed, Guest};
use csi_sim::client::AdminClient;
use csi_sim::seed::Seed;
use csi_sim::world::{InstanceSeed, Settings as World};
use tokio::task::block_in_place;

use crate::calls::{self, Controller, Node};
pub use deleting::Deleting;
pub use efs::{EFS_CONTROLLER_IN_GUEST, EFS_NODE_IN_GUEST, Efs, FILE_SYSTEM, file_system};
use program::tail;
pub use program::{HostProgram, binary, cache};
pub use shared::{on_shared_stand, runtime};
pub use sim::start_sim;

/// The guest's instance id.
pub const NODE_ID: &str = "i-00000000000000001";
/// The guest's zone.
pub const ZONE: &str = "us-east-1a";
const REGION: &str = "us-east-1";

/// The controller's socket in the guest, for tools that run there.
pub const CONTROLLER_IN_GUEST: &str = "/run/csi/controller.sock";
/// The node's socket in the guest.
pub const NODE_IN_GUEST: &str = "/run/csi/node.sock";

/// What kind of AWS and instance to simulate.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Delays, lag and quotas.
    pub world: World,
    /// The guest's instance type.
    pub instance_type: &'static str,
    /// `--v` of both plugins.
    pub verbosity: u8,
    /// More arguments of the node plugin.
    pub node_arguments: &'static [&'static str],
    /// Whether there are mount targets, for the EFS driver.
    pub efs: bool,
}

impl Settings {
    /// Times as EC2's, on an ordinary instance.
    #[must_use]
    pub fn as_ec2() -> Self {
        Self {
            world: World::ec2(),
            instance_type: "m5.large",
            verbosity: 4,
            node_arguments: &[],
            efs: false,
        }
    }

    /// Short times, with reads that lag all the same.
    #[must_use]
    pub fn quick() -> Self {
        use csi_sim::world::Delay;
        let world = World {
            create: Delay::FixedMs(100),
            attach: Delay::FixedMs(100),
            detach: Delay::FixedMs(100),
            modify: Delay::FixedMs(200),
            optimize: Delay::FixedMs(200),
            snapshot: Delay::FixedMs(300),
            delete: Delay::FixedMs(100),
            read_lag: Delay::UniformMs(0, 100),
            ..World::instant()
        };
        Self { world, ..Self::as_ec2() }
    }
}

/// Everything that runs. Dropping it ends all of it.
#[derive(Debug)]
pub struct Stand {
    /// The simulated AWS's admin interface.
    pub admin: AdminClient,
    controller: HostProgram,
    _sim: HostProgram,
    imds: String,
    endpoint: String,
    settings: Settings,
    bed: Bed,
}

impl Stand {
    /// Boots the guest and starts everything. Takes seconds.
    pub async fn start(settings: Settings) -> Result<Self> {
        let bed = block_in_place(Bed::boot).context("the guest machine")?;
        let run_dir = bed.run_dir().to_path_buf();
        let (sim, announcement) = start_sim(&bed, &seed(&settings), settings.efs).await?;
        let admin = AdminClient::at_socket(&run_dir.join("admin.sock"));
        let imds = announcement.imds.get(NODE_ID).context("aws-sim serves no metadata")?;
        let imds = imds.replace("127.0.0.1", csi_bed::HOST_ADDRESS);
        let mut controller = HostProgram::new("csi-controller", &run_dir);
        controller.arguments = vec![
            "ebs".to_owned(),
            "--list-volumes".to_owned(),
            format!("--endpoint=unix://{}", run_dir.join("controller.sock").display()),
            format!("--v={}", settings.verbosity),
        ];
        controller.environment = vec![
            ("AWS_EC2_ENDPOINT", announcement.endpoint.clone()),
            ("AWS_ENDPOINT_URL_STS", announcement.endpoint.clone()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
            ("AWS_REGION", REGION.to_owned()),
            ("AWS_ACCESS_KEY_ID", sim_key().0),
            ("AWS_SECRET_ACCESS_KEY", sim_key().1),
        ];
        let endpoint = announcement.endpoint;
        let mut stand = Self { admin, controller, _sim: sim, imds, endpoint, settings, bed };
        stand.start_controller().await?;
        block_in_place(|| stand.prepare_guest())?;
        stand.start_node().await?;
        Ok(stand)
    }

    /// What it was started with.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The guest.
    #[must_use]
    pub fn guest(&self) -> &Guest {
        self.bed.guest()
    }

    /// The guest machine around the guest.
    #[must_use]
    pub fn bed(&self) -> &Bed {
        &self.bed
    }

    /// Calls to the controller plugin.
    #[must_use]
    pub fn controller(&self) -> Controller {
        Controller(calls::channel(&self.bed.run_dir().join("controller.sock")))
    }

    /// Calls to the node plugin.
    #[must_use]
    pub fn node(&self) -> Node {
        Node(calls::channel(&self.bed.run_dir().join("node.sock")))
    }

    /// Starts the controller and waits until it is ready.
    pub async fn start_controller(&mut self) -> Result<()> {
        self.controller.start(&self.bed)?;
        let ready = calls::ready(&self.controller().0, Duration::from_secs(20)).await;
        ready.with_context(|| self.controller.log_tail())?;
        Ok(())
    }

    /// Kills the controller as the kernel's OOM killer does.
    pub fn kill_controller(&mut self) -> Result<()> {
        self.controller.kill()
    }

    /// Asks the controller to end, as kubelet does, and waits for it: its exit status.
    pub async fn stop_controller(&mut self) -> Result<i32> {
        self.controller.terminate().await
    }

    /// The controller's log.
    pub fn controller_log(&self) -> Result<String> {
        self.controller.log()
    }

    /// Kills the controller `after` this call began, starts it again, and lets the call, which
    /// must repeat itself, come to its end.
    pub async fn kill_controller_during<T>(
        &mut self,
        after: Duration,
        call: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T>
    where
        T: Send + 'static,
    {
        let call = tokio::spawn(call);
        tokio::time::sleep(after).await;
        self.kill_controller()?;
        self.start_controller().await?;
        call.await?
    }

    /// Kills the node plugin `after` this call began, starts it again, and lets the call, which
    /// must repeat itself, come to its end.
    pub async fn kill_node_during<T>(
        &self,
        after: Duration,
        call: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T>
    where
        T: Send + 'static,
    {
        let call = tokio::spawn(call);
        tokio::time::sleep(after).await;
        self.kill_node()?;
        self.start_node().await?;
        call.await?
    }

    /// The ends of both logs, for the message of a test that fails.
    #[must_use]
    pub fn last_words(&self) -> String {
        let node = self.node_log().unwrap_or_default();
        format!("{}\ncsi-node: {}\n", self.controller.log_tail(), tail(&node, 40))
    }

    fn prepare_guest(&self) -> Result<()> {
        let guest = self.guest();
        guest.copy_in(&binary("csi-node")?, node::PROGRAM, 0o755)?;
        let run_dir = self.bed.run_dir();
        guest.run("mkdir -p -m 700 /run/csi /var/lib/kubelet/pods")?;
        guest.forward_to_guest(&run_dir.join("node.sock"), Path::new(NODE_IN_GUEST))?;
        guest.forward_to_host(Path::new(CONTROLLER_IN_GUEST), &run_dir.join("controller.sock"))?;
        Ok(())
    }
}

fn sim_key() -> (String, String) {
    let key = csi_sim::http::credentials::Credential::well_known();
    (key.access_key, key.secret)
}

fn seed(settings: &Settings) -> Seed {
    let mut instance = InstanceSeed::new(settings.instance_type, ZONE);
    instance.id = Some(NODE_ID.to_owned());
    let mut seed = Seed::usual(REGION);
    seed.instances.push(instance);
    if settings.efs {
        seed.file_systems = vec![file_system()];
    }
    seed.settings = Some(settings.world.clone());
    seed
}
