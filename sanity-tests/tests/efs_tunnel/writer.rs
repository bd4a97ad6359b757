//! A pod that writes 64 KiB and syncs, again and again, while the tunnel under it is killed and
//! upgraded.

use std::time::Duration;

use anyhow::Result;
use sanity_tests::pod::{Pod, Writer};
use tokio::time::{Instant, sleep_until};

use super::{number, on_efs};

const PATIENCE: Duration = Duration::from_mins(1);

#[test]
fn a_writer_loses_nothing_by_three_upgrades_three_dead_workers_and_one_dead_tunnel() -> Result<()> {
    on_efs(async |stand, efs| {
        let end = Instant::now() + Duration::from_secs(number("EFS_SECONDS", 20));
        let pod = Pod::start(stand, efs, "pvc-writer").await?;
        let writer = Writer::start(&pod)?;
        writer.goes_on(PATIENCE).await?;
        let quiet = writer.longest_stall()?;
        let mut stalls = [Duration::ZERO; 3];
        for round in 0..7 {
            let before = writer.writes()?;
            let kind = if round == 6 { 2 } else { round % 2 };
            match kind {
                0 => efs.kill_tunnel_worker(stand)?,
                1 => efs.upgrade_tunnel(stand).await?,
                _ => {
                    efs.kill_tunnel(stand)?;
                    efs.start_tunnel(stand).await?;
                }
            }
            writer.goes_on(PATIENCE).await?;
            let stall = writer.longest_stall_since(before)?;
            if let Some(longest) = stalls.get_mut(kind) {
                *longest = stall.max(*longest);
            }
        }
        sleep_until(end).await;
        let count = writer.stop_and_check()?;
        let [worker, upgrade, tunnel] = stalls;
        println!(
            "efs: {count} synced writes; the longest took {quiet:?} in quiet, {worker:?} with three \
             dead workers, {upgrade:?} with three upgrades, {tunnel:?} with a dead tunnel"
        );
        pod.end().await
    })
}
