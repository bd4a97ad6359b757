//! A network namespace without a name, held by one thread, in which children are started.
//!
//! `unshare(2)` moves the calling thread only, and a child inherits its parent thread's namespace.
//! `PR_SET_PDEATHSIG` fires when the parent *thread* ends (`prctl(2)`), so the thread stays for as
//! long as its children may live.

use std::ffi::OsStr;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};

use nix::sched::{CloneFlags, unshare};
use thiserror::Error;

const GUARD: &str = "setpriv";

/// Why there is no namespace.
#[derive(Debug, Error)]
pub enum NamespaceError {
    /// The thread did not start.
    #[error("cannot start the thread that holds the network namespace")]
    Thread(#[source] io::Error),
    /// `unshare(2)` refused.
    #[error("cannot make a network namespace (it needs root)")]
    Unshare(#[source] nix::Error),
    /// The loopback interface stayed down.
    #[error("cannot run `ip link set lo up`")]
    Loopback(#[source] io::Error),
    /// The loopback interface stayed down.
    #[error("`ip link set lo up` failed with {0}")]
    LoopbackRefused(ExitStatus),
    /// The thread ended early.
    #[error("the thread that holds the network namespace ended")]
    Gone,
}

/// Why a process was not started beside the guest.
#[derive(Debug, Error)]
pub enum SpawnError {
    /// It was not made by [`command`] and would outlive a killed test.
    #[error("{program} must be built with csi_bed::command, so that it dies with the bed")]
    Unguarded {
        /// Its name.
        program: String,
    },
    /// The thread ended early.
    #[error("the thread that holds the network namespace ended")]
    Gone,
    /// It did not start.
    #[error("cannot start {program}")]
    Start {
        /// Its name.
        program: String,
        /// The system's reason.
        source: io::Error,
    },
}

/// A command for [`crate::Bed::spawn`]: runs `program` so that it is killed with the bed.
///
/// Arguments, environment, folder and standard streams are the caller's to set.
#[must_use]
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(GUARD);
    // Its own process group: Ctrl-C in a terminal reaches the test, which decides what follows.
    command.args(["--pdeathsig", "KILL", "--"]).arg(program).process_group(0).stdin(Stdio::null());
    command
}

type Job = Box<dyn FnOnce() + Send>;

/// The namespace; dropping it kills all that was started in it.
#[derive(Debug)]
pub(crate) struct Namespace {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Namespace {
    pub(crate) fn new() -> Result<Self, NamespaceError> {
        let (jobs, inbox) = mpsc::channel::<Job>();
        let (ready, entered) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("bed".to_owned())
            .spawn(move || {
                let outcome = enter();
                let failed = outcome.is_err();
                if ready.send(outcome).is_err() || failed {
                    return;
                }
                for job in inbox {
                    job();
                }
            })
            .map_err(NamespaceError::Thread)?;
        entered.recv().map_err(|_gone| NamespaceError::Gone)??;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Starts a command that was built by [`command`].
    pub(crate) fn spawn(&self, mut command: Command) -> Result<Child, SpawnError> {
        let guarded = command.get_program() == GUARD;
        let name = if guarded { command.get_args().nth(3) } else { None };
        let program = name.unwrap_or_else(|| command.get_program()).to_string_lossy().into_owned();
        if !guarded {
            return Err(SpawnError::Unguarded { program });
        }
        self.run(move || command.spawn())
            .ok_or(SpawnError::Gone)?
            .map_err(|source| SpawnError::Start { program, source })
    }

    /// Runs `act` on the namespace's thread; a socket made there stays in the namespace for life.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        act: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (reply, answer) = mpsc::channel();
        // A caller that has gone away drops the answer; a child in it dies with the thread.
        let job = Box::new(move || drop(reply.send(act())));
        self.jobs.as_ref()?.send(job).ok()?;
        answer.recv().ok()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn enter() -> Result<(), NamespaceError> {
    unshare(CloneFlags::CLONE_NEWNET).map_err(NamespaceError::Unshare)?;
    let status = Command::new("ip")
        .args(["link", "set", "lo", "up"])
        .status()
        .map_err(NamespaceError::Loopback)?;
    if status.success() { Ok(()) } else { Err(NamespaceError::LoopbackRefused(status)) }
}
