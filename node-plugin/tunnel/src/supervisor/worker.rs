//! The worker as the supervisor sees it.

use std::ffi::OsString;
use std::io;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use super::channel::Link;
use super::held::Held;

/// This program itself, even if its file was replaced meanwhile.
const PROGRAM: &str = "/proc/self/exe";

/// A running worker.
#[derive(Debug)]
pub(super) struct Worker {
    process: Pid,
    link: Link,
}

impl Worker {
    /// Starts one, which prepares itself and then waits for its beginning. Its end of the link is
    /// its standard input: the one descriptor that a program may take over without unsafe code.
    pub(super) fn start(arguments: &[OsString]) -> io::Result<Self> {
        let (link, end) = Link::pair()?;
        let child = command().args(arguments).stdin(Stdio::from(end)).spawn()?;
        let process = i32::try_from(child.id()).map(Pid::from_raw).map_err(io::Error::other)?;
        Ok(Self { process, link })
    }

    /// Gives it everything that is held, with which it serves. If it cannot take it, it is dead.
    pub(super) fn begin(self, held: &Held, restarts: u32) -> io::Result<Self> {
        match held.give(&self.link, restarts) {
            Ok(()) => Ok(self),
            Err(error) => {
                self.bury();
                Err(error)
            }
        }
    }

    pub(super) const fn link(&self) -> &Link {
        &self.link
    }

    pub(super) fn tell_to_end(&self) {
        // If it is dead, its end is read from the link.
        let _ = kill(self.process, Signal::SIGTERM);
    }

    /// Makes sure that it is dead: two workers would take each other's connections.
    pub(super) fn bury(&self) {
        let _ = kill(self.process, Signal::SIGKILL);
        match waitpid(self.process, None) {
            Ok(status) => tracing::debug!(?status, "the worker has ended"),
            Err(error) => tracing::warn!(%error, "the worker's end was not seen"),
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the supervisor starts its own program: a fork without exec needs unsafe code"
)]
fn command() -> Command {
    Command::new(PROGRAM)
}
