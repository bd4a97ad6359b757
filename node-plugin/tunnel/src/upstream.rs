//! The files of efs-utils in its state folder: one of JSON and one of settings for each mount. Live
//! mounts that efs-utils made are adopted from them, on the ports that the kernel knows; and for the
//! mounts made here they are written, so that a rollback to the driver that uses efs-utils finds what
//! it needs to serve them.

mod config;
mod mount;
mod read;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use mount::Mount;

use crate::state::Entry;

/// Where efs-utils keeps its roots; their place here is taken by the built-in ones.
const ROOTS: &str = "/etc/amazon/efs/efs-utils.crt";
/// Where efs-utils keeps the node's key.
const KEY: &str = "/etc/amazon/efs/privateKey.pem";
/// The program that relays for efs-utils.
const PROXY: &str = "/usr/bin/efs-proxy";
/// In front of a file's name while the mount is being made.
const MOUNTING: char = '~';
/// In front of the name of the settings of a mount.
const SETTINGS: &str = "stunnel-config.";

/// The JSON file, as far as it is used.
#[derive(Debug, Serialize, Deserialize)]
struct State {
    /// The command line that serves the mount.
    cmd: Vec<String>,
    /// What is deleted with the mount.
    #[serde(default)]
    files: Vec<String>,
    mountpoint: Option<String>,
    /// Seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mount_time: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    service_type: Option<String>,
    /// The process that serves the mount for efs-utils; there is none for ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pid: Option<u64>,
    #[serde(flatten)]
    tls: TlsState,
}

/// What a renewal of the certificate needs.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct TlsState {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mount_state_dir: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    common_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    region: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    certificate_creation_time: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    certificate: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    private_key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fs_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    access_point: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    aws_credentials_method: Option<String>,
}

/// Why a mount of efs-utils is not served.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// A file cannot be read or written.
    #[error("{}: {doing} failed", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The file is no state of a mount.
    #[error("{} is no state of a mount", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// A value is missing or is none of its kind.
    #[error("{}: {field} is missing or wrong", path.display())]
    Field {
        /// The file.
        path: PathBuf,
        /// The value's name.
        field: &'static str,
    },
}

/// The live mounts of efs-utils under `kubelet`: those whose port the kernel uses. Others belong to
/// the node's own efs-utils, or are over.
pub(crate) fn live(folder: &Path, kubelet: &Path, used: &BTreeSet<u16>) -> Vec<Entry> {
    let Ok(files) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let names = files.flatten().filter_map(|file| file.file_name().into_string().ok());
    let mut entries = Vec::new();
    for name in names {
        let Some(port) = port(&name).filter(|port| used.contains(port)) else {
            continue;
        };
        match read::entry(folder, &name, port, kubelet) {
            Ok(Some(entry)) => entries.push(entry),
            Ok(None) => tracing::debug!(name, "not a mount of a pod"),
            Err(error) => {
                let error = crate::chain(&error);
                tracing::error!(port, error, "a live mount of efs-utils cannot be adopted");
            }
        }
    }
    entries
}

/// What is left of mounts that are gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    name: String,
    /// The port.
    pub port: u16,
    /// Whether efs-utils made it, which may still be about to clean up after it.
    pub foreign: bool,
}

/// State files of mounts under `kubelet` that are not mounted. One that efs-utils is about to mount,
/// or that cannot be understood, is none.
pub fn leftovers(
    folder: &Path,
    kubelet: &Path,
    is_mounted: impl Fn(&Path, u16) -> bool,
) -> Vec<Leftover> {
    let Ok(files) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let names = files.flatten().filter_map(|file| file.file_name().into_string().ok());
    let left = |name: String| {
        let port = port(&name).filter(|_| !name.starts_with(MOUNTING))?;
        let state: State = serde_json::from_slice(&fs::read(folder.join(&name)).ok()?).ok()?;
        let mountpoint = PathBuf::from(state.mountpoint?);
        let is_left = mountpoint.starts_with(kubelet) && !is_mounted(&mountpoint, port);
        is_left.then_some(Leftover { name, port, foreign: state.pid.is_some() })
    };
    names.filter_map(left).collect()
}

impl Leftover {
    /// Removes it.
    pub fn remove(&self, folder: &Path) -> Result<(), UpstreamError> {
        mount::remove(folder, &self.name)
    }
}

/// The port at the end of a state file's name, `fs-….<path>.<port>`.
pub(crate) fn port(name: &str) -> Option<u16> {
    let name = name.strip_prefix(MOUNTING).unwrap_or(name);
    let (front, port) = name.rsplit_once('.')?;
    front.starts_with("fs-").then(|| port.parse().ok())?
}

#[cfg(test)]
mod tests;
