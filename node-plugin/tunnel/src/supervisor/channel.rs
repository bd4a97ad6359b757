//! The messages between supervisor and worker: one per packet, with at most one socket. Both are
//! the same program, so the messages have no version.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::descriptor;

/// A message with the longest path.
const LONGEST: usize = 8192;

/// What the worker is told at its start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FromSupervisor {
    /// The control socket comes with this. It is bound at this path until the worker is ready for
    /// clients, and moves it to where they look.
    Control(PathBuf),
    /// The listener of the port comes with this.
    Port(u16),
    /// That was all.
    Begin {
        /// Workers that died before this one.
        restarts: u32,
    },
}

/// What the supervisor is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ToSupervisor {
    /// It serves; from now on another may stand by.
    Serves,
    /// The listener of the port comes with this; keep a copy.
    Hold(u16),
    /// Close the copy of the port's listener.
    Drop(u16),
    /// A successor serves everything. Close all copies, and start no worker any more.
    Retired,
}

/// One end.
#[derive(Debug)]
pub(crate) struct Link(OwnedFd);

impl Link {
    /// Both ends. They keep the bounds of messages, and deliver what was sent before a death.
    pub(crate) fn pair() -> io::Result<(Self, OwnedFd)> {
        let kind = SocketType::SEQPACKET;
        let (here, there) = socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
        Ok((Self(here), there))
    }

    pub(crate) const fn new(end: OwnedFd) -> Self {
        Self(end)
    }

    /// A second handle of this end.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    pub(crate) fn send(
        &self,
        message: &impl Serialize,
        socket: Option<BorrowedFd<'_>>,
    ) -> io::Result<()> {
        let bytes = serde_json::to_vec(message)?;
        descriptor::send(&self.0, &bytes, socket).map(drop)
    }

    /// The next message; none if the other end is closed.
    pub(crate) fn receive<T: DeserializeOwned>(&self) -> io::Result<Option<(T, Option<OwnedFd>)>> {
        let mut bytes = [0; LONGEST];
        let (length, socket) = descriptor::receive(&self.0, &mut bytes)?;
        if length == 0 {
            return Ok(None);
        }
        let message = serde_json::from_slice(bytes.get(..length).unwrap_or_default())?;
        Ok(Some((message, socket)))
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
