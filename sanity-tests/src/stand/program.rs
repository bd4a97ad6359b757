//! A program of this project on the host's side of a bed, with its log in the bed's run folder.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use csi_bed::Bed;
use tokio::time::Instant;

/// A program that can be started, killed and started again.
#[derive(Debug)]
pub struct HostProgram {
    name: String,
    /// Where it is; a program of this workspace if absent.
    file: Option<PathBuf>,
    log: PathBuf,
    child: Option<Child>,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Its environment, beside that of this process.
    pub environment: Vec<(&'static str, String)>,
}

impl HostProgram {
    /// A program of this workspace.
    #[must_use]
    pub fn new(name: &'static str, run_dir: &Path) -> Self {
        Self::named(name, name, run_dir)
    }

    /// One of several processes of a program; its log has the name `log`.
    #[must_use]
    pub fn named(log: &str, name: &str, run_dir: &Path) -> Self {
        Self {
            name: name.to_owned(),
            file: None,
            log: run_dir.join(format!("{log}.log")),
            child: None,
            arguments: Vec::new(),
            environment: Vec::new(),
        }
    }

    /// Any program.
    #[must_use]
    pub fn at(file: PathBuf, run_dir: &Path) -> Self {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut program = Self::named(&name, &name, run_dir);
        program.file = Some(file);
        program
    }

    /// Starts it in the bed's network namespace.
    pub fn start(&mut self, bed: &Bed) -> Result<()> {
        let file = match &self.file {
            Some(file) => file.clone(),
            None => binary(&self.name)?,
        };
        let log = File::options().create(true).append(true).open(&self.log)?;
        let mut command = csi_bed::command(file);
        command.args(&self.arguments).stdout(Stdio::null()).stderr(Stdio::from(log));
        command.envs(self.environment.iter().map(|(key, value)| (key, value)));
        self.child = Some(bed.spawn(command)?);
        Ok(())
    }

    /// Kills it.
    pub fn kill(&mut self) -> Result<()> {
        let mut child =
            self.child.take().with_context(|| format!("{} is not running", self.name))?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// SIGTERM; the exit status.
    pub async fn terminate(&mut self) -> Result<i32> {
        let mut child =
            self.child.take().with_context(|| format!("{} is not running", self.name))?;
        let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id())?);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM)?;
        let ended = until(Duration::from_secs(40), || child.try_wait().ok().flatten()).await;
        let status = ended.with_context(|| format!("{} does not end", self.name))?;
        status.code().with_context(|| format!("{} ended with {status}", self.name))
    }

    /// Its log.
    pub fn log(&self) -> Result<String> {
        Ok(std::fs::read_to_string(&self.log)?)
    }

    /// The end of its log, for the message of a test that fails.
    #[must_use]
    pub fn log_tail(&self) -> String {
        format!("{}: {}", self.name, tail(&self.log().unwrap_or_default(), 40))
    }
}

impl Drop for HostProgram {
    fn drop(&mut self) {
        if self.child.is_some() {
            // It may have ended already; the bed's namespace kills what is left.
            let _ended = self.kill();
        }
    }
}

/// The last lines of a log.
pub(super) fn tail(log: &str, lines: usize) -> String {
    let lines: Vec<&str> = log.lines().rev().take(lines).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}

/// Checks again and again until nothing is left; after `within` what is left is an error.
pub(super) async fn until_nothing_is_left(
    within: Duration,
    check: impl AsyncFn() -> Result<()>,
) -> Result<()> {
    let started = Instant::now();
    loop {
        let left = check().await;
        if left.is_ok() || started.elapsed() > within {
            return left.context("something is left");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Looks every few milliseconds until there is something.
pub(super) async fn until<T>(within: Duration, look: impl FnMut() -> Option<T>) -> Option<T> {
    let started = Instant::now();
    let mut look = look;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if started.elapsed() > within {
            return None;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A binary of this workspace, built into the folder that this program came from.
pub fn binary(name: &str) -> Result<PathBuf> {
    let this = std::env::current_exe()?;
    let mut folder = this.parent().context("no folder")?;
    if folder.ends_with("deps") {
        folder = folder.parent().context("no folder")?;
    }
    let file = folder.join(name);
    ensure!(file.exists(), "{} is missing: run `cargo build --workspace --bins`", file.display());
    Ok(file)
}

/// Where `prepare.sh` keeps what it has built.
#[must_use]
pub fn cache() -> PathBuf {
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    variable("CSI_CACHE").unwrap_or_else(|| {
        let home = || variable("HOME").unwrap_or_default().join(".cache");
        variable("XDG_CACHE_HOME").unwrap_or_else(home).join("csi-driver")
    })
}
