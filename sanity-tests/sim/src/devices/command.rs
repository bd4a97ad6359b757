//! The tools that this forks: `losetup`, `cp`, and a shell to clean up.
#![expect(clippy::disallowed_methods, reason = "this is no product code: it simulates hardware")]

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

/// A tool that could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// It could not be run.
    #[error("cannot run {command}")]
    Start {
        /// The command line.
        command: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It failed.
    #[error("{command} failed: {stderr}")]
    Failed {
        /// The command line.
        command: String,
        /// What it said.
        stderr: String,
    },
}

/// Runs a tool and returns what it printed, without surrounding blanks.
pub(crate) fn run(program: &str, args: &[&str]) -> Result<String, CommandError> {
    let command = || format!("{program} {}", args.join(" "));
    let output = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .map_err(|source| CommandError::Start { command: command(), source })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(CommandError::Failed { command: command(), stderr })
}

/// Starts a shell script that lives on after this process and learns of its end by the end of
/// its standard input. It has a process group of its own, so that Ctrl-C does not reach it.
pub(crate) fn start_script(script: &str, args: &[&str]) -> Result<Child, CommandError> {
    Command::new("sh")
        .args(["-c", script, "sh"])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(|source| CommandError::Start { command: "sh".to_owned(), source })
}
