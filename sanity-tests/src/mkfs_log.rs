//! Every run of mkfs in the guest, written down by wrappers that stand before the real tools.

use std::time::Duration;

use anyhow::{Context, Result};
use csi_bed::Guest;
use tokio::task::block_in_place;

use crate::stand::{Settings, Stand, on_shared_stand};

const LOG: &str = "/run/mkfs.log";
/// While this exists, each run waits before it begins.
const GATE: &str = "/run/mkfs.gate";

/// The log of a guest.
#[derive(Debug, Clone)]
pub struct MkfsLog(Guest);

/// One run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// `mkfs.ext4`, `mkfs.xfs`.
    pub tool: String,
    /// The serial number of its disk.
    pub serial: String,
    /// Whether it was killed before its end.
    pub killed: bool,
}

/// Runs a test on the program's stand as [`on_shared_stand`] does, with the log of its guest.
pub fn on_logged_stand(
    settings: fn() -> Settings,
    test: impl AsyncFnOnce(&mut Stand, &MkfsLog) -> Result<()>,
) -> Result<()> {
    on_shared_stand(settings, async |stand| {
        let log = block_in_place(|| MkfsLog::install(stand.guest(), Duration::ZERO))?;
        test(stand, &log).await
    })
}

impl MkfsLog {
    /// Puts the wrappers in place; each run waits for `pause` before it begins. The node plugin
    /// must be started afterwards.
    pub fn install(guest: &Guest, pause: Duration) -> Result<Self> {
        for tool in ["mkfs.ext3", "mkfs.ext4", "mkfs.xfs"] {
            // The disk is the tool's standard input.
            let wrapper = format!(
                "#!/bin/sh\n\
                 disk=$(readlink /proc/$$/fd/0)\n\
                 read -r serial </sys/class/block/${{disk##*/}}/device/serial\n\
                 echo \"run $$ {tool} $serial\" >>{LOG}\n\
                 sleep {}\n\
                 while [ -e {GATE} ]; do sleep 0.02; done\n\
                 exec /usr/sbin/{tool} \"$@\"\n",
                pause.as_secs_f64()
            );
            let path = format!("/usr/local/sbin/{tool}");
            guest.write(&path, wrapper.as_bytes())?;
            guest.run(&format!("chmod 755 {path}"))?;
        }
        guest.run(&format!(": >>{LOG}"))?;
        Ok(Self(guest.clone()))
    }

    /// Lets each run wait before it begins, until [`MkfsLog::open_gate`].
    pub fn close_gate(&self) -> Result<()> {
        Ok(self.0.run(&format!("touch {GATE}")).map(drop)?)
    }

    /// Lets runs begin.
    pub fn open_gate(&self) -> Result<()> {
        Ok(self.0.run(&format!("rm -f {GATE}")).map(drop)?)
    }

    /// All runs so far.
    pub fn runs(&self) -> Result<Vec<Run>> {
        parse(&String::from_utf8_lossy(&self.0.read(LOG)?))
    }

    /// The runs on one volume.
    pub fn runs_on(&self, volume: &str) -> Result<Vec<Run>> {
        let serial = volume.replacen('-', "", 1);
        Ok(self.runs()?.into_iter().filter(|run| run.serial == serial).collect())
    }
}

/// A script that kills a whole session, `$sid`, and writes down which runs of mkfs die with it.
pub(crate) fn kill_session() -> String {
    // Stopped first, so that nothing begins or ends between the look and the kill.
    format!(
        "pkill -STOP -s \"$sid\"; \
         for p in $(pgrep -s \"$sid\" mkfs); do echo \"killed $p\" >>{LOG}; done; \
         pkill -KILL -s \"$sid\"; \
         while pgrep -s \"$sid\" >/dev/null; do sleep 0.01; done"
    )
}

fn parse(log: &str) -> Result<Vec<Run>> {
    let mut runs: Vec<(&str, Run)> = Vec::new();
    for line in log.lines() {
        match line.split_whitespace().collect::<Vec<_>>().as_slice() {
            // A disk that is gone by then has no serial.
            ["run", pid, tool, serial @ ..] if serial.len() <= 1 => {
                let (tool, serial) = ((*tool).to_owned(), serial.concat());
                runs.push((pid, Run { tool, serial, killed: false }));
            }
            ["killed", pid] => {
                // Before its first line it is nobody's run yet.
                if let Some((_, run)) = runs.iter_mut().rev().find(|(other, _)| other == pid) {
                    run.killed = true;
                }
            }
            _ => return Err(anyhow::anyhow!("{line:?}")).context("the log of mkfs"),
        }
    }
    Ok(runs.into_iter().map(|(_, run)| run).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_tells_which_runs_were_killed() {
        let log = "run 7 mkfs.ext4 vol1\nkilled 7\nkilled 8\nrun 9 mkfs.ext4 vol1\n";
        let killed: Vec<bool> = parse(log).unwrap().into_iter().map(|run| run.killed).collect();
        assert_eq!(killed, [true, false]);
        assert!(parse("run 7\n").is_err());
    }
}
