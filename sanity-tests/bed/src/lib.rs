//! A throw-away Linux machine with NVMe disks that look like EBS, for tests and the demo.
//!
//! [`Bed::boot`] gives a running guest in about six seconds, under QEMU without hardware
//! virtualisation; dropping the [`Bed`] leaves nothing behind. The guest is Debian without a
//! service manager: a shell script as PID 1, udev, an SSH server, the kernel's NVMe target.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let bed = csi_bed::Bed::boot()?;
//! let guest = bed.guest();
//! let file = bed.run_dir().join("disk");
//! std::fs::File::create(&file)?.set_len(10 << 30)?;
//! let device = guest.disks().attach("vol0123456789abcdef0", &file)?;
//! guest.run(&format!("mkfs.ext4 -q {device} && mount {device} /mnt"))?;
//! # Ok(())
//! # }
//! ```
//!
//! # How it holds together
//!
//! - **Network.** Each bed has a network namespace without a name, made by a thread of its own
//!   ([`Bed::spawn`] starts further processes in it). The guest reaches that namespace's 127.0.0.1
//!   at [`HOST_ADDRESS`]. No address or port of the machine is touched.
//! - **Death.** Everything started in the namespace dies with the thread, even after `kill -9` of
//!   this process (`prctl(2)`, `PR_SET_PDEATHSIG`); a small shell then removes the run folder.
//! - **Commands, sockets.** OpenSSH with one multiplexed connection: a command costs a tenth of a
//!   second, Unix sockets are forwarded both ways ([`Guest::forward_to_guest`],
//!   [`Guest::forward_to_host`]) as plain files of the run folder.
//! - **Files.** SSH moves 5 MB/s under emulation, so files travel as a disk that is plugged for the
//!   purpose: 40 MB take about a second.
//! - **Disks.** See [`Disks`]. Any process may plug them: [`Guest::open`] with the run folder.
//!
//! The interface blocks; asynchronous callers wrap it in `spawn_blocking`. [`Bed`] and [`Guest`]
//! may be shared between threads.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test harness that runs a virtual machine: it forks, and it measures real time"
)]

mod bed;
mod captured;
mod copy;
mod disks;
mod guest;
mod image;
mod machine;
mod namespace;
mod qmp;
mod run_dir;

pub use bed::{Bed, Root};
pub use captured::CaptureError;
pub use copy::CopyError;
pub use disks::{Disk, DiskError, DiskKind, Disks, PORTS};
pub use guest::{Guest, GuestError, GuestOutput, OpenError};
pub use image::PrepareError;
pub use machine::{BootError, HOST_ADDRESS};
pub use namespace::{NamespaceError, SpawnError, command};
pub use qmp::QmpError;
pub use run_dir::RunDirError;
