//! The guest's root disk and kernel, as `prepare.sh` builds and caches them.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use thiserror::Error;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/prepare.sh");

/// Why there is no guest to boot.
#[derive(Debug, Error)]
pub enum PrepareError {
    /// The script did not start.
    #[error("cannot run {SCRIPT}")]
    Start {
        /// The system's reason.
        source: io::Error,
    },
    /// The script failed; it has said why on standard error.
    #[error("{SCRIPT} failed with {status}; its messages are above")]
    Failed {
        /// Its status.
        status: ExitStatus,
    },
    /// The script named no image.
    #[error("{SCRIPT} did not name an image in a cache folder, but {answer:?}")]
    NoImage {
        /// What it printed.
        answer: String,
    },
}

/// A built guest.
#[derive(Debug)]
pub(crate) struct Image {
    folder: PathBuf,
    cache: PathBuf,
}

impl Image {
    /// Builds the guest or finds it in the cache.
    pub(crate) fn prepare() -> Result<Self, PrepareError> {
        let output = Command::new("bash")
            .arg(SCRIPT)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .map_err(|source| PrepareError::Start { source })?;
        if !output.status.success() {
            return Err(PrepareError::Failed { status: output.status });
        }
        let answer = String::from_utf8_lossy(&output.stdout).into_owned();
        let folder = PathBuf::from(answer.lines().last().unwrap_or_default());
        match folder.ancestors().nth(2) {
            Some(cache) if folder.is_dir() => Ok(Self { cache: cache.to_owned(), folder }),
            _ => Err(PrepareError::NoImage { answer }),
        }
    }

    /// The folder under which the cache and the run folders lie.
    pub(crate) fn cache(&self) -> &Path {
        &self.cache
    }

    pub(crate) fn kernel(&self) -> PathBuf {
        self.folder.join("vmlinuz")
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.folder.join("root.raw")
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.folder.join("key")
    }

    pub(crate) fn known_hosts(&self) -> PathBuf {
        self.folder.join("known_hosts")
    }
}
