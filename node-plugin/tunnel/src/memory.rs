//! Memory that must not go away when the node runs short of it: writing dirty pages back to EFS
//! needs the tunnel, so the tunnel must not wait for memory that is freed by writing them back.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rustix::mm::{MlockAllFlags, mlockall};

/// Bit of `CAP_IPC_LOCK` in a capability set. Source: capabilities(7).
const IPC_LOCK: u64 = 1 << 14;

/// Locks every page once it was touched, and allows as many descriptors as the system does.
pub(crate) fn prepare(lock: bool) {
    if let Err(error) = raise_descriptors() {
        tracing::warn!(%error, "the number of descriptors was not raised");
    }
    if !lock {
        return;
    }
    // Without the right, locking future pages would make every later allocation fail.
    if !may_lock() {
        tracing::warn!("memory is not locked: CAP_IPC_LOCK is missing and the limit is finite");
        return;
    }
    let flags = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    if let Err(error) = mlockall(flags) {
        tracing::warn!(%error, "memory is not locked");
    }
}

fn raise_descriptors() -> nix::Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)
}

fn may_lock() -> bool {
    let unlimited =
        getrlimit(Resource::RLIMIT_MEMLOCK).is_ok_and(|(now, _)| now == nix::libc::RLIM_INFINITY);
    unlimited || capabilities().is_some_and(|set| set & IPC_LOCK != 0)
}

fn capabilities() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}
