//! Files into the guest and out of it, each as a disk that is plugged for the purpose.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use thiserror::Error;

use crate::disks::{DiskError, Writing};
use crate::guest::{Guest, GuestError, quoted};

/// Why a file was not copied.
#[derive(Debug, Error)]
pub enum CopyError {
    /// The file of the host cannot be used.
    #[error("cannot use {}", path.display())]
    Host {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The disk that carries it was not plugged or unplugged.
    #[error("cannot carry {} between host and guest", path.display())]
    Disk {
        /// The file of the host.
        path: PathBuf,
        /// The reason.
        source: DiskError,
    },
    /// The guest did not read or write it.
    #[error("the guest cannot copy {} from or to {guest}", path.display())]
    Guest {
        /// The file of the host.
        path: PathBuf,
        /// The file of the guest.
        guest: String,
        /// The guest's reason.
        source: GuestError,
    },
}

impl Guest {
    /// Copies a file of this host to `guest`, with permissions `mode` (such as `0o755`).
    ///
    /// The folders above it are made; a file of that name is replaced at once, running or not.
    pub fn copy_in(&self, host: &Path, guest: &str, mode: u32) -> Result<(), CopyError> {
        let usable = fs::canonicalize(host).and_then(|path| Ok((fs::metadata(&path)?.len(), path)));
        let (length, path) = usable.map_err(broken(host))?;
        let to = quoted(guest);
        self.carry(&path, guest, Writing::Refused, &|device| {
            format!(
                "mkdir -p \"$(dirname {to})\" && \
                 dd if={device} of={to}.new bs=1M iflag=direct status=none && \
                 truncate -s {length} {to}.new && chmod {mode:o} {to}.new && mv {to}.new {to}"
            )
        })
    }

    /// Copies a file of the guest to `host`, which is replaced.
    pub fn copy_out(&self, guest: &str, host: &Path) -> Result<(), CopyError> {
        let from = quoted(guest);
        let size = self.run(&format!("stat -Lc %s {from}")).map_err(refused(host, guest))?;
        let length: u64 = size.trim().parse().unwrap_or_default();
        let sized = File::create(host)
            .and_then(|file| file.set_len(length.next_multiple_of(512)).map(|()| file));
        let file = sized.map_err(broken(host))?;
        let path = fs::canonicalize(host).map_err(broken(host))?;
        self.carry(&path, guest, Writing::Allowed, &|device| {
            format!("dd if={from} of={device} bs=1M conv=fsync status=none")
        })?;
        file.set_len(length).map_err(broken(host))
    }

    fn carry(
        &self,
        host: &Path,
        guest: &str,
        writing: Writing,
        script: &dyn Fn(&str) -> String,
    ) -> Result<(), CopyError> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let serial = format!("c{}-{number}", process::id());
        let disk = |source| CopyError::Disk { path: host.to_owned(), source };
        let device = self.disks().attach_plain(&serial, host, writing).map_err(disk)?;
        let copied = self.run(&script(&device));
        self.disks().detach(&serial).map_err(disk)?;
        copied.map(drop).map_err(refused(host, guest))
    }
}

fn broken(host: &Path) -> impl Fn(io::Error) -> CopyError {
    let path = host.to_owned();
    move |source| CopyError::Host { path: path.clone(), source }
}

fn refused(host: &Path, guest: &str) -> impl Fn(GuestError) -> CopyError {
    let (path, guest) = (host.to_owned(), guest.to_owned());
    move |source| CopyError::Guest { path: path.clone(), guest: guest.clone(), source }
}
