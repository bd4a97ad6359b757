//! The data plane of EFS in the guest: what pods feel of deaths and upgrades of the tunnel and of
//! mount targets that say nothing. One stand for all. `EFS_SECONDS` (20) is how long the writer
//! writes, `EFS_PODS` (40) how many pods come and go.
#![expect(clippy::print_stdout, reason = "the figures belong into the log of a run")]

mod storm;
mod targets;
mod writer;

use anyhow::Result;
use csi_sim::targets::has_nfs_server;
use sanity_tests::stand::{Efs, Stand, on_shared_efs};

fn on_efs(test: impl AsyncFnOnce(&Stand, &Efs) -> Result<()>) -> Result<()> {
    if !has_nfs_server() {
        println!("SKIPPED: nfs-ganesha is not installed");
        return Ok(());
    }
    on_shared_efs(test)
}

/// A number that whoever runs the test may choose.
fn number(variable: &str, usual: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}
