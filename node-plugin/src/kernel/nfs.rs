//! The port to the kernel's NFS client: the mount table, the servers it talks to, and the steps that
//! change mounts.
//!
//! Everything that may wait for a server is a future here, so that waiting can be given up: the
//! system call goes on in a thread of its own, and what it did shows in the mount table. No call
//! looks at a path that is mounted ([`Nfs::usage`] apart): a dead server would answer never.
//!
//! Implementations: [`super::linux::Linux`], and an in-memory kernel in the tests.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use nix::mount::MsFlags;

use super::{DeviceNumber, KernelError, MountEntry, Usage};

/// NFS's own port, which the mount table does not show.
const DEFAULT_PORT: u16 = 2049;

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NfsStep {
    /// Makes a directory, with its parents, for root alone (and its group to look into).
    MakeDir(PathBuf),
    /// Mounts `127.0.0.1:<path>`.
    Mount {
        /// Path on the server, absolute.
        path: String,
        /// Where.
        at: PathBuf,
        /// Flags of the mount.
        flags: MsFlags,
        /// Options for the NFS client, comma-separated.
        data: String,
    },
    /// Sets how far ahead of a reader the kernel reads, in KiB.
    ReadAhead {
        /// Device of the mounted file system.
        device: DeviceNumber,
        /// How far.
        kib: u32,
    },
    /// Unmounts the topmost mount at a path, which waits until all data is written. Nothing there is
    /// fine.
    Unmount(PathBuf),
    /// Takes the topmost mount at a path out of the tree, whatever its server does and whoever uses
    /// it. Nothing there is fine.
    Detach(PathBuf),
    /// Removes an empty directory that nothing is mounted at. Nothing there is fine.
    Remove(PathBuf),
}

impl fmt::Display for NfsStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MakeDir(at) => write!(f, "make directory {}", at.display()),
            Self::Mount { path, at, .. } => write!(f, "mount {path:?} at {}", at.display()),
            Self::ReadAhead { device, kib } => write!(f, "read {kib} KiB ahead on {device}"),
            Self::Unmount(at) => write!(f, "unmount {}", at.display()),
            Self::Detach(at) => write!(f, "detach {}", at.display()),
            Self::Remove(at) => write!(f, "remove {}", at.display()),
        }
    }
}

/// The kernel's NFS client and its mounts.
pub trait Nfs: Send + Sync + 'static {
    /// The mount table, oldest entry first. Read from memory: it never waits for a server.
    fn mounts(&self) -> Result<Vec<MountEntry>, KernelError>;
    /// Ports of 127.0.0.1 that the NFS client has a server at, with or without a mount
    /// (`/proc/fs/nfsfs/servers`).
    fn servers(&self) -> Result<BTreeSet<u16>, KernelError>;
    /// `path` with the links in its parent followed, as the mount table prints it.
    fn resolve(&self, path: &Path) -> impl Future<Output = Result<PathBuf, KernelError>> + Send;
    /// Does one step. A dropped future does not undo it.
    fn take(&self, step: NfsStep) -> impl Future<Output = Result<(), KernelError>> + Send;
    /// Size and use of the file system mounted at `path`. Asks the server.
    fn usage(&self, path: &Path) -> impl Future<Output = Result<Usage, KernelError>> + Send;
}

/// A mount that goes through the tunnel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tunnelled<'a> {
    /// The tunnel's port.
    pub port: u16,
    /// The path on the server.
    pub path: &'a str,
}

impl<'a> Tunnelled<'a> {
    /// Reads an entry of the mount table; `None` if it is another mount.
    #[must_use]
    pub fn of(entry: &'a MountEntry) -> Option<Self> {
        if !matches!(entry.fs.as_str(), "nfs4" | "nfs") {
            return None;
        }
        let path = entry.source.strip_prefix("127.0.0.1:")?;
        let shown = entry.super_options.iter().find_map(|option| option.strip_prefix("port="));
        let port = shown.map_or(Ok(DEFAULT_PORT), str::parse).ok()?;
        Some(Self { port, path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(fs: &str, source: &str, options: &[&str]) -> MountEntry {
        MountEntry {
            device: DeviceNumber { major: 0, minor: 51 },
            root: "/".into(),
            at: "/t".into(),
            fs: fs.to_owned(),
            source: source.to_owned(),
            options: vec!["rw".to_owned()],
            super_options: options.iter().map(|option| (*option).to_owned()).collect(),
        }
    }

    #[test]
    fn only_nfs_from_this_nodes_loopback_is_tunnelled() {
        let ours = entry("nfs4", "127.0.0.1:/a b", &["rw", "vers=4.1", "port=20049", "hard"]);
        assert_eq!(Tunnelled::of(&ours), Some(Tunnelled { port: 20_049, path: "/a b" }));
        let default = entry("nfs4", "127.0.0.1:/", &["rw", "vers=4.1"]);
        assert_eq!(Tunnelled::of(&default), Some(Tunnelled { port: 2049, path: "/" }));
        for other in [
            entry("ext4", "127.0.0.1:/", &["port=20049"]),
            entry("nfs4", "10.0.0.1:/", &["port=20049"]),
            entry("nfs4", "127.0.0.1:/", &["port=many"]),
        ] {
            assert_eq!(Tunnelled::of(&other), None);
        }
    }
}
