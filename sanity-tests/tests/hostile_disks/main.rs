//! Disks that lie, fail, vanish and come back, in the guest: the node never formats what is not
//! proved blank, says which disk and why, and goes on by itself when the disk is well again.

mod errors;
mod held;
mod swapped;
mod vanished;

use anyhow::Result;
use sanity_tests::mkfs_log::{MkfsLog, on_logged_stand};
use sanity_tests::stand::{Settings, Stand};

fn settings() -> Settings {
    // A disk may be late, so it is waited for before it is refused.
    Settings { node_arguments: &["--device-timeout=1s"], ..Settings::quick() }
}

fn on_stand(test: impl AsyncFnOnce(&mut Stand, &MkfsLog) -> Result<()>) -> Result<()> {
    on_logged_stand(settings, test)
}
