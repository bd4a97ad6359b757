//! The drivers that are measured: this one's release binaries, and the peer of the command line.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::net::UnixStream;
use tokio::time::Instant;
use tonic::transport::Channel;

use super::aws::Aws;
use super::process::Process;
use crate::calls;
use crate::stand::binary;

/// How long a driver may take to start.
const START: Duration = Duration::from_secs(30);

/// A controller plugin to measure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contestant {
    /// `csi-controller ebs`.
    Ours,
    /// The command of `PEER_EBS_DRIVER`.
    Peer(String),
}

/// A controller plugin that runs.
#[derive(Debug)]
pub(super) struct Running {
    /// Its process.
    pub(super) process: Process,
    /// A connection to it.
    pub(super) channel: Channel,
}

impl Contestant {
    /// Its program, to look at its size.
    pub(super) fn program(&self) -> Result<PathBuf> {
        match self {
            Self::Ours => binary("csi-controller"),
            Self::Peer(command) => {
                let name = command.split_whitespace().next().context("PEER_EBS_DRIVER is empty")?;
                Ok(PathBuf::from(name))
            }
        }
    }

    /// Starts it and waits until it is ready.
    pub(super) async fn start(&self, aws: &Aws, folder: &Path) -> Result<Running> {
        let socket = folder.join("controller.sock");
        // A plugin that was killed leaves its socket behind.
        let _ = std::fs::remove_file(&socket);
        let command = self.command(aws, &socket, csi_bed::command)?;
        let process = Process::start(command, &folder.join("controller.log"))?;
        let channel = calls::channel(&socket);
        let ready = calls::ready(&channel, START).await;
        ready.with_context(|| process.log_tail())?;
        Ok(Running { process, channel })
    }

    /// How long it takes from the start of the process to the first good answer to Probe.
    pub(super) async fn start_up(&self, aws: &Aws, folder: &Path) -> Result<Duration> {
        let socket = folder.join("controller.sock");
        let command = self.command(aws, &socket, bare)?;
        start_up(command, &socket, &folder.join("start.log")).await
    }

    fn command(
        &self,
        aws: &Aws,
        socket: &Path,
        run: impl Fn(PathBuf) -> Command,
    ) -> Result<Command> {
        let endpoint = format!("unix://{}", socket.display());
        let mut command = match self {
            Self::Ours => {
                let mut command = run(binary("csi-controller")?);
                command.args(["ebs", &format!("--endpoint={endpoint}")]);
                command
            }
            Self::Peer(text) => {
                let mut command = run(PathBuf::from("sh"));
                let text = text.replace("{endpoint}", &endpoint);
                command.args(["-c", &format!("exec {text}")]);
                command
            }
        };
        command.env("CSI_ENDPOINT", &endpoint).envs(aws.environment());
        Ok(command)
    }
}

/// A command without the wrapper that ends it with the bench, whose own start would be measured.
#[expect(clippy::disallowed_methods, reason = "it is ended before the bench goes on")]
pub(super) fn bare(program: PathBuf) -> Command {
    Command::new(program)
}

/// Runs a plugin from nothing to its first good answer to Probe, and ends it.
pub(super) async fn start_up(command: Command, socket: &Path, log: &Path) -> Result<Duration> {
    let _ = std::fs::remove_file(socket);
    let began = Instant::now();
    let process = Process::start(command, log)?;
    // Looked for more often than a channel would connect again.
    while UnixStream::connect(socket).await.is_err() {
        if began.elapsed() > START {
            bail!("it does not listen: {}", process.log_tail());
        }
        tokio::time::sleep(Duration::from_micros(500)).await;
    }
    calls::ready(&calls::channel(socket), START).await.with_context(|| process.log_tail())?;
    let took = began.elapsed();
    ensure!(took < START, "it does not get ready");
    process.stop().await?;
    Ok(took)
}
