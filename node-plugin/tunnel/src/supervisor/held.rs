//! The sockets that outlive a worker.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use nix::sys::stat::{Mode, umask};

use super::channel::{FromSupervisor, Link, ToSupervisor};

/// The control socket and every port's listener.
#[derive(Debug)]
pub(super) struct Held {
    control: UnixListener,
    control_path: PathBuf,
    control_new: PathBuf,
    control_inode: Option<u64>,
    listeners: BTreeMap<u16, OwnedFd>,
    retired: bool,
    serves: bool,
}

impl Held {
    /// Makes the control socket, beside its place. The worker moves it there in one step, so that
    /// clients find an earlier instance's or this one at any time.
    pub(super) fn with_control(path: &Path) -> io::Result<Self> {
        let new = path.with_extension(format!("{}.new", Timestamp::now().as_nanosecond()));
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        // Two supervisors have the same process id, each in its own container: the time tells them
        // apart. The socket must not be open to others even for the moment before a chmod.
        let usual = umask(Mode::from_bits_truncate(0o177));
        let control = fs::create_dir_all(path.parent().unwrap_or(path))
            .and_then(|()| UnixListener::bind(&new));
        umask(usual);
        let control = control?;
        control.set_nonblocking(true)?;
        Ok(Self {
            control,
            control_path: path.to_owned(),
            control_inode: inode(&new).ok(),
            control_new: new,
            listeners: BTreeMap::new(),
            retired: false,
            serves: false,
        })
    }

    /// Whether a successor has everything.
    pub(super) const fn retired(&self) -> bool {
        self.retired
    }

    /// Whether the worker has said, since it was asked last, that it serves.
    pub(super) const fn began_to_serve(&mut self) -> bool {
        std::mem::replace(&mut self.serves, false)
    }

    pub(super) fn ports(&self) -> usize {
        self.listeners.len()
    }

    /// Gives a worker copies of everything.
    pub(super) fn give(&self, link: &Link, restarts: u32) -> io::Result<()> {
        let control = FromSupervisor::Control(self.control_new.clone());
        link.send(&control, Some(self.control.as_fd()))?;
        for (port, listener) in &self.listeners {
            link.send(&FromSupervisor::Port(*port), Some(listener.as_fd()))?;
        }
        link.send(&FromSupervisor::Begin { restarts }, None)
    }

    /// Handles one message; false if the worker is gone or talks nonsense.
    pub(super) fn update(&mut self, link: &Link) -> bool {
        match link.receive::<ToSupervisor>() {
            Ok(Some((ToSupervisor::Hold(port), Some(listener)))) => {
                self.listeners.insert(port, listener);
                true
            }
            Ok(Some((ToSupervisor::Drop(port), _))) => {
                self.listeners.remove(&port);
                true
            }
            Ok(Some((ToSupervisor::Serves, _))) => {
                self.serves = true;
                true
            }
            Ok(Some((ToSupervisor::Retired, _))) => {
                self.listeners.clear();
                self.retired = true;
                true
            }
            Ok(Some((ToSupervisor::Hold(port), None))) => {
                tracing::error!(port, "a listener did not arrive; too many descriptors are open");
                true
            }
            Ok(None) => false,
            Err(error) => {
                tracing::error!(%error, "the worker's messages cannot be read");
                false
            }
        }
    }

    /// Removes the control socket at an orderly end, unless a successor's has taken its place.
    pub(super) fn remove_control(&self) {
        // It is still there if no worker was ever ready.
        let _ = fs::remove_file(&self.control_new);
        if inode(&self.control_path).is_ok_and(|found| Some(found) == self.control_inode) {
            // Whoever asks next is told that nobody listens, with or without the file.
            let _ = fs::remove_file(&self.control_path);
        }
    }
}

fn inode(path: &Path) -> io::Result<u64> {
    fs::symlink_metadata(path).map(|found| found.ino())
}
