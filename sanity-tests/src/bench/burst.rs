//! Bursts of creations, attachments and detachments.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use csi_proto::csi;
use csi_proto::csi::controller_client::ControllerClient;
use csi_sim::world::{Action, Count};
use tonic::Request;

use super::aws::{Aws, Times, instance, settings};
use super::contestant::{Contestant, Running};
use super::limit::Limit;
use super::load::{Outcome, burst};
use super::process::Usage;
use super::table::{Figure, Unit};
use crate::calls::Claim;
use crate::stand::ZONE;
use crate::storage_class::StorageClass;

/// Deadline of the provisioner's calls (`--timeout` in the charts).
const CREATE_DEADLINE: Duration = Duration::from_mins(1);
/// Deadline of the attacher's calls.
const ATTACH_DEADLINE: Duration = Duration::from_mins(6);
const GIB: i64 = 1 << 30;

/// Conditions of a burst.
#[derive(Debug, Clone, Copy)]
pub struct Burst {
    /// Volumes.
    pub volumes: usize,
    /// EC2's times.
    pub times: Times,
    /// Whether EC2's default quotas hold.
    pub quotas: bool,
}

/// What one burst came to.
struct Measured {
    outcome: Outcome,
    limit: Limit,
    counts: BTreeMap<Action, Count>,
    cpu_seconds: f64,
    peak: f64,
}

impl Burst {
    /// The conditions in words, after what is done.
    #[must_use]
    pub fn title(&self, what: &str) -> String {
        let times = match self.times {
            Times::Fixed => "fixed delays",
            Times::Spread => "delays spread as EC2's",
        };
        let quotas = if self.quotas { "EC2's default quotas" } else { "no quotas" };
        format!("{} {what}, 100 workers, {times}, {quotas}", self.volumes)
    }

    /// Creations, with fresh processes.
    pub async fn creations(
        &self,
        driver: &Contestant,
        class: &StorageClass,
    ) -> Result<Vec<Figure>> {
        let folder = tempfile::tempdir()?;
        let aws = Aws::start(folder.path(), &settings(self.times, self.quotas), &[]).await?;
        let running = driver.start(&aws, folder.path()).await?;
        let (measured, _volumes) = self.create(&aws, &running, class).await?;
        Ok(self.of_creations(&measured))
    }

    /// Attachments over the instances, then detachments.
    pub async fn attachments(
        &self,
        driver: &Contestant,
        class: &StorageClass,
    ) -> Result<[Vec<Figure>; 2]> {
        let folder = tempfile::tempdir()?;
        let prepared = csi_sim::world::Settings::instant();
        let aws = Aws::start(folder.path(), &prepared, &[]).await?;
        let running = driver.start(&aws, folder.path()).await?;
        let volumes = self.create(&aws, &running, class).await?.1;
        aws.admin.set_settings(&settings(self.times, self.quotas)).await?;

        let capability = class.mount();
        let items: Vec<_> = volumes.into_iter().enumerate().collect();
        let channel = running.channel.clone();
        let attach = move |(n, volume): (usize, csi::Volume)| {
            let mut client = ControllerClient::new(channel.clone());
            let request = csi::ControllerPublishVolumeRequest {
                volume_id: volume.volume_id,
                node_id: instance(n),
                volume_capability: Some(capability.clone()),
                volume_context: volume.volume_context,
                ..Default::default()
            };
            async move { client.controller_publish_volume(deadline(request, ATTACH_DEADLINE)).await }
        };
        let attached = self
            .measure(
                &aws,
                &running,
                Action::AttachVolume,
                burst(items.clone(), ATTACH_DEADLINE, attach),
            )
            .await?
            .0;

        let channel = running.channel.clone();
        let detach = move |(n, volume): (usize, csi::Volume)| {
            let mut client = ControllerClient::new(channel.clone());
            let request = csi::ControllerUnpublishVolumeRequest {
                volume_id: volume.volume_id,
                node_id: instance(n),
                ..Default::default()
            };
            async move { client.controller_unpublish_volume(deadline(request, ATTACH_DEADLINE)).await }
        };
        let detached = self
            .measure(&aws, &running, Action::DetachVolume, burst(items, ATTACH_DEADLINE, detach))
            .await?
            .0;
        let state = aws.admin.state().await?;
        let left = state.instances.values().flat_map(|instance| &instance.devices).count();
        ensure!(left == state.instances.len(), "{left} devices are left, roots included");
        Ok([self.of_attachments(&attached, false), self.of_attachments(&detached, true)])
    }

    async fn create(
        &self,
        aws: &Aws,
        running: &Running,
        class: &StorageClass,
    ) -> Result<(Measured, Vec<csi::Volume>)> {
        let claims = (0..self.volumes).map(|n| claim(n, class).request()).collect();
        let channel = running.channel.clone();
        let call = move |request: csi::CreateVolumeRequest| {
            let mut client = ControllerClient::new(channel.clone());
            async move { client.create_volume(deadline(request, CREATE_DEADLINE)).await }
        };
        let work = burst(claims, CREATE_DEADLINE, call);
        let (measured, answers) = self.measure(aws, running, Action::CreateVolume, work).await?;
        let volumes: Option<Vec<_>> =
            answers.into_iter().map(|answer| answer.into_inner().volume).collect();
        let volumes = volumes.context("an answer without a volume")?;
        let state = aws.admin.state().await?;
        let made = state.volumes.values().filter(|volume| !volume.root).count();
        ensure!(made == self.volumes, "{made} volumes exist after {} creations", self.volumes);
        Ok((measured, volumes))
    }

    async fn measure<T>(
        &self,
        aws: &Aws,
        running: &Running,
        action: Action,
        work: impl Future<Output = Result<(Outcome, Vec<T>)>>,
    ) -> Result<(Measured, Vec<T>)> {
        aws.admin.reset_history().await?;
        let Usage { cpu_seconds: before, .. } = running.process.usage()?;
        let done = work.await;
        let (outcome, answers) = done.with_context(|| running.process.log_tail())?;
        let bucket = self.quotas.then(|| action.default_bucket());
        let measured = Measured {
            outcome,
            limit: Limit::of(&aws.took(action).await?, bucket),
            counts: aws.admin.counts().await?,
            cpu_seconds: running.process.usage()?.cpu_seconds - before,
            peak: running.process.memory()?.peak,
        };
        Ok((measured, answers))
    }

    fn of_creations(&self, measured: &Measured) -> Vec<Figure> {
        let [wall, p50, p99] = measured.times();
        // The goals are for a thousand; smaller bursts are printed for comparison.
        let is_thousand = self.volumes == 1_000 && self.times == Times::Fixed;
        let goal = |figure: Figure, applies: bool, most: f64| {
            if applies { figure.goal(most) } else { figure }
        };
        let wall = match (is_thousand, self.quotas) {
            (true, false) => wall.goal_by_limit(1.06, 0.0),
            (true, true) => wall.goal_by_limit(1.03, 0.0),
            _ => wall,
        };
        let volumes = u64::try_from(self.volumes).unwrap_or(u64::MAX);
        let created = Figure::count("CreateVolume calls", measured.calls(Action::CreateVolume));
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        let created = created.limit(volumes as f64);
        let created = if self.quotas { created } else { created.goal_by_limit(1.0, 0.0) };
        let mut figures = vec![wall, p50, p99, created];
        figures.extend(measured.describes());
        figures.push(goal(measured.describes_per_second(), is_thousand && !self.quotas, 20.0));
        figures.push(goal(measured.throttled(), self.quotas, 1.0));
        figures.push(measured.failures().goal(0.0));
        let unhurried = is_thousand && !self.quotas;
        let cpu = Figure::new("CPU time", Unit::Seconds, measured.cpu_seconds);
        figures.push(goal(cpu, unhurried, 0.6));
        let peak = Figure::new("peak RSS", Unit::Mebibytes, measured.peak);
        figures.push(goal(peak, is_thousand, 20.0));
        figures
    }

    fn of_attachments(&self, measured: &Measured, is_detach: bool) -> Vec<Figure> {
        let [wall, p50, p99] = measured.times();
        let (p50, p99) = if self.quotas {
            (p50, p99)
        } else {
            (p50.goal_by_limit(1.0, 0.12), p99.goal_by_limit(1.0, 0.4))
        };
        let action = if is_detach { Action::DetachVolume } else { Action::AttachVolume };
        let changes = Figure::count("attach or detach calls", measured.calls(action));
        let mut figures = vec![wall, p50, p99, changes];
        for figure in measured.describes() {
            let forbidden = is_detach && figure.is_of("DescribeInstances");
            figures.push(if forbidden { figure.goal(0.0) } else { figure });
        }
        let describes = Figure::count("all Describe calls", measured.all_describes());
        figures.push(if self.quotas { describes } else { describes.goal(25.0) });
        figures.push(measured.throttled());
        figures.push(measured.failures().goal(0.0));
        figures.push(Figure::new("CPU time", Unit::Seconds, measured.cpu_seconds));
        figures
    }
}

impl Measured {
    fn times(&self) -> [Figure; 3] {
        let figure = |what, value: Duration, limit: Duration| {
            Figure::seconds(what, value).limit(limit.as_secs_f64())
        };
        [
            figure("wall", self.outcome.wall, self.limit.wall),
            figure("p50", self.outcome.percentile(50), self.limit.percentile(50)),
            figure("p99", self.outcome.percentile(99), self.limit.percentile(99)),
        ]
    }

    fn calls(&self, action: Action) -> u64 {
        self.counts.get(&action).map_or(0, |count| count.calls)
    }

    /// Calls of each Describe action that any driver is known to make in such a burst.
    fn describes(&self) -> [Figure; 4] {
        let count = |what, action| Figure::count(what, self.calls(action));
        [
            count("DescribeVolumes calls", Action::DescribeVolumes),
            count("DescribeInstances calls", Action::DescribeInstances),
            count("DescribeInstanceTypes calls", Action::DescribeInstanceTypes),
            count("DescribeAvailabilityZones calls", Action::DescribeAvailabilityZones),
        ]
    }

    fn all_describes(&self) -> u64 {
        let describes = |action: &Action| action.name().starts_with("Describe");
        self.counts.iter().filter(|(action, _)| describes(action)).map(|(_, c)| c.calls).sum()
    }

    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    fn describes_per_second(&self) -> Figure {
        let seconds = self.outcome.wall.as_secs_f64();
        Figure::new("Describe calls per second", Unit::Count, self.all_describes() as f64 / seconds)
    }

    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    fn throttled(&self) -> Figure {
        let throttled = |count: &Count| count.outcomes.get("RequestLimitExceeded").copied();
        let refused: u64 = self.counts.values().filter_map(throttled).sum();
        let all: u64 = self.counts.values().map(|count| count.calls).sum();
        let share = 100.0 * refused as f64 / (all as f64).max(1.0);
        Figure::new("calls throttled", Unit::Percent, share)
    }

    fn failures(&self) -> Figure {
        Figure::count("RPCs failed", self.outcome.failures())
    }
}

/// The claim of the `n`th volume.
pub(super) fn claim(n: usize, class: &StorageClass) -> Claim {
    Claim {
        name: format!("pvc-00000000-0000-4000-8000-{n:012}"),
        bytes: 10 * GIB,
        zone: ZONE.to_owned(),
        parameters: class.parameters.clone(),
        capability: class.mount(),
        snapshot: None,
    }
}

fn deadline<T>(message: T, deadline: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(deadline);
    request
}

/// The StorageClass of the bursts.
pub fn class() -> Result<StorageClass> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/examples/gp3.yaml");
    StorageClass::read(&file, "ebs.csi.aws.com")
}
