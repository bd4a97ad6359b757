//! kubectl, and what else talks to the API server from a command line, in the bed's namespace.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use csi_bed::Bed;
use serde_json::Value;
use tokio::task::block_in_place;
use tokio::time::{Instant, sleep};

const PAUSE: Duration = Duration::from_millis(300);

/// kubectl as an administrator.
#[derive(Debug, Clone, Copy)]
pub struct Kubectl<'a> {
    pub(crate) bed: &'a Bed,
    pub(crate) program: &'a Path,
    pub(crate) kubeconfig: &'a Path,
}

impl Kubectl<'_> {
    /// Runs it; what it printed. What it complains of is the error.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        self.feed(arguments, "")
    }

    /// The same with a text on its standard input.
    pub fn feed(&self, arguments: &[&str], input: &str) -> Result<String> {
        run(self.bed, self.program, arguments, self.kubeconfig, input)
    }

    /// Applies manifests.
    pub fn apply(&self, manifests: &str) -> Result<()> {
        self.feed(&["apply", "-f", "-"], manifests).map(drop)
    }

    /// Applies a file as it is, or all files of a folder.
    pub fn apply_file(&self, file: &Path) -> Result<()> {
        self.with_file("apply", file)
    }

    /// Deletes what is in a file.
    pub fn delete_file(&self, file: &Path) -> Result<()> {
        self.with_file("delete", file)
    }

    fn with_file(&self, verb: &str, file: &Path) -> Result<()> {
        let file = file.to_str().context("a path that is no text")?;
        self.run(&[verb, "-f", file]).map(drop)
    }

    /// An object or a list of objects.
    pub fn get(&self, arguments: &[&str]) -> Result<Value> {
        let arguments = [&["get", "-o", "json"], arguments].concat();
        Ok(serde_json::from_str(&self.run(&arguments)?)?)
    }

    /// Waits for a condition of objects, `condition=Ready` or `jsonpath=…`.
    pub fn wait(&self, what: &[&str], condition: &str, within: Duration) -> Result<()> {
        let (condition, within) =
            (format!("--for={condition}"), format!("--timeout={}s", within.as_secs()));
        let arguments = [&["wait"], what, &[&condition, &within]].concat();
        self.run(&arguments).map(drop)
    }

    /// Runs a shell script in a pod's first container.
    pub fn exec(&self, pod: &str, script: &str) -> Result<String> {
        self.run(&["exec", pod, "--", "/bin/sh", "-c", script])
    }

    /// Repeats a command until it succeeds.
    pub async fn until(&self, within: Duration, arguments: &[&str]) -> Result<String> {
        self.until_holds(within, || self.run(arguments)).await
    }

    /// Repeats an observation until it holds; the last error if it never does.
    pub async fn until_holds<T>(
        &self,
        within: Duration,
        mut look: impl FnMut() -> Result<T>,
    ) -> Result<T> {
        let started = Instant::now();
        loop {
            let seen = look();
            if seen.is_ok() || started.elapsed() > within {
                return seen.with_context(|| format!("not within {within:?}"));
            }
            sleep(PAUSE).await;
        }
    }
}

/// Runs a client of the API server in the bed's namespace; what it printed.
pub(crate) fn run(
    bed: &Bed,
    program: &Path,
    arguments: &[&str],
    kubeconfig: &Path,
    input: &str,
) -> Result<String> {
    let mut command = csi_bed::command(program);
    command.args(arguments).env("KUBECONFIG", kubeconfig);
    // helm and kubectl keep caches below the home folder.
    for home in ["HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"] {
        command.env(home, bed.run_dir());
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = bed.spawn(command)?;
    let input = input.to_owned();
    let mut pipe = child.stdin.take().context("no standard input")?;
    let output = block_in_place(|| {
        // It may end without reading: that is no error of ours.
        let feeder = std::thread::spawn(move || pipe.write_all(input.as_bytes()));
        let output = child.wait_with_output();
        drop(feeder.join());
        output
    })?;
    if !output.status.success() {
        let name = PathBuf::from(program);
        let name = name.file_name().unwrap_or_default().to_string_lossy().into_owned();
        bail!("{name} {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout)?)
}
