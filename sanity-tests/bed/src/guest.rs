//! A running guest: commands, sockets, files, disks. Works from any process of this machine.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use thiserror::Error;

use crate::captured::{self, CaptureError};
use crate::disks::Disks;

const PATIENCE: Duration = Duration::from_mins(2);

/// `ssh(1)` reports its own failures with this status.
const SSH_FAILED: i32 = 255;

/// Why a command in the guest has no result.
#[derive(Debug, Error)]
pub enum GuestError {
    /// The SSH client did not run to its end.
    #[error("no answer from the guest to `{script}`")]
    NoAnswer {
        /// The shell script.
        script: String,
        /// The reason.
        source: CaptureError,
    },
    /// The connection to the guest is gone (or the script ended with 255).
    #[error("lost the guest during `{script}`: {stderr}")]
    Lost {
        /// The shell script.
        script: String,
        /// What the client said.
        stderr: String,
    },
    /// The script failed.
    #[error("`{script}` ended with status {status} in the guest: {stderr}")]
    Failed {
        /// The shell script.
        script: String,
        /// Its exit status.
        status: i32,
        /// What it said.
        stderr: String,
    },
}

/// There is no guest.
#[derive(Debug, Error)]
#[error("{} is not the run folder of a guest", run_dir.display())]
pub struct OpenError {
    run_dir: PathBuf,
}

/// What a script in the guest printed, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestOutput {
    /// Its exit status.
    pub status: i32,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: String,
}

/// A running guest, found by its run folder.
#[derive(Clone, Debug)]
pub struct Guest {
    run_dir: PathBuf,
}

impl Guest {
    /// The guest that another process booted; `run_dir` is its [`crate::Bed::run_dir`].
    pub fn open(run_dir: &Path) -> Result<Self, OpenError> {
        let guest = Self { run_dir: run_dir.to_owned() };
        if guest.ssh_config().is_file() {
            Ok(guest)
        } else {
            Err(OpenError { run_dir: guest.run_dir })
        }
    }

    pub(crate) fn new(run_dir: &Path) -> Self {
        Self { run_dir: run_dir.to_owned() }
    }

    /// The folder with this guest's sockets and logs; sockets may be added to it.
    #[must_use]
    pub fn run_dir(&self) -> &Path {
        &self.run_dir
    }

    pub(crate) fn ssh_config(&self) -> PathBuf {
        self.run_dir.join("ssh_config")
    }

    pub(crate) fn ssh_control(&self) -> PathBuf {
        self.run_dir.join("ssh")
    }

    /// Its disks.
    #[must_use]
    pub fn disks(&self) -> Disks<'_> {
        Disks::new(self)
    }

    /// Runs a shell script as the guest's root, within two minutes, and returns what it printed.
    pub fn run(&self, script: &str) -> Result<String, GuestError> {
        self.feed(script, &[]).map(|stdout| String::from_utf8_lossy(&stdout).into_owned())
    }

    /// Runs a shell script with `input`; an exit status other than 0 is an error.
    fn feed(&self, script: &str, input: &[u8]) -> Result<Vec<u8>, GuestError> {
        let output = self.exec(script, input, PATIENCE)?;
        if output.status != 0 {
            return Err(GuestError::Failed {
                script: script.to_owned(),
                status: output.status,
                stderr: output.stderr.trim().to_owned(),
            });
        }
        Ok(output.stdout)
    }

    /// Runs a shell script with `input` on its standard input and returns how it ended.
    ///
    /// After `limit` the client is killed; what it started in the guest may go on.
    pub fn exec(
        &self,
        script: &str,
        input: &[u8],
        limit: Duration,
    ) -> Result<GuestOutput, GuestError> {
        let mut command = self.ssh();
        command.args(["bed", script]);
        let script = script.to_owned();
        let captured = match captured::run(command, input, limit) {
            Ok(captured) => captured,
            Err(source) => return Err(GuestError::NoAnswer { script, source }),
        };
        let stderr = String::from_utf8_lossy(&captured.stderr).into_owned();
        match captured.status.code() {
            None | Some(SSH_FAILED) => Err(GuestError::Lost { script, stderr }),
            Some(status) => Ok(GuestOutput { status, stdout: captured.stdout, stderr }),
        }
    }

    fn ssh(&self) -> Command {
        let mut command = Command::new("ssh");
        command.arg("-F").arg(self.ssh_config());
        command
    }

    /// Writes a small file in the guest, and the folders above it. Large ones: [`Guest::copy_in`].
    pub fn write(&self, path: &str, content: &[u8]) -> Result<(), GuestError> {
        let script = format!("mkdir -p \"$(dirname {path})\" && cat >{path}", path = quoted(path));
        self.feed(&script, content).map(drop)
    }

    /// Reads a small file of the guest. Large ones: [`Guest::copy_out`].
    pub fn read(&self, path: &str) -> Result<Vec<u8>, GuestError> {
        self.feed(&format!("cat {}", quoted(path)), &[])
    }

    /// The guest's kernel log since its boot.
    pub fn dmesg(&self) -> Result<String, GuestError> {
        self.run("dmesg")
    }

    /// Starts a program in the guest that goes on: `command` is a shell's simple command, `name`
    /// is the caller's to choose. Its output is appended to [`Guest::log`].
    pub fn start(&self, name: &str, command: &str) -> Result<(), GuestError> {
        let job = quoted(&format!("echo $$ >/run/bed/{name}.pid; exec {command}"));
        self.run(&format!(
            "rm -f /run/bed/{name}.pid; setsid sh -c {job} </dev/null >>/run/bed/{name}.log 2>&1 & \
             until [ -s /run/bed/{name}.pid ]; do sleep 0.01; done"
        ))
        .map(drop)
    }

    /// Whether a program begun by [`Guest::start`] runs.
    pub fn is_running(&self, name: &str) -> Result<bool, GuestError> {
        let script = format!("kill -0 \"$(cat /run/bed/{name}.pid)\" 2>/dev/null");
        Ok(self.exec(&script, &[], PATIENCE)?.status == 0)
    }

    /// Sends a signal, such as `TERM`, to a program begun by [`Guest::start`].
    pub fn signal(&self, name: &str, signal: &str) -> Result<(), GuestError> {
        self.run(&format!("kill -{signal} \"$(cat /run/bed/{name}.pid)\"")).map(drop)
    }

    /// Kills a program begun by [`Guest::start`] and waits for its end.
    pub fn kill(&self, name: &str) -> Result<(), GuestError> {
        self.run(&format!(
            "p=$(cat /run/bed/{name}.pid); kill -KILL \"$p\" 2>/dev/null; \
             while kill -0 \"$p\" 2>/dev/null; do sleep 0.01; done"
        ))
        .map(drop)
    }

    /// What a program begun by [`Guest::start`] has printed so far.
    pub fn log(&self, name: &str) -> Result<String, GuestError> {
        self.run(&format!("cat /run/bed/{name}.log"))
    }

    /// A connection to `host`, a socket that appears on this host, reaches `guest`, a socket there.
    ///
    /// Lasts until the guest loses power; an old socket file is replaced.
    pub fn forward_to_guest(&self, host: &Path, guest: &Path) -> Result<(), GuestError> {
        self.forward("-L", host, guest)
    }

    /// A connection to `guest`, a socket that appears in the guest, reaches `host`, a socket here.
    ///
    /// Lasts until the guest loses power; an old socket file is replaced.
    pub fn forward_to_host(&self, guest: &Path, host: &Path) -> Result<(), GuestError> {
        self.forward("-R", guest, host)
    }

    fn forward(&self, direction: &str, listen: &Path, connect: &Path) -> Result<(), GuestError> {
        let pair = format!("{}:{}", listen.display(), connect.display());
        let script = format!("ssh -O forward {direction} {pair}");
        let mut command = self.ssh();
        command.args(["-O", "forward", direction, &pair, "bed"]);
        match captured::run(command, &[], PATIENCE) {
            Ok(done) if done.status.success() => Ok(()),
            Ok(done) => {
                let stderr = String::from_utf8_lossy(&done.stderr).trim().to_owned();
                Err(GuestError::Lost { script, stderr })
            }
            Err(source) => Err(GuestError::NoAnswer { script, source }),
        }
    }
}

/// `text` as one word of a shell.
pub(crate) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn a_quoted_word_survives_quotes_and_dollars() {
        assert_eq!(quoted("a'b $c"), r"'a'\''b $c'");
    }
}
