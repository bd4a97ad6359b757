//! What only a real kernel shows: growing under a writer, clones, journals, many disks at once,
//! several mounts of one volume, a disk that does not answer, a node that shuts down.

mod many;
mod mounts;
mod silent;
mod written;

use std::time::Duration;

use anyhow::Result;
use sanity_tests::mkfs_log::MkfsLog;
use sanity_tests::stand::{Settings, Stand, on_shared_stand};
use tokio::task::block_in_place;

fn on_stand(test: impl AsyncFnOnce(&mut Stand, &MkfsLog) -> Result<()>) -> Result<()> {
    on_shared_stand(Settings::quick, async |stand| {
        let log = block_in_place(|| MkfsLog::install(stand.guest(), Duration::ZERO))?;
        test(stand, &log).await
    })
}
