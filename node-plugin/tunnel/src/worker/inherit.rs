//! What a worker gets from the supervisor at its start.

use std::fs;
use std::io::{self, stdin};
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::sys::signal::SigSet;

use crate::supervisor::{FromSupervisor, Link};

/// The sockets that an earlier worker had.
#[derive(Debug)]
pub(super) struct Inheritance {
    pub(super) link: Link,
    pub(super) control: UnixListener,
    /// Where it is bound until clients shall find it.
    pub(super) control_new: PathBuf,
    pub(super) listeners: Vec<(u16, TcpListener)>,
    pub(super) restarts: u32,
}

impl Inheritance {
    /// Everything that comes over standard input, which is the link to the supervisor. It may be
    /// long before it comes. None if the supervisor ends before.
    pub(super) fn from_supervisor() -> io::Result<Option<Self>> {
        let link = Link::new(stdin().as_fd().try_clone_to_owned()?);
        let mut control = None;
        let mut listeners = Vec::new();
        loop {
            let Some(message) = link.receive()? else { return Ok(None) };
            match message {
                (FromSupervisor::Control(path), socket) => control = socket.map(|one| (one, path)),
                (FromSupervisor::Port(port), Some(socket)) => {
                    let listener = TcpListener::from(socket);
                    listener.set_nonblocking(true)?;
                    listeners.push((port, listener));
                }
                (FromSupervisor::Port(port), None) => {
                    tracing::error!(
                        port,
                        "a listener did not arrive; too many descriptors are open"
                    );
                }
                (FromSupervisor::Begin { restarts }, _) => {
                    let (control, control_new) = control.ok_or(io::ErrorKind::InvalidData)?;
                    let control = UnixListener::from(control);
                    return Ok(Some(Self { link, control, control_new, listeners, restarts }));
                }
            }
        }
    }
}

/// The supervisor reads its signals from a descriptor, so they are blocked there, and a child
/// inherits that.
pub(super) fn unblock_signals() {
    if let Err(error) = SigSet::all().thread_unblock() {
        tracing::warn!(%error, "signals stay blocked; the worker ends by force only");
    }
}

/// Lets clients find the control socket. An earlier worker may have done it.
pub(super) fn activate(new: &Path, path: &Path) -> io::Result<()> {
    match fs::rename(new, path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        renamed => renamed,
    }
}
