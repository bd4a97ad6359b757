//! The plugins at rest: memory after ten quiet seconds, time to start, size on disk.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use csi_proto::csi::controller_client::ControllerClient;
use csi_sim::world::Settings;

use super::aws::Aws;
use super::burst::claim;
use super::contestant::{Contestant, bare, start_up};
use super::load::percentile;
use super::process::Process;
use super::table::{Figure, Unit};
use super::tls::Front;
use crate::calls;
use crate::stand::binary;
use crate::storage_class::StorageClass;

/// Quiet before memory is read.
const QUIET: Duration = Duration::from_secs(10);
const STARTS: usize = 11;
const START: Duration = Duration::from_secs(30);

/// The controller: started, one volume created over TLS, then quiet.
pub async fn controller(driver: &Contestant, class: &StorageClass) -> Result<Vec<Figure>> {
    let folder = tempfile::tempdir()?;
    let mut aws = Aws::start(folder.path(), &Settings::instant(), &[]).await?;
    let front = Front::start(aws.endpoint(), folder.path()).await?;
    let roots = ("SSL_CERT_FILE".to_owned(), front.roots.display().to_string());
    aws.reach_by(front.endpoint.clone(), vec![roots]);
    let running = driver.start(&aws, folder.path()).await?;
    let mut client = ControllerClient::new(running.channel.clone());
    let created = client.create_volume(claim(0, class).request()).await;
    created.with_context(|| running.process.log_tail())?;
    tokio::time::sleep(QUIET).await;
    let memory = running.process.memory()?;
    drop(running);

    let mut starts = Vec::new();
    for _ in 0..STARTS {
        starts.push(driver.start_up(&aws, folder.path()).await?);
    }
    Ok(vec![
        Figure::new("controller, idle RSS", Unit::Mebibytes, memory.resident).goal(14.0),
        Figure::new("controller, anonymous part", Unit::Mebibytes, memory.anonymous).goal(4.0),
        median("controller, start to Probe OK", starts).goal(15.0),
        size("controller, binary stripped", &driver.program()?)?,
    ])
}

/// The node plugin: started with its instance's metadata service, registered, then quiet. A peer's
/// is not measured: its node plugin does not start outside of a cluster.
pub async fn node() -> Result<Vec<Figure>> {
    let folder = tempfile::tempdir()?;
    let aws = Aws::start(folder.path(), &Settings::instant(), &[]).await?;
    let socket = folder.path().join("node.sock");
    let log = folder.path().join("node.log");
    let command = node_command(&aws, folder.path(), &socket, csi_bed::command)?;
    let process = Process::start(command, &log)?;
    let ready = calls::ready(&calls::channel(&socket), START).await;
    ready.with_context(|| process.log_tail())?;
    tokio::time::sleep(QUIET).await;
    let memory = process.memory()?;
    drop(process);

    let mut starts = Vec::new();
    for _ in 0..STARTS {
        let command = node_command(&aws, folder.path(), &socket, bare)?;
        starts.push(start_up(command, &socket, &log).await?);
    }
    Ok(vec![
        Figure::new("node, idle RSS", Unit::Mebibytes, memory.resident).goal(11.0),
        Figure::new("node, anonymous part", Unit::Mebibytes, memory.anonymous).goal(3.0),
        median("node, start to Probe OK", starts).goal(15.0),
        size("node, binary stripped", &binary("csi-node")?)?,
    ])
}

fn node_command(
    aws: &Aws,
    folder: &Path,
    socket: &Path,
    run: impl Fn(PathBuf) -> Command,
) -> Result<Command> {
    let mut command = run(binary("csi-node")?);
    command.args(["ebs", "--metadata-sources=imds"]);
    command.arg(format!("--endpoint=unix://{}", socket.display()));
    command.arg(format!("--kubelet-registration-path={}", socket.display()));
    command.arg(format!("--registration-socket={}", folder.join("reg.sock").display()));
    command.env("AWS_EC2_METADATA_SERVICE_ENDPOINT", aws.imds()?);
    Ok(command)
}

fn median(what: &'static str, mut times: Vec<Duration>) -> Figure {
    times.sort_unstable();
    Figure::milliseconds(what, percentile(&times, 50))
}

/// In MiB. A peer's may be a script.
#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn size(what: &'static str, program: &Path) -> Result<Figure> {
    let bytes = std::fs::metadata(program).with_context(|| program.display().to_string())?.len();
    Ok(Figure::new(what, Unit::Mebibytes, bytes as f64 / f64::from(1 << 20)))
}
