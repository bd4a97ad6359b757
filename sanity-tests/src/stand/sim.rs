//! The simulated AWS beside a bed, whose guest is its instance [`NODE_ID`].

use std::time::Duration;

use anyhow::{Context, Result};
use csi_bed::Bed;
use csi_sim::seed::Seed;
use csi_sim::server::Announcement;
use serde_json::json;

use super::NODE_ID;
use super::program::{HostProgram, until};

/// Starts it; with `efs` also the mount targets, on addresses that it adds to the namespace's `lo`.
pub async fn start_sim(bed: &Bed, seed: &Seed, efs: bool) -> Result<(HostProgram, Announcement)> {
    let run_dir = bed.run_dir();
    let seed_file = run_dir.join("seed.json");
    std::fs::write(&seed_file, json!(seed).to_string())?;
    let announced = run_dir.join("aws-sim.json");
    let mut sim = HostProgram::new("aws-sim", run_dir);
    sim.arguments = vec![
        format!("--seed={}", seed_file.display()),
        format!("--imds={NODE_ID}=0"),
        format!("--address-file={}", announced.display()),
        format!("--admin-socket={}", run_dir.join("admin.sock").display()),
        format!("--guest={NODE_ID}={}", run_dir.display()),
        format!("--disks={}", run_dir.join("disks").display()),
    ];
    if efs {
        sim.arguments.push(format!("--efs={}", run_dir.join("efs").display()));
        sim.arguments.push("--target-interface=lo".to_owned());
    }
    sim.start(bed)?;
    let read = || std::fs::read(&announced).ok();
    let line = until(Duration::from_secs(10), read).await;
    let line = line.with_context(|| sim.log_tail())?;
    Ok((sim, serde_json::from_slice(&line)?))
}
