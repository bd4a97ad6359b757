//! One life of the virtual machine: QEMU and the SSH connection, from power-on to their end.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::captured::{self, poll};
use crate::disks::PORTS;
use crate::guest::Guest;
use crate::image::{Image, PrepareError};
use crate::namespace::{Namespace, NamespaceError, SpawnError, command};
use crate::run_dir::RunDirError;

/// Where the guest reaches 127.0.0.1 of the bed's network namespace (QEMU's user network).
pub const HOST_ADDRESS: &str = "10.0.2.2";

/// Enough for a node plugin and its tools.
pub(crate) const MEMORY_MIB: u32 = 2048;
/// Boots to try: a guest that hangs once in many boots is started over.
const ATTEMPTS: u32 = 3;
/// A boot that says nothing for so long hangs; a busy host needs a third of it.
const SILENCE: Duration = Duration::from_secs(45);
const CONNECT: Duration = Duration::from_secs(30);
/// The guest's SSH port, on 127.0.0.1 of the bed's own namespace.
const SSH_PORT: u16 = 22;

/// Why no guest is running.
#[derive(Debug, Error)]
pub enum BootError {
    /// Only root makes network namespaces.
    #[error("a guest machine needs root")]
    NotRoot,
    /// There is nothing to boot.
    #[error("the guest's root disk cannot be prepared")]
    Prepare(#[source] PrepareError),
    /// No folder to work in.
    #[error("the guest has no run folder")]
    RunDir(#[source] RunDirError),
    /// No namespace.
    #[error("the guest has no network")]
    Namespace(#[source] NamespaceError),
    /// A process did not start.
    #[error("part of the guest did not start")]
    Spawn(#[source] SpawnError),
    /// A file of the run folder cannot be used.
    #[error("cannot use {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The root overlay was not made.
    #[error("qemu-img cannot make the root overlay: {stderr}")]
    Overlay {
        /// What it said.
        stderr: String,
    },
    /// It did not become ready, however often it was started.
    #[error("the guest did not come up in {attempts} boots: {why}\n{log}")]
    NotReady {
        /// Boots tried.
        attempts: u32,
        /// What the last one died of.
        why: &'static str,
        /// The end of the console and of QEMU's messages.
        log: String,
    },
    /// It is running already.
    #[error("the guest is running; cut its power first")]
    Running,
}

/// QEMU and the SSH connection; both are killed when dropped.
#[derive(Debug)]
pub(crate) struct Machine {
    qemu: Child,
    ssh: Option<Child>,
}

impl Drop for Machine {
    fn drop(&mut self) {
        for child in self.ssh.iter_mut().chain([&mut self.qemu]) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Machine {
    /// Boots until a guest answers, and says how many boots that took.
    pub(crate) fn boot(
        namespace: &Namespace,
        image: &Image,
        run_dir: &Path,
        memory_mib: u32,
    ) -> Result<(Self, u32), BootError> {
        let mut why = "";
        for attempt in 1..=ATTEMPTS {
            match Self::try_boot(namespace, image, run_dir, memory_mib)? {
                Ok(machine) => return Ok((machine, attempt)),
                Err(reason) => why = reason,
            }
        }
        let log = ["qemu.log", "ssh.log", "console.log"]
            .map(|name| tail(&run_dir.join(name), 30))
            .concat();
        Err(BootError::NotReady { attempts: ATTEMPTS, why, log })
    }

    fn try_boot(
        namespace: &Namespace,
        image: &Image,
        run_dir: &Path,
        memory_mib: u32,
    ) -> Result<Result<Self, &'static str>, BootError> {
        let console = run_dir.join("console.log");
        let before = fs::read(&console).map_or(0, |log| log.len());
        let _ = fs::remove_file(run_dir.join("ssh"));
        let mut qemu = qemu(image, run_dir, memory_mib);
        log_to(&mut qemu, &run_dir.join("qemu.log"))?;
        let qemu = namespace.spawn(qemu).map_err(BootError::Spawn)?;
        let mut machine = Self { qemu, ssh: None };
        if let Err(why) = machine.await_ready(&console, before) {
            return Ok(Err(why));
        }
        let guest = Guest::new(run_dir);
        let mut ssh = command("ssh");
        ssh.arg("-F").arg(guest.ssh_config()).args(["-M", "-N"]);
        ssh.args(["-o", "ProxyCommand=none", "bed"]);
        log_to(&mut ssh, &run_dir.join("ssh.log"))?;
        machine.ssh = Some(namespace.spawn(ssh).map_err(BootError::Spawn)?);
        let control = guest.ssh_control();
        let up = poll(CONNECT, || {
            let ended = machine.ssh.as_mut().is_none_or(|ssh| !matches!(ssh.try_wait(), Ok(None)));
            if ended { Err(()) } else { Ok(control.exists().then_some(())) }
        });
        Ok(if up == Ok(Some(())) { Ok(machine) } else { Err("no SSH connection") })
    }

    /// Waits for the line that the guest's PID 1 prints last; a guest that falls silent hangs.
    fn await_ready(&mut self, console: &Path, before: usize) -> Result<(), &'static str> {
        let (mut length, mut heard) = (before, Instant::now());
        let ready = poll(SILENCE * 3, || {
            if !matches!(self.qemu.try_wait(), Ok(None)) {
                return Err("QEMU ended");
            }
            let log = fs::read(console).unwrap_or_default();
            if log.len() > length {
                (length, heard) = (log.len(), Instant::now());
            }
            let new = String::from_utf8_lossy(log.get(before..).unwrap_or_default()).into_owned();
            if new.contains("BED ready") {
                return Ok(Some(()));
            }
            if heard.elapsed() > SILENCE { Err("its console fell silent") } else { Ok(None) }
        })?;
        ready.ok_or("it was too slow")
    }
}

/// Writes the client's settings, so that every process reaches the guest by the run folder alone.
pub(crate) fn write_ssh_config(image: &Image, run_dir: &Path) -> Result<(), BootError> {
    let guest = Guest::new(run_dir);
    // Key exchange without post-quantum parts: under emulation those alone cost half a second.
    // ProxyCommand: a client that finds no connection to share must not make one of its own, which
    // would reach port 22 of whatever network the client is in.
    let text = format!(
        "Host bed\n HostName 127.0.0.1\n Port {SSH_PORT}\n User root\n IdentityFile {key}\n \
         IdentitiesOnly yes\n UserKnownHostsFile {known}\n HostKeyAlias bed\n BatchMode yes\n \
         KexAlgorithms curve25519-sha256\n Ciphers aes128-ctr\n MACs umac-64-etm@openssh.com\n \
         ControlPath {control}\n ProxyCommand false\n StreamLocalBindUnlink yes\n LogLevel ERROR\n",
        key = image.key().display(),
        known = image.known_hosts().display(),
        control = guest.ssh_control().display(),
    );
    let path = guest.ssh_config();
    fs::write(&path, text).map_err(|source| BootError::File { path, source })
}

/// Makes the guest's root disk of this run: the changes over the image.
pub(crate) fn make_overlay(image: &Image, run_dir: &Path) -> Result<(), BootError> {
    let path = run_dir.join("root.qcow2");
    let mut command = Command::new("qemu-img");
    command.args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"]).arg(image.root()).arg(&path);
    let made = captured::run(command, &[], CONNECT)
        .map_err(|error| BootError::Overlay { stderr: error.to_string() })?;
    let stderr = String::from_utf8_lossy(&made.stderr).trim().to_owned();
    if made.status.success() { Ok(()) } else { Err(BootError::Overlay { stderr }) }
}

/// The last `lines` of a file, or nothing.
pub(crate) fn tail(path: &Path, lines: usize) -> String {
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let all: Vec<&str> = text.lines().collect();
    all.iter().skip(all.len().saturating_sub(lines)).flat_map(|line| [*line, "\n"]).collect()
}

fn log_to(command: &mut Command, path: &Path) -> Result<(), BootError> {
    let open = || {
        let log = File::options().create(true).append(true).open(path)?;
        Ok((log.try_clone()?, log))
    };
    let (out, err) = open().map_err(|source| BootError::File { path: path.to_owned(), source })?;
    command.stdout(Stdio::from(out)).stderr(Stdio::from(err));
    Ok(())
}

fn qemu(image: &Image, run_dir: &Path, memory_mib: u32) -> Command {
    let at = |name: &str| run_dir.join(name).display().to_string();
    let mut qemu = command("qemu-system-x86_64");
    // One virtual CPU: two have been seen to lock up under TCG, and one leaves the host a core.
    qemu.args(["-machine", "q35", "-accel", "tcg,thread=single,tb-size=512", "-cpu", "max"]);
    qemu.args(["-smp", "1", "-m", &memory_mib.to_string()]);
    qemu.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
    qemu.arg("-kernel").arg(image.kernel());
    // A panic or a lockup ends QEMU (-no-reboot), which the host notices. Without multipath each
    // NVMe disk has one controller and one name, as on EC2.
    qemu.args([
        "-append",
        "root=/dev/nvme0n1 rw init=/sbin/bed-init console=ttyS0 loglevel=4 panic=-1 \
         softlockup_panic=1 mitigations=off nokaslr no5lvl nvme_core.multipath=N",
    ]);
    // Flushes are kept here: qcow2 holds metadata in QEMU's memory, and power is cut on purpose.
    let root = format!("file={},if=none,id=root,cache=writeback", at("root.qcow2"));
    qemu.args(["-drive", &root, "-device", "nvme,drive=root,serial=root"]);
    let net = format!("user,id=net,hostfwd=tcp:127.0.0.1:{SSH_PORT}-10.0.2.15:22");
    qemu.args(["-netdev", &net, "-device", "virtio-net-pci,netdev=net,romfile="]);
    for port in 0..PORTS {
        // Eight functions to a slot: a q35 board has fewer slots than we want ports.
        let (slot, function) = (8 + port / 8, port % 8);
        let first = if function == 0 { ",multifunction=on" } else { "" };
        let device = format!(
            "pcie-root-port,id=port{port},chassis={n},slot={n},addr={slot:#x}.{function:#x}{first}",
            n = port + 1
        );
        qemu.args(["-device", &device]);
    }
    let console = format!("file,id=console,path={},append=on", at("console.log"));
    qemu.args(["-chardev", &console, "-serial", "chardev:console"]);
    qemu.args(["-qmp", &format!("unix:{},server=on,wait=off", at("qmp.sock"))]);
    qemu
}
