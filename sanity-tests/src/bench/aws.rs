//! A simulated AWS of its own for each measurement, so that none meets another's quotas.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use csi_sim::client::AdminClient;
use csi_sim::http::credentials::Credential;
use csi_sim::seed::Seed;
use csi_sim::server::Announcement;
use csi_sim::world::{Action, Delay, InstanceSeed, Settings};
use serde_json::json;
use tokio::time::Instant;

use super::process::Process;
use crate::stand::{ZONE, binary};

const REGION: &str = "us-east-1";
/// What a call to EC2 takes, in milliseconds.
pub const LATENCY_MS: u64 = 15;
/// Instances; 25 of a burst's 200 volumes go to each.
pub(super) const INSTANCES: usize = 8;
const START: Duration = Duration::from_secs(10);

/// How long EC2's own operations take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    /// Creation 1.5 s, attach and detach 1.0 s.
    Fixed,
    /// The same medians, log-normal, p99 at 2.7 times the median, as EC2's are.
    Spread,
}

/// A simulated AWS that runs.
#[derive(Debug)]
pub(super) struct Aws {
    /// Its admin interface.
    pub(super) admin: AdminClient,
    endpoint: String,
    imds: BTreeMap<String, String>,
    extra: Vec<(String, String)>,
    _process: Process,
}

/// The id of the `n`th instance.
#[must_use]
pub(super) fn instance(n: usize) -> String {
    format!("i-{:017x}", n % INSTANCES + 1)
}

/// Settings for a burst: EC2's times without lag, since it would blur what is compared.
#[must_use]
pub(super) fn settings(times: Times, quotas: bool) -> Settings {
    let settings = match times {
        Times::Fixed => Settings {
            create: Delay::FixedMs(1_500),
            attach: Delay::FixedMs(1_000),
            detach: Delay::FixedMs(1_000),
            ..Settings::instant()
        },
        Times::Spread => Settings { read_lag: Delay::Zero, ..Settings::ec2() },
    };
    Settings { throttle: quotas, ..settings }
}

impl Aws {
    /// Starts one in `folder`, with further arguments for `aws-sim`.
    pub(super) async fn start(
        folder: &Path,
        settings: &Settings,
        arguments: &[String],
    ) -> Result<Self> {
        let mut seed = Seed::usual(REGION);
        seed.instances = (0..INSTANCES).map(seeded).collect();
        seed.settings = Some(settings.clone());
        let seed_file = folder.join("seed.json");
        std::fs::write(&seed_file, json!(seed).to_string())?;
        let announced = folder.join("aws-sim.json");
        let _ = std::fs::remove_file(&announced);
        let mut command = csi_bed::command(binary("aws-sim")?);
        command.arg(format!("--seed={}", seed_file.display()));
        command.arg(format!("--address-file={}", announced.display()));
        command.arg(format!("--imds={}=0", instance(0)));
        command.args(["--log=warn"]).args(arguments);
        let process = Process::start(command, &folder.join("aws-sim.log"))?;
        let line = read_soon(&announced).await.with_context(|| process.log_tail())?;
        let Announcement { endpoint, imds, .. } = serde_json::from_slice(&line)?;
        let admin = AdminClient::new(&endpoint);
        admin.set_latency(LATENCY_MS).await?;
        Ok(Self { admin, endpoint, imds, extra: Vec::new(), _process: process })
    }

    /// Where EC2 is.
    #[must_use]
    pub(super) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Lets drivers use another way to the same AWS, with further variables.
    pub(super) fn reach_by(&mut self, endpoint: String, extra: Vec<(String, String)>) {
        self.endpoint = endpoint;
        self.extra = extra;
    }

    /// Where the first instance's metadata service is.
    pub(super) fn imds(&self) -> Result<&str> {
        let found = self.imds.get(&instance(0)).map(String::as_str);
        found.context("aws-sim serves no metadata")
    }

    /// Variables that lead a driver here, under all the names that drivers read.
    #[must_use]
    pub(super) fn environment(&self) -> Vec<(String, String)> {
        let key = Credential::well_known();
        let fixed = [
            ("AWS_EC2_ENDPOINT", self.endpoint.as_str()),
            ("AWS_ENDPOINT_URL", self.endpoint.as_str()),
            ("AWS_ENDPOINT_URL_EC2", self.endpoint.as_str()),
            ("AWS_ENDPOINT_URL_STS", self.endpoint.as_str()),
            ("AWS_EC2_METADATA_DISABLED", "true"),
            ("AWS_REGION", REGION),
            ("AWS_ACCESS_KEY_ID", key.access_key.as_str()),
            ("AWS_SECRET_ACCESS_KEY", key.secret.as_str()),
        ];
        let owned = fixed.map(|(name, value)| (name.to_owned(), value.to_owned()));
        owned.into_iter().chain(self.extra.iter().cloned()).collect()
    }

    /// How long EC2 itself took for each of an action's changes since `from_ms` of its own time,
    /// in the order in which they were asked for.
    pub(super) async fn took(&self, action: Action) -> Result<Vec<Duration>> {
        let mut changes = self.admin.changes().await?;
        changes.retain(|change| change.action == action);
        changes.sort_by_key(|change| change.asked_ms);
        let took = |change: &csi_sim::world::Change| {
            Duration::from_millis(change.shown_ms.saturating_sub(change.asked_ms))
        };
        Ok(changes.iter().map(took).collect())
    }
}

fn seeded(n: usize) -> InstanceSeed {
    InstanceSeed { id: Some(instance(n)), ..InstanceSeed::new("m5.large", ZONE) }
}

async fn read_soon(file: &PathBuf) -> Result<Vec<u8>> {
    let began = Instant::now();
    loop {
        match std::fs::read(file) {
            Ok(bytes) => return Ok(bytes),
            Err(error) if began.elapsed() > START => {
                return Err(error).context("aws-sim is silent");
            }
            Err(_not_yet) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}
