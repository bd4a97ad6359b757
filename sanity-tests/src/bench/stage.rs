//! `NodeStageVolume` and `NodePublishVolume` of a volume that is formatted and clean, on loop
//! devices of this machine.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use csi_sim::world::Settings;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use tokio::time::Instant;

use super::aws::{Aws, instance};
use super::burst::claim;
use super::contestant::Contestant;
use super::load::percentile;
use super::process::Process;
use super::table::Figure;
use crate::calls::Controller;
use crate::calls::{self, Node, Placement};
use crate::stand::binary;
use crate::storage_class::StorageClass;

const ROUNDS: usize = 30;
const START: Duration = Duration::from_secs(30);
/// What a fsck and its fork would already exceed.
const GOAL_MS: f64 = 15.0;

/// Why it cannot run here, if so.
#[must_use]
pub fn obstacle() -> Option<&'static str> {
    let has_loops = Path::new("/dev/loop-control").exists();
    (!nix::unistd::geteuid().is_root() || !has_loops).then_some("it needs root and loop devices")
}

/// Stages and publishes again and again.
pub async fn stage(fs: &str, class: &StorageClass) -> Result<Vec<Figure>> {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name);
    let arguments = [
        format!("--loop={}={}", instance(0), path("node").display()),
        format!("--disks={}", path("disks").display()),
    ];
    let aws = Aws::start(folder.path(), &Settings::instant(), &arguments).await?;
    let running = Contestant::Ours.start(&aws, folder.path()).await?;
    let node = start_node(&aws, folder.path()).await?;

    let class = StorageClass { fs_type: fs.to_owned(), ..class.clone() };
    let controller = Controller(running.channel.clone());
    let volume = controller.create(&claim(0, &class)).await?;
    let context = controller.attach(&volume, &instance(0), &class.mount()).await?;
    let mut place = Placement::new(&volume, context, &class.mount(), "pod");
    (place.staging, place.target) = (path("staging"), path("target"));

    let client = Node(calls::channel(&path("node.sock")));
    let blank = node.usage()?;
    round(&client, &place).await.with_context(|| node.log_tail())?;
    let made = node.usage()?;
    ensure!(made.children_faults > blank.children_faults, "mkfs ran and was not noticed");
    let mut took = Vec::new();
    for _ in 0..ROUNDS {
        took.push(round(&client, &place).await.with_context(|| node.log_tail())?);
    }
    let after = node.usage()?;
    let (mut both, mut stage): (Vec<_>, Vec<_>) =
        took.into_iter().map(|(stage, publish)| (stage + publish, stage)).unzip();
    both.sort_unstable();
    stage.sort_unstable();
    let (device, fs) = (path("node/dev/nvme1n1"), fs.to_owned());
    let limit = tokio::task::spawn_blocking(move || mounts(&device, &fs)).await??;

    controller.detach(&volume.id, &instance(0)).await?;
    node.stop().await?;
    let limit_ms = limit.as_secs_f64() * 1_000.0;
    Ok(vec![
        Figure::milliseconds("stage + publish, p50", percentile(&both, 50))
            .limit(limit_ms)
            .goal(GOAL_MS),
        Figure::milliseconds("stage + publish, p99", percentile(&both, 99)),
        Figure::milliseconds("stage alone, p50", percentile(&stage, 50)).limit(limit_ms),
        Figure::count(
            "processes run (0: none)",
            u64::from(after.children_faults > made.children_faults),
        )
        .goal(0.0),
    ])
}

/// Its mounts are in a mount namespace of its own, and gone with it.
async fn start_node(aws: &Aws, folder: &Path) -> Result<Process> {
    let socket = folder.join("node.sock");
    let mut command = csi_bed::command("unshare");
    command.args(["--mount", "--propagation", "private"]).arg(binary("csi-node")?);
    command.args(["ebs", "--metadata-sources=imds"]);
    command.arg(format!("--endpoint=unix://{}", socket.display()));
    command.arg(format!("--sysfs={}", folder.join("node/sys").display()));
    command.arg(format!("--dev={}", folder.join("node/dev").display()));
    command.env("AWS_EC2_METADATA_SERVICE_ENDPOINT", aws.imds()?);
    let process = Process::start(command, &folder.join("node.log"))?;
    let ready = calls::ready(&calls::channel(&socket), START).await;
    ready.with_context(|| process.log_tail())?;
    Ok(process)
}

/// Stages and publishes, and takes both back: how long the first two took.
async fn round(client: &Node, place: &Placement) -> Result<(Duration, Duration)> {
    let began = Instant::now();
    client.stage(place).await?;
    let staged = began.elapsed();
    let began = Instant::now();
    client.publish(place).await?;
    let published = began.elapsed();
    client.unpublish(place).await?;
    client.unstage(place).await?;
    Ok((staged, published))
}

/// The median time that the kernel takes to mount the device; in a mount namespace of a thread of
/// its own, which both end with.
fn mounts(device: &Path, fs: &str) -> Result<Duration> {
    let (device, fs) = (device.to_path_buf(), fs.to_owned());
    let thread = std::thread::spawn(move || -> Result<Duration> {
        unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS)?;
        let nothing = None::<&str>;
        mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing)?;
        let target: PathBuf = tempfile::tempdir()?.keep();
        let mut took = Vec::new();
        for _ in 0..ROUNDS {
            let began = Instant::now();
            mount(Some(&device), &target, Some(fs.as_str()), MsFlags::empty(), nothing)?;
            took.push(began.elapsed());
            umount2(&target, MntFlags::empty())?;
        }
        std::fs::remove_dir(&target)?;
        took.sort_unstable();
        Ok(percentile(&took, 50))
    });
    thread.join().map_err(|_panic| anyhow::anyhow!("the mounting thread panicked"))?
}
