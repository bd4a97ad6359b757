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

/// Removes the folders of dead processes, and kills what they may have left.
fn sweep(runs: &Path) -> io::Result<()> {
    for entry in fs::read_dir(runs)? {
        let path = entry?.path();
        let stale = match File::open(path.join("lock")) {
            Ok(lock) => lock.try_lock().is_ok(),
            Err(error) => path.is_dir() && error.kind() == io::ErrorKind::NotFound,
        };
        if stale {
            kill_users(&path);
            // Its janitor may be at work on it too.
            let _ = fs::remove_dir_all(&path);
        }
    }
    Ok(())
}

/// Kills QEMU processes whose command line names this run folder.
///
/// They die with their parent; only a parent killed between `fork(2)` and `prctl(2)` of a child
/// leaves one.
fn kill_users(path: &Path) {
    let folder = format!("{}/", path.display());
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok());
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        if let Some(pid) = pid
            && line.starts_with("qemu-system-x86_64\0")
            && line.contains(&folder)
        {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}
