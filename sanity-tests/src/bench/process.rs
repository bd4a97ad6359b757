//! Processes under measurement: started, looked at through `/proc`, and killed when dropped.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

/// Kernel clock ticks in a second (`sysconf(_SC_CLK_TCK)`, 100 on every Linux of today).
const TICKS: f64 = 100.0;

/// A process that ends with this value.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    log: PathBuf,
}

/// Memory of a process, in MiB (`proc_pid_status(5)`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Memory {
    /// `VmRSS`.
    pub(super) resident: f64,
    /// `RssAnon`: what is neither mapped from a file nor shared.
    pub(super) anonymous: f64,
    /// `VmHWM`, the most that was ever resident.
    pub(super) peak: f64,
}

/// What a process has used so far (`proc_pid_stat(5)`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Usage {
    /// User and system time, in seconds.
    pub(super) cpu_seconds: f64,
    /// Page faults of ended children: it grows if and only if a child process was run.
    pub(super) children_faults: u64,
}

impl Process {
    /// Starts `command`, with what it prints going into `log`.
    pub(super) fn start(mut command: Command, log: &Path) -> Result<Self> {
        let file = File::options().create(true).append(true).open(log)?;
        command.stdout(file.try_clone()?).stderr(Stdio::from(file));
        let what = command.get_program().display().to_string();
        let child = command.spawn().with_context(|| what)?;
        Ok(Self { child, log: log.to_path_buf() })
    }

    /// Its memory now.
    pub(super) fn memory(&self) -> Result<Memory> {
        memory(&self.read("status")?).context("a line is missing in /proc/PID/status")
    }

    /// Its use of time and of children so far.
    pub(super) fn usage(&self) -> Result<Usage> {
        usage(&self.read("stat")?).context("a field is missing in /proc/PID/stat")
    }

    /// The end of its log.
    #[must_use]
    pub(super) fn log_tail(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(10).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// Asks it to end, and waits for that a while.
    pub(super) async fn stop(mut self) -> Result<()> {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id())?);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM)?;
        for _ in 0..500 {
            if self.child.try_wait()?.is_some() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    fn read(&self, file: &str) -> Result<String> {
        let path = format!("/proc/{}/{file}", self.child.id());
        std::fs::read_to_string(&path).with_context(|| format!("{path}\n{}", self.log_tail()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn memory(status: &str) -> Option<Memory> {
    let mib = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key))?;
        let kib: f64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
        Some(kib / 1024.0)
    };
    Some(Memory { resident: mib("VmRSS:")?, anonymous: mib("RssAnon:")?, peak: mib("VmHWM:")? })
}

fn usage(stat: &str) -> Option<Usage> {
    // The name, in parentheses, may contain anything; field 3 follows it.
    let (_, fields) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    let field = |number: usize| fields.get(number - 3).and_then(|text| text.parse::<u64>().ok());
    let ticks = u32::try_from(field(14)? + field(15)?).ok()?;
    Some(Usage { cpu_seconds: f64::from(ticks) / TICKS, children_faults: field(11)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_usage_are_read_from_the_kernels_words() {
        let status = "Name:\tx\nVmHWM:\t   20480 kB\nVmRSS:\t   10240 kB\nRssAnon:\t    2048 kB\n";
        let read = memory(status).unwrap();
        assert_eq!((read.resident, read.anonymous, read.peak), (10.0, 2.0, 20.0));
        assert!(memory("VmRSS: 1 kB\n").is_none());
        let stat = "7 (a) b) S 1 2 3 4 5 6 100 42 9 0 150 50 0 0 20 0 3 0";
        let read = usage(stat).unwrap();
        assert_eq!((read.cpu_seconds, read.children_faults), (2.0, 42));
    }

    #[test]
    fn a_child_that_ran_shows_in_the_children_faults() {
        let faults = || {
            let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
            usage(&stat).unwrap().children_faults
        };
        let before = faults();
        let status = csi_bed::command("true").status().unwrap();
        assert!(status.success());
        assert!(faults() > before);
    }
}
