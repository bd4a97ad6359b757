//! The NFS client of this machine. Every system call that may wait for a server runs in a thread of
//! its own, since a pool of them would fill up with those that hang.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use csi_serve::runtime;
use nix::mount::MntFlags;
use nix::sys::statvfs::statvfs;
use sys_mount::{Mount, UnmountFlags};

use super::{Linux, UNMOUNT, at, call, errno, mount_flags, unmount_with, usage_of};
use crate::kernel::nfs::{Nfs, NfsStep};
use crate::kernel::{Kernel, KernelError, MountEntry, Usage};

/// Reads of the mount table until two agree: while mounts come and go, one alone may lack entries.
const READS: usize = 5;
/// The file system type for mount(2).
const TYPE: &str = "nfs4";
const DETACH: UnmountFlags =
    UnmountFlags::from_bits_retain(MntFlags::UMOUNT_NOFOLLOW.bits() | MntFlags::MNT_DETACH.bits());

impl Nfs for Linux {
    fn mounts(&self) -> Result<Vec<MountEntry>, KernelError> {
        let mut last = Kernel::mounts(self)?;
        for _ in 0..READS {
            let again = Kernel::mounts(self)?;
            if again == last {
                break;
            }
            last = again;
        }
        Ok(last)
    }

    fn servers(&self) -> Result<BTreeSet<u16>, KernelError> {
        let path = Path::new("/proc/fs/nfsfs/servers");
        match fs::read_to_string(path) {
            Ok(table) => Ok(loopback_ports(&table)),
            // The client is not loaded, so it has no server.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeSet::new()),
            Err(error) => Err(at("read", path)(error)),
        }
    }

    async fn resolve(&self, path: &Path) -> Result<PathBuf, KernelError> {
        let (linux, path) = (self.clone(), path.to_owned());
        apart(move || Kernel::resolve(&linux, &path)).await
    }

    async fn take(&self, step: NfsStep) -> Result<(), KernelError> {
        let sysfs = self.sysfs.clone();
        apart(move || do_step(&sysfs, &step)).await
    }

    async fn usage(&self, path: &Path) -> Result<Usage, KernelError> {
        let path = path.to_owned();
        apart(move || {
            let found = statvfs(&path).map_err(errno("statvfs", &path))?;
            Ok(usage_of(&found))
        })
        .await
    }
}

fn do_step(sysfs: &Path, step: &NfsStep) -> Result<(), KernelError> {
    match step {
        NfsStep::MakeDir(path) => {
            let made = DirBuilder::new().recursive(true).mode(0o750).create(path);
            made.map_err(at("mkdir", path))
        }
        NfsStep::Mount { path, at, flags, data } => {
            let source = format!("127.0.0.1:{path}");
            let mount = Mount::builder().fstype(TYPE).flags(mount_flags(*flags)).data(data);
            // What is mounted stays when this handle is dropped.
            mount.mount(&source, at).map(drop).map_err(|error| {
                let object = format!("{source:?} as {TYPE} ({data}) at {}", at.display());
                call("mount", object, error)
            })
        }
        NfsStep::ReadAhead { device, kib } => {
            let path = sysfs.join(format!("class/bdi/{device}/read_ahead_kb"));
            fs::write(&path, kib.to_string()).map_err(at("write", &path))
        }
        NfsStep::Unmount(path) => unmount_with(path, UNMOUNT),
        NfsStep::Detach(path) => unmount_with(path, DETACH),
        NfsStep::Remove(path) => match fs::remove_dir(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at("rmdir", path)(error)),
            _ => Ok(()),
        },
    }
}

/// Runs a system call that may hang in a thread of its own. If the future is dropped, it goes on.
async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, KernelError> + Send + 'static,
) -> Result<T, KernelError> {
    let ended = runtime::apart("nfs", work).await;
    ended.map_err(|source| call("run a thread for", "a system call", source))?
}

/// The ports at 127.0.0.1 in the kernel's table: a header, then per line version, address and port,
/// both in hex, uses, name. Source: Linux, `fs/nfs/client.c`, `nfs_server_list_show`.
fn loopback_ports(table: &str) -> BTreeSet<u16> {
    let port = |line: &str| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let address = fields.next()?;
        let port = u16::from_str_radix(fields.next()?, 16).ok()?;
        (address == "7f000001").then_some(port)
    };
    table.lines().skip(1).filter_map(port).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_at_the_loopback_are_read_from_the_kernels_table() {
        let table = "NV SERVER   PORT USE HOSTNAME\n\
                     v4 7f000001 4e51   1 127.0.0.1\n\
                     v4 0a00020f  801   2 10.0.2.15\n\
                     v4 7f000001  801   1 127.0.0.1\n\
                     nonsense\n";
        assert_eq!(loopback_ports(table), [2049, 0x4e51].into());
        assert!(loopback_ports("").is_empty());
    }

    #[tokio::test]
    async fn a_step_that_changes_nothing_is_no_error_and_a_new_directory_is_private() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        let linux = Linux::new("/sys".into(), "/dev".into());
        linux.take(NfsStep::MakeDir(path.clone())).await.unwrap();
        linux.take(NfsStep::MakeDir(path.clone())).await.unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o750);
        linux.take(NfsStep::Unmount(path.clone())).await.unwrap();
        linux.take(NfsStep::Detach(path.clone())).await.unwrap();
        for _ in 0..2 {
            linux.take(NfsStep::Remove(path.clone())).await.unwrap();
        }
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn the_mount_table_is_read_and_a_file_system_measured() {
        let linux = Linux::new("/sys".into(), "/dev".into());
        assert!(Nfs::mounts(&linux).unwrap().iter().any(|entry| entry.at == Path::new("/")));
        assert!(Nfs::usage(&linux, Path::new("/proc")).await.is_ok());
        let gone = Nfs::usage(&linux, Path::new("/nothing/here")).await.unwrap_err();
        assert_eq!(gone.to_string(), "statvfs /nothing/here");
    }
}
