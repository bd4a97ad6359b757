//! The only place that starts other programs: making, repairing and growing file systems is no
//! system call.
//!
//! A tool gets the disk as its standard input and is told to work on [`DISK`]. Opening that leads
//! to the device number of the pinned disk, which no other disk can get while it is open, whatever
//! happens to the names in `/dev`; the tool may take the disk exclusively; and it works also when
//! the plugin is killed before the tool has opened it.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus};
use std::thread;
use std::time::Duration;

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::time::Instant;
use tracing::info;

use crate::kernel::KernelError;

/// The disk, as every tool sees it.
pub(super) const DISK: &str = "/proc/self/fd/0";

/// How much of a tool's output an error carries.
const OUTPUT: usize = 2000;
/// How often a running tool is looked at; making a small file system takes 10–50 ms.
const POLL: Duration = Duration::from_millis(4);

/// A tool and what it is to do.
#[derive(Debug)]
pub(super) struct Tool<'a> {
    pub(super) name: &'static str,
    pub(super) arguments: Vec<String>,
    /// The disk's name, for messages.
    pub(super) device: &'a str,
    /// Longest it may take.
    pub(super) limit: Duration,
    /// Exit codes that mean success.
    pub(super) success: &'static [i32],
    /// The disk, locked. The tool holds it as its standard input, so the lock lasts until the tool
    /// has ended, also if the plugin is killed meanwhile. udev leaves a locked disk alone
    /// (systemd, "Locking Block Device Access").
    pub(super) lock: &'a File,
}

impl Tool<'_> {
    /// Runs the tool to its end, or kills it at its limit.
    pub(super) fn run(self) -> Result<(), KernelError> {
        let started = Instant::now();
        let no_tool = |source| KernelError::NoTool { tool: self.name, source };
        let mut output = output_file().map_err(no_tool)?;
        let mut child = self.start(&output).map_err(no_tool)?;
        let ended = wait(&mut child, started + self.limit).map_err(no_tool)?;
        let text = last_of(&mut output);
        let milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        info!(tool = self.name, device = self.device, milliseconds, "ran a tool");
        let (tool, device) = (self.name, self.device.to_owned());
        match ended {
            None => Err(KernelError::ToolTimedOut {
                tool,
                device,
                seconds: self.limit.as_secs(),
                output: text,
            }),
            Some(status) if status.code().is_some_and(|code| self.success.contains(&code)) => {
                Ok(())
            }
            Some(status) => {
                Err(KernelError::Tool { tool, device, status: describe(status), output: text })
            }
        }
    }

    fn start(&self, output: &File) -> io::Result<Child> {
        #[expect(clippy::disallowed_methods, reason = "the one module that forks")]
        let mut command = Command::new(self.name);
        command
            .args(&self.arguments)
            .env("LC_ALL", "C")
            .stdin(self.lock.try_clone()?)
            .stdout(output.try_clone()?)
            .stderr(output.try_clone()?)
            // A group of its own: a signal for the plugin must not break off a mkfs, and a kill
            // must reach a tool's own children.
            .process_group(0)
            .spawn()
    }
}

/// A file in memory, so that no tool blocks on a full pipe.
fn output_file() -> io::Result<File> {
    Ok(File::from(memfd_create("tool-output", MFdFlags::MFD_CLOEXEC)?))
}

/// Waits until `until`; `None` if the tool had to be killed.
fn wait(child: &mut Child, until: Instant) -> io::Result<Option<ExitStatus>> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= until {
            let group = i32::try_from(child.id()).map(Pid::from_raw);
            if let Ok(group) = group {
                // It may have ended by itself just now.
                let _ = killpg(group, Signal::SIGKILL);
            }
            return child.wait().map(|_killed| None);
        }
        thread::sleep(POLL);
    }
}

fn last_of(output: &mut File) -> String {
    let mut bytes = Vec::new();
    // What cannot be read is missing from a message, no more.
    let _ = output.seek(SeekFrom::Start(0)).and_then(|_| output.read_to_end(&mut bytes));
    let text = String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(OUTPUT)..]);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "no status".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: Duration) -> Result<(), KernelError> {
        let arguments = vec!["-c".to_owned(), script.to_owned()];
        let lock = File::open("/dev/null").unwrap();
        Tool { name: "sh", arguments, device: "nvme1n1", limit, success: &[0, 1], lock: &lock }
            .run()
    }

    #[test]
    fn a_failing_tool_is_quoted_and_its_harmless_exit_codes_are_success() {
        let limit = Duration::from_secs(20);
        shell("exit 1", limit).unwrap();
        let error = shell("echo out; echo 'bad  superblock' >&2; exit 8", limit).unwrap_err();
        assert_eq!(error.to_string(), "sh on nvme1n1 ended with exit code 8: out bad superblock");
    }

    #[test]
    fn a_tool_that_takes_too_long_is_killed_with_its_children() {
        let started = Instant::now();
        let error = shell("echo begun; sleep 60 & wait", Duration::from_millis(300)).unwrap_err();
        assert!(matches!(error, KernelError::ToolTimedOut { .. }), "{error}");
        assert!(error.to_string().ends_with("begun"), "{error}");
        assert!(started.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_missing_tool_is_named() {
        let tool = Tool {
            name: "mkfs.nonexistent",
            arguments: vec![],
            device: "nvme1n1",
            limit: Duration::from_secs(1),
            success: &[0],
            lock: &File::open("/dev/null").unwrap(),
        };
        assert_eq!(tool.run().unwrap_err().to_string(), "cannot run mkfs.nonexistent");
    }
}
