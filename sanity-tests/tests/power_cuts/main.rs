//! The node loses its power at random moments of a volume's life. Afterwards kubelet's calls are
//! repeated, on the same node or, as after a move of the volume, on a node that has never seen it:
//! every file that was synced is whole, and no file system with data is ever made again.
//!
//! `CSI_SEED` repeats a run's choices, `CSI_CUTS` makes it longer.
#![expect(clippy::print_stdout, reason = "the figures belong into the log of a run")]

mod node_volume;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use csi_bed::Root;
use sanity_tests::random::{Random, seed, setting};
use sanity_tests::stand::{Settings, Stand, on_shared_stand};
use tokio::time::{Instant, sleep};

use node_volume::NodeVolume;

/// Cuts of each file system and kind of moment.
const CUTS: u64 = 2;
const FILE_SYSTEMS: [&str; 2] = ["ext4", "xfs"];

/// What the guest comes back with.
#[derive(Debug, Clone, Copy)]
enum Comeback {
    SameNode,
    OtherNode,
}

impl Comeback {
    fn root(self) -> Root {
        match self {
            Self::SameNode => Root::Kept,
            Self::OtherNode => Root::Fresh,
        }
    }
}

/// Runs `case` for each file system and cut, with a moment that is drawn for it.
fn at_moments(
    what: &str,
    within_ms: u64,
    case: &impl AsyncFn(&Stand, &'static str, Duration, Comeback) -> Result<()>,
) -> Result<()> {
    let seed = seed();
    let cuts = setting("CSI_CUTS").unwrap_or(CUTS);
    on_shared_stand(Settings::quick, async |stand| {
        let mut random = Random::new(seed);
        let began = Instant::now();
        for fs in FILE_SYSTEMS {
            for cut in 0..cuts {
                let moment = random.up_to_ms(within_ms);
                let comeback = if cut % 2 == 0 { Comeback::OtherNode } else { Comeback::SameNode };
                let done = case(stand, fs, moment, comeback).await;
                done.with_context(|| {
                    format!("CSI_SEED={seed}: {fs}, cut after {moment:?}, {comeback:?}")
                })?;
            }
        }
        let (all, took) = (cuts * 2, began.elapsed().as_secs_f64());
        println!("power cuts, {what}: CSI_SEED={seed}, {all} cuts, {took:.1} s");
        Ok(())
    })
}

/// Cuts the power `moment` after `call` began, and boots again.
async fn cut_during(
    stand: &Stand,
    moment: Duration,
    comeback: Comeback,
    call: impl Future<Output = Result<()>> + Send + 'static,
) -> Result<()> {
    let call = tokio::spawn(call);
    sleep(moment).await;
    stand.cut_power();
    call.abort();
    stand.boot_again(comeback.root()).await
}

#[test]
fn a_power_cut_while_a_volume_is_formatted_ends_in_one_whole_file_system() -> Result<()> {
    at_moments("formatting", 500, &async |stand: &Stand, fs, moment, comeback| {
        let volume = NodeVolume::attached(stand, fs).await?;
        cut_during(stand, moment, comeback, volume.clone().stage()).await?;
        volume.used_again(stand).await?;
        volume.write("after").await?;
        volume.restaged_without_mkfs(stand).await?;
        volume.end(stand).await
    })
}

#[test]
fn what_was_synced_before_a_power_cut_is_there_on_this_node_and_on_another() -> Result<()> {
    at_moments("writing", 1_500, &async |stand: &Stand, fs, moment, comeback| {
        let volume = NodeVolume::in_use(stand, fs).await?;
        volume.write("before").await?;
        let writer = volume.clone();
        let written = tokio::spawn(async move { writer.write_until_the_end().await });
        sleep(moment).await;
        stand.cut_power();
        let written = written.await?;
        stand.boot_again(comeback.root()).await?;
        volume.used_again_without_mkfs(stand).await?;
        volume.check("before").await?;
        for file in &written {
            volume.check(file).await?;
        }
        volume.end(stand).await
    })
}

#[test]
fn a_power_cut_while_a_file_system_grows_leaves_it_whole_and_it_fills_its_disk_in_the_end()
-> Result<()> {
    at_moments("growing", 300, &async |stand: &Stand, fs, moment, comeback| {
        let volume = NodeVolume::in_use(stand, fs).await?;
        volume.write("before").await?;
        let bytes = volume.expand_disk(stand, 3).await?;
        cut_during(stand, moment, comeback, volume.clone().grow(bytes)).await?;
        volume.used_again_without_mkfs(stand).await?;
        volume.check("before").await?;
        ensure!(volume.size()? > 5 << 29, "it has {} bytes of 3 GiB", volume.size()?);
        volume.end(stand).await
    })
}

#[test]
fn a_power_cut_while_a_volume_is_unstaged_leaves_nothing_mounted_and_nothing_lost() -> Result<()> {
    at_moments("unstaging", 200, &async |stand: &Stand, fs, moment, comeback| {
        let volume = NodeVolume::in_use(stand, fs).await?;
        volume.write("before").await?;
        cut_during(stand, moment, comeback, volume.clone().leave()).await?;
        // Kubelet goes on with what it had begun, though the reboot has unmounted everything.
        volume.clone().leave().await?;
        volume.used_again_without_mkfs(stand).await?;
        volume.check("before").await?;
        volume.end(stand).await
    })
}
