//! Growing a mounted file system to the size of its disk.

use std::path::{Path, PathBuf};
use std::thread;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

use super::tools::{DISK, Tool};
use super::{GROW_LIMIT, Pinned, errno};
use crate::kernel::{GrowTool, KernelError, MountEntry};

/// Grows what is mounted from the pinned disk at `path`; `mounts` is the mount table.
pub(super) fn grow(
    pin: &Pinned,
    path: &Path,
    fs: GrowTool,
    mounts: &[MountEntry],
) -> Result<(), KernelError> {
    let (device, lock) = (&pin.disk.name, pin.lock()?);
    let tool =
        |name, arguments| Tool { name, arguments, device, limit: GROW_LIMIT, success: &[0], lock };
    match fs {
        GrowTool::Resize2fs => {
            let read_only = |entry: &&MountEntry| {
                entry.device == pin.disk.number && entry.options.iter().any(|option| option == "ro")
            };
            let read_only: Vec<&PathBuf> =
                mounts.iter().filter(read_only).map(|entry| &entry.at).collect();
            let tool = tool("resize2fs", vec![DISK.to_owned()]);
            if read_only.is_empty() { tool.run() } else { run_without(&read_only, tool) }
        }
        GrowTool::XfsGrowfs => {
            tool("xfs_growfs", vec!["-d".to_owned(), path.display().to_string()]).run()
        }
    }
}

/// Runs a tool with a mount table of its own, in which these mounts are not.
///
/// resize2fs asks the kernel through the first mount of the disk that it finds in the mount table,
/// and the kernel refuses if that one is read-only (`ext2fs_check_mount_point` of libext2fs).
fn run_without(mounts: &[&PathBuf], tool: Tool<'_>) -> Result<(), KernelError> {
    let private = || {
        let (root, none) = (Path::new("/"), None::<&str>);
        // Of this thread and its children only; nothing of it reaches the node's mounts.
        unshare(CloneFlags::CLONE_NEWNS).map_err(errno("unshare", root))?;
        let flags = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(none, root, none, flags, none).map_err(errno("make private", root))?;
        for path in mounts {
            match umount2(path.as_path(), MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
                Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => {}
                Err(source) => return Err(errno("umount", path)(source)),
            }
        }
        tool.run()
    };
    thread::scope(|scope| match scope.spawn(private).join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}
