//! The bed: a guest machine with all that it needs, owned by one value.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::unistd::geteuid;

use crate::guest::Guest;
use crate::image::Image;
use crate::machine::{self, BootError, Machine};
use crate::namespace::{Namespace, SpawnError};
use crate::qmp::{Qmp, QmpError};
use crate::run_dir::RunDir;

const CONNECT: Duration = Duration::from_secs(10);

/// What the guest finds on its root disk after a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Root {
    /// What it had written and flushed.
    Kept,
    /// The image as built.
    Fresh,
}

/// A guest machine. Dropping it ends the guest and everything started beside it.
#[derive(Debug)]
pub struct Bed {
    // In the order of dropping: machine, then namespace with all processes, then their folder.
    machine: Mutex<Option<Machine>>,
    boots: AtomicU32,
    guest: Guest,
    memory_mib: u32,
    image: Image,
    namespace: Namespace,
    run_dir: RunDir,
}

impl Bed {
    /// Builds the guest if it is not in the cache, and boots it.
    ///
    /// # Errors
    /// When not root, when a part is missing, or when the guest did not come up in three boots.
    pub fn boot() -> Result<Self, BootError> {
        Self::boot_with_memory(machine::MEMORY_MIB)
    }

    /// The same with so many MiB of memory.
    ///
    /// # Errors
    /// As [`Bed::boot`].
    pub fn boot_with_memory(memory_mib: u32) -> Result<Self, BootError> {
        if !geteuid().is_root() {
            return Err(BootError::NotRoot);
        }
        let image = Image::prepare().map_err(BootError::Prepare)?;
        let run_dir = RunDir::new(&image.cache().join("run")).map_err(BootError::RunDir)?;
        let namespace = Namespace::new().map_err(BootError::Namespace)?;
        machine::write_ssh_config(&image, run_dir.path())?;
        machine::make_overlay(&image, run_dir.path())?;
        let bed = Self {
            machine: Mutex::new(None),
            boots: AtomicU32::new(0),
            guest: Guest::new(run_dir.path()),
            memory_mib,
            image,
            namespace,
            run_dir,
        };
        bed.boot_again(Root::Kept)?;
        Ok(bed)
    }

    /// The running guest.
    #[must_use]
    pub fn guest(&self) -> &Guest {
        &self.guest
    }

    /// The folder of this bed's sockets, logs and files, removed with it. Put sockets for
    /// [`Guest::forward_to_guest`] and files of disks here.
    #[must_use]
    pub fn run_dir(&self) -> &Path {
        self.run_dir.path()
    }

    /// Boots so far, those that hung included: 1 when all is well.
    #[must_use]
    pub fn boots(&self) -> u32 {
        self.boots.load(Ordering::Relaxed)
    }

    /// The guest's console: warnings and errors of its kernel, over all boots.
    #[must_use]
    pub fn console(&self) -> PathBuf {
        self.run_dir().join("console.log")
    }

    /// The last `lines` of the console, for the message of a test that fails.
    #[must_use]
    pub fn console_tail(&self, lines: usize) -> String {
        machine::tail(&self.console(), lines)
    }

    /// Starts a process of this host in the guest's network namespace; it is killed with the bed.
    ///
    /// `command` must come from [`crate::command`]. The guest reaches its ports on 127.0.0.1 at
    /// [`crate::HOST_ADDRESS`].
    pub fn spawn(&self, command: Command) -> Result<Child, SpawnError> {
        self.namespace.spawn(command)
    }

    /// Connects to a port in the guest's network namespace, on its 127.0.0.1 as a rule.
    ///
    /// Only the making of a socket cares for the namespace: the stream works in any thread.
    pub fn connect(&self, address: SocketAddr) -> io::Result<TcpStream> {
        self.namespace
            .run(move || TcpStream::connect_timeout(&address, CONNECT))
            .unwrap_or_else(|| Err(io::ErrorKind::NotConnected.into()))
    }

    /// Listens on a port of the guest's network namespace, for a server within this process.
    pub fn bind(&self, address: SocketAddr) -> io::Result<TcpListener> {
        self.namespace
            .run(move || TcpListener::bind(address))
            .unwrap_or_else(|| Err(io::ErrorKind::NotConnected.into()))
    }

    /// A connection to `address`, an address and port of the guest's network namespace, reaches
    /// `port` of the guest. Lasts until the guest loses power.
    pub fn forward_port(&self, address: SocketAddr, port: u16) -> Result<(), QmpError> {
        // Only the monitor for people has this command; it answers nothing if all is well.
        let line = format!("hostfwd_add net tcp:{address}-:{port}");
        let command = "human-monitor-command";
        let answer = Qmp::open(self.run_dir())?
            .execute(command, &serde_json::json!({ "command-line": line }))?;
        match answer.as_str().map(str::trim) {
            Some("") => Ok(()),
            _ => Err(QmpError::Refused { command: line, reason: answer.to_string() }),
        }
    }

    /// Ends the guest at once, as a power cut does. Files of disks keep what the guest had written
    /// to them; forwarded sockets and plugged disks are gone.
    pub fn power_cut(&self) {
        let machine = self.machine.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(machine);
    }

    /// Boots after [`Bed::power_cut`]. Disks, forwards and programs are the caller's to bring back.
    pub fn boot_again(&self, root: Root) -> Result<(), BootError> {
        let mut machine = self.machine.lock().unwrap_or_else(PoisonError::into_inner);
        if machine.is_some() {
            return Err(BootError::Running);
        }
        if root == Root::Fresh {
            machine::make_overlay(&self.image, self.run_dir())?;
        }
        let (running, boots) =
            Machine::boot(&self.namespace, &self.image, self.run_dir(), self.memory_mib)?;
        self.boots.fetch_add(boots, Ordering::Relaxed);
        *machine = Some(running);
        drop(machine);
        Ok(())
    }
}
