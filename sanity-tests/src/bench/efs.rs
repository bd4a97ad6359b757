//! Bursts of access points, by one controller and by two that know nothing of each other.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use csi_proto::csi;
use csi_proto::csi::controller_client::ControllerClient;
use csi_sim::world::{Action, Count, Settings};
use tonic::Request;
use tonic::transport::Channel;

use super::aws::{Aws, LATENCY_MS};
use super::load::{Outcome, WORKERS, burst};
use super::process::Process;
use super::table::{Figure, Unit};
use crate::calls::{self, Claim, mount};
use crate::pod::class_file;
use crate::stand::binary;
use crate::storage_class::StorageClass;

/// What the provisioner waits for a volume.
const DEADLINE: Duration = Duration::from_mins(1);
const START: Duration = Duration::from_secs(30);

/// A burst of `CreateVolume` for EFS.
#[derive(Debug, Clone, Copy)]
pub struct EfsBurst {
    /// How many volumes.
    pub volumes: usize,
    /// How many controllers share them.
    pub controllers: usize,
}

impl EfsBurst {
    /// What it is.
    #[must_use]
    pub fn title(&self) -> String {
        let Self { volumes, controllers } = self;
        let by = if *controllers == 1 { "" } else { ", two controllers" };
        format!("{volumes} EFS CreateVolume, 100 workers, no quotas{by}")
    }

    /// Measures it.
    ///
    /// # Errors
    /// A volume that is not made, and a program that does not start.
    pub async fn measure(&self) -> Result<Vec<Figure>> {
        let folder = tempfile::tempdir()?;
        let aws = Aws::start(folder.path(), &Settings::instant(), &[]).await?;
        let mut running = Vec::new();
        for n in 0..self.controllers {
            running.push(controller(&aws, folder.path(), n).await?);
        }
        aws.admin.reset_history().await?;
        let before = cpu(&running)?;
        let outcome = self.load(&running).await?;
        let counts = aws.admin.counts().await?;
        let state = aws.admin.state().await?;
        let users = state.access_points.values().filter_map(|point| point.posix_user.as_ref());
        let mut gids: BTreeMap<u32, u64> = BTreeMap::new();
        for user in users {
            *gids.entry(user.gid).or_default() += 1;
        }
        let made = state.access_points.len();
        ensure!(made == self.volumes, "{made} access points after {} creations", self.volumes);
        let shared: u64 = gids.values().filter(|count| **count > 1).sum();
        let mut peak: f64 = 0.0;
        for (process, _) in &running {
            peak = peak.max(process.memory()?.peak);
        }
        Ok(self.figures(&outcome, &counts, shared, cpu(&running)? - before, peak))
    }

    async fn load(&self, running: &[(Process, Channel)]) -> Result<Outcome> {
        let class = StorageClass::read(&class_file(), "efs.csi.aws.com")?;
        let mut parameters = class.parameters;
        parameters.insert("gidRangeEnd".to_owned(), "9000".to_owned());
        let channels: Vec<Channel> = running.iter().map(|(_, channel)| channel.clone()).collect();
        let request = |n: usize| {
            let claim = Claim {
                name: format!("pvc-00000000-0000-4000-8000-{n:012}"),
                bytes: 5 << 30,
                zone: String::new(),
                parameters: parameters.clone(),
                capability: mount(""),
                snapshot: None,
            };
            (n, claim.request())
        };
        let call = move |(n, message): (usize, csi::CreateVolumeRequest)| {
            let channel = channels.get(n % channels.len()).or_else(|| channels.first()).cloned();
            async move {
                let channel = channel.ok_or_else(|| tonic::Status::internal("no controller"))?;
                let mut request = Request::new(message);
                request.set_timeout(DEADLINE);
                ControllerClient::new(channel).create_volume(request).await
            }
        };
        let done = burst((0..self.volumes).map(request).collect(), DEADLINE, call).await;
        Ok(done.with_context(|| running.first().map(|(p, _)| p.log_tail()).unwrap_or_default())?.0)
    }

    fn figures(
        &self,
        outcome: &Outcome,
        counts: &BTreeMap<Action, Count>,
        shared: u64,
        cpu: f64,
        peak: f64,
    ) -> Vec<Figure> {
        let calls = |action| counts.get(&action).map_or(0, |count: &Count| count.calls);
        let waves = u32::try_from(self.volumes.div_ceil(WORKERS)).unwrap_or(u32::MAX);
        let limit = Duration::from_millis(LATENCY_MS) * waves;
        let alone = self.controllers == 1;
        let wall = Figure::seconds("wall", outcome.wall).limit(limit.as_secs_f64());
        let peak = Figure::new("peak RSS", Unit::Mebibytes, peak);
        vec![
            if alone { wall.goal_by_limit(2.0, 0.0) } else { wall },
            Figure::seconds("p50", outcome.percentile(50)),
            Figure::seconds("p99", outcome.percentile(99)),
            Figure::count("CreateAccessPoint calls", calls(Action::CreateAccessPoint)),
            Figure::count("DescribeAccessPoints calls", calls(Action::DescribeAccessPoints)),
            Figure::count("DeleteAccessPoint calls", calls(Action::DeleteAccessPoint)),
            Figure::count("volumes that share a GID", shared).goal(0.0),
            Figure::count("RPCs failed", outcome.failures()).goal(0.0),
            Figure::new("CPU time", Unit::Seconds, cpu),
            if alone { peak.goal(20.0) } else { peak },
        ]
    }
}

fn cpu(running: &[(Process, Channel)]) -> Result<f64> {
    running.iter().try_fold(0.0, |sum, (process, _)| Ok(sum + process.usage()?.cpu_seconds))
}

async fn controller(aws: &Aws, folder: &Path, n: usize) -> Result<(Process, Channel)> {
    let socket = folder.join(format!("efs-{n}.sock"));
    let mut command = csi_bed::command(binary("csi-controller")?);
    command.args(["efs", &format!("--endpoint=unix://{}", socket.display())]);
    command.envs(aws.environment()).env("AWS_EFS_ENDPOINT", aws.endpoint());
    let process = Process::start(command, &folder.join(format!("efs-{n}.log")))?;
    let channel = calls::channel(&socket);
    calls::ready(&channel, START).await.with_context(|| process.log_tail())?;
    Ok((process, channel))
}
