//! Process 1 of the pod. It holds a copy of every listening socket and starts the worker again when
//! it dies, so that a port that mounts use never refuses: a refused connection costs the kernel's
//! NFS client three seconds, one that waits in the backlog for a new worker a tenth of one. So that
//! the new worker is there at once, one stands by that has been started already.
//!
//! It is single-threaded, parses nothing that comes from a network, and holds nothing but sockets.

mod channel;
mod held;
mod standby;
mod worker;

use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use tokio::time::Instant;

pub(crate) use channel::{FromSupervisor, Link, ToSupervisor};
use held::Held;
use standby::Standby;
use worker::Worker;

/// A worker that lived so long did not die of what it is started with.
const LONG_LIFE: Duration = Duration::from_secs(1);
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// After the signal to end.
const GRACE: Duration = Duration::from_secs(5);

/// What the supervisor needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the control socket shall be.
    pub control_socket: PathBuf,
    /// The command line of the worker.
    pub worker: Vec<OsString>,
}

/// Why the supervisor ends.
#[derive(Debug, thiserror::Error)]
pub enum SupervisorError {
    /// The control socket cannot be made.
    #[error("the control socket {} cannot be made", path.display())]
    Control {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Signals or messages cannot be waited for.
    #[error("waiting for the worker failed")]
    Wait(#[source] io::Error),
}

/// Runs until the signal to end comes.
pub fn run(config: &Config) -> Result<(), SupervisorError> {
    let mut held = Held::with_control(&config.control_socket).map_err(|source| {
        SupervisorError::Control { path: config.control_socket.clone(), source }
    })?;
    let signals = signals().map_err(|errno| SupervisorError::Wait(errno.into()))?;
    let mut standby = Standby::none();
    let mut restarts = 0;
    let mut pause = SHORTEST_PAUSE;
    loop {
        let started = Instant::now();
        let waiting = standby.take().map_or_else(|| Worker::start(&config.worker), Ok);
        let ended = match waiting.and_then(|worker| worker.begin(&held, restarts)) {
            Ok(worker) => {
                let mut crew = Crew { worker, standby: &mut standby, arguments: &config.worker };
                let ended = crew.serve(&signals, &mut held).map_err(SupervisorError::Wait)?;
                crew.worker.bury();
                ended
            }
            Err(error) => {
                tracing::error!(%error, "the worker cannot be started");
                Ended::Died
            }
        };
        if matches!(ended, Ended::Told) {
            standby.end();
            held.remove_control();
            return Ok(());
        }
        if held.retired() {
            standby.end();
            return until_told(&signals).map_err(SupervisorError::Wait);
        }
        restarts += 1;
        tracing::warn!(restarts, ports = held.ports(), "the worker died; starting another");
        if started.elapsed() > LONG_LIFE {
            pause = SHORTEST_PAUSE;
        } else {
            pause = (pause * 2).min(LONGEST_PAUSE);
            std::thread::sleep(pause);
        }
    }
}

/// How the life of a worker ended.
enum Ended {
    Died,
    Told,
}

/// The worker that serves, and the one that stands by.
struct Crew<'a> {
    worker: Worker,
    standby: &'a mut Standby,
    arguments: &'a [OsString],
}

struct Ready {
    message: bool,
    signal: bool,
    standby: bool,
}

impl Crew<'_> {
    /// Handles the worker's messages and the process's signals until the worker's end.
    fn serve(&mut self, signals: &SignalFd, held: &mut Held) -> io::Result<Ended> {
        let mut told: Option<Instant> = None;
        loop {
            let ready = self.wait(signals, told, held.retired())?;
            if ready.signal {
                while let Ok(Some(signal)) = signals.read_signal() {
                    if told.is_none() && is_end(signal.ssi_signo) {
                        told = Some(Instant::now());
                        self.worker.tell_to_end();
                    }
                }
            }
            if ready.message && !held.update(self.worker.link()) {
                return Ok(if told.is_some() { Ended::Told } else { Ended::Died });
            }
            if held.began_to_serve() {
                self.standby.may_start();
            }
            if told.is_some_and(|told| told.elapsed() > GRACE) {
                return Ok(Ended::Told);
            }
            if ready.standby {
                self.standby.lost();
            }
            if told.is_none() && !held.retired() {
                self.standby.start_if_due(self.arguments);
            }
        }
    }

    fn wait(&self, signals: &SignalFd, told: Option<Instant>, retired: bool) -> io::Result<Ready> {
        let mut descriptors = vec![
            PollFd::new(self.worker.link().as_fd(), PollFlags::POLLIN),
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
        ];
        if let Some(worker) = self.standby.worker() {
            descriptors.push(PollFd::new(worker.link().as_fd(), PollFlags::POLLIN));
        }
        let told = told.map(|_| Duration::from_millis(100));
        let due = self.standby.due_in().filter(|_| told.is_none() && !retired);
        match poll(&mut descriptors, timeout(told.or(due))) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let ready = |at: usize| descriptors.get(at).and_then(PollFd::any).unwrap_or(false);
        Ok(Ready { message: ready(0), signal: ready(1), standby: ready(2) })
    }
}

/// For poll, whose shortest time is a millisecond; it ends early at no harm.
fn timeout(after: Option<Duration>) -> PollTimeout {
    let Some(after) = after else { return PollTimeout::NONE };
    u16::try_from(after.as_millis() + 1).map_or(PollTimeout::MAX, PollTimeout::from)
}

/// The rest of the life of one that has handed over.
fn until_told(signals: &SignalFd) -> io::Result<()> {
    loop {
        while let Ok(Some(signal)) = signals.read_signal() {
            if is_end(signal.ssi_signo) {
                return Ok(());
            }
        }
        match poll(&mut [PollFd::new(signals.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

fn signals() -> nix::Result<SignalFd> {
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGTERM);
    mask.add(Signal::SIGINT);
    mask.thread_block()?;
    SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}

fn is_end(number: u32) -> bool {
    [Signal::SIGTERM, Signal::SIGINT]
        .iter()
        .any(|signal| u32::try_from(*signal as i32) == Ok(number))
}
