//! The folder of one bed: sockets, logs, the root overlay. Folders whose process has died are
//! removed, by a small shell that outlives the process, or at the latest when the next bed starts.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use thiserror::Error;

/// `sun_path` holds 108 bytes (`unix(7)`); ssh adds 18 to its control socket's name while binding.
const LONGEST: usize = 76;

/// Why there is no folder for the bed.
#[derive(Debug, Error)]
pub enum RunDirError {
    /// A file system call failed.
    #[error("cannot make the run folder {}", path.display())]
    Make {
        /// The folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Sockets in it could not be bound.
    #[error("{} is too long for Unix sockets; set CSI_CACHE to a shorter folder", path.display())]
    TooLong {
        /// The folder.
        path: PathBuf,
    },
    /// The shell that cleans up after a `kill -9` did not start.
    #[error("cannot start the shell that removes {}", path.display())]
    Janitor {
        /// The folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

/// The folder; removed when dropped.
#[derive(Debug)]
pub(crate) struct RunDir {
    path: PathBuf,
    /// Held while this process lives: who can take the lock knows that the folder is stale.
    _lock: File,
    janitor: Child,
}

impl RunDir {
    /// Sweeps stale folders under `runs` and makes a new one, readable by root only.
    pub(crate) fn new(runs: &Path) -> Result<Self, RunDirError> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = runs.join(format!("{}-{number}", process::id()));
        if path.as_os_str().len() > LONGEST {
            return Err(RunDirError::TooLong { path });
        }
        let lock =
            make(runs, &path).map_err(|source| RunDirError::Make { path: path.clone(), source })?;
        let janitor =
            janitor(&path).map_err(|source| RunDirError::Janitor { path: path.clone(), source })?;
        Ok(Self { path, _lock: lock, janitor })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for RunDir {
    fn drop(&mut self) {
        // The end of its input makes the shell remove the folder, as it would after our death.
        drop(self.janitor.stdin.take());
        let _ = self.janitor.wait();
    }
}

fn make(runs: &Path, path: &Path) -> io::Result<File> {
    fs::create_dir_all(runs)?;
    // Under this lock no other bed sees a folder whose own lock is not yet taken.
    let turn = File::create(runs.join("lock"))?;
    turn.lock()?;
    sweep(runs)?;
    fs::DirBuilder::new().mode(0o700).create(path)?;
    let lock = File::create(path.join("lock"))?;
    lock.lock()?;
    Ok(lock)
}

fn janitor(path: &Path) -> io::Result<Child> {
    Command::new("sh")
        .args(["-c", r#"read -r _; rm -rf -- "$1""#, "bed-janitor"])
        .arg(path)
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}

/// Kills what dead processes may have left, and removes their folders.
fn sweep(runs: &Path) -> io::Result<()> {
    kill_orphans(runs);
    for entry in fs::read_dir(runs)? {
        let path = entry?.path();
        if path.is_dir() && is_stale(&path) {
            // Its janitor may be at work on it too.
            let _ = fs::remove_dir_all(&path);
        }
    }
    Ok(())
}

/// Whether no living process holds this folder, or there is no such folder.
fn is_stale(path: &Path) -> bool {
    match File::open(path.join("lock")) {
        Ok(lock) => lock.try_lock().is_ok(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

/// Kills QEMU processes that work in a stale folder.
///
/// They die with their parent; only a parent killed between `fork(2)` and `prctl(2)` of a child
/// leaves one.
fn kill_orphans(runs_dir: &Path) {
    let runs = format!("file={}/", runs_dir.display());
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok());
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        // `-drive file=RUNS/PID-N/root.qcow2,…`
        let rest = line.split_once(&runs).map(|(_, rest)| rest);
        let name = rest.and_then(|rest| rest.split_once('/')).map(|(name, _)| name);
        if let Some(pid) = pid
            && let Some(name) = name
            && line.starts_with("qemu-system-x86_64\0")
            && is_stale(&runs_dir.join(name))
        {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::{CommandExt, ExitStatusExt};
    use std::process::{Child, Command, Stdio};
    use std::time::Duration;
    use std::{fs, path::Path};

    use super::{RunDir, kill_orphans};
    use crate::captured::wait;

    #[test]
    fn a_folder_goes_with_its_owner_and_a_stale_one_when_the_next_comes() {
        let runs = tempfile::tempdir().unwrap();
        let stale = runs.path().join("1-0");
        fs::create_dir(&stale).unwrap();
        fs::write(stale.join("lock"), "").unwrap();
        let first = RunDir::new(runs.path()).unwrap();
        assert!(!stale.exists());
        let second = RunDir::new(runs.path()).unwrap();
        assert!(first.path().is_dir() && second.path().is_dir());
        let path = first.path().to_owned();
        drop(first);
        assert!(!path.exists() && second.path().is_dir());
    }

    #[test]
    fn only_a_machine_without_an_owner_is_killed() {
        let runs = tempfile::tempdir().unwrap();
        let owner = RunDir::new(runs.path()).unwrap();
        let mut orphan = fake_qemu(&runs.path().join("1-0"));
        let mut kept = fake_qemu(owner.path());
        // A process that was just started may have no command line yet (execve(2) wakes the
        // parent before it writes one).
        let status = (0..100).find_map(|_| {
            kill_orphans(runs.path());
            wait(&mut orphan, Duration::from_millis(50)).unwrap()
        });
        assert_eq!(status.and_then(|status| status.signal()), Some(9));
        assert!(kept.try_wait().unwrap().is_none());
        drop(kept.stdin.take());
        kept.wait().unwrap();
    }

    /// A shell with a command line like QEMU's; it ends with its input.
    fn fake_qemu(folder: &Path) -> Child {
        let drive = format!("file={}/root.qcow2,if=none", folder.display());
        Command::new("sh")
            .arg0("qemu-system-x86_64")
            .args(["-c", "read -r _", "sh", "-drive", &drive])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap()
    }
}
