//! What only a real kernel shows: growing under a writer, clones, journals, many disks at once,
//! several mounts of one volume, a disk that does not answer, a node that shuts down.

mod many;
mod mounts;
mod silent;
mod written;

use anyhow::Result;
use sanity_tests::mkfs_log::{MkfsLog, on_logged_stand};
use sanity_tests::stand::{Settings, Stand};

fn on_stand(test: impl AsyncFnOnce(&mut Stand, &MkfsLog) -> Result<()>) -> Result<()> {
    on_logged_stand(Settings::quick, test)
}
