//! Many pods on four file systems come and go while the node plugin and the tunnel are killed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use sanity_tests::pod::Pod;
use sanity_tests::stand::{FILE_SYSTEM, OTHERS};
use tokio::time::{Instant, sleep};

use super::{number, on_efs};

/// Pods that come and go at once.
const AT_ONCE: u64 = 8;

#[test]
fn pods_that_come_and_go_amid_kills_read_their_own_markers_and_leave_nothing() -> Result<()> {
    on_efs(async |stand, efs| {
        let count = number("EFS_PODS", 40);
        let mut volumes = Vec::new();
        for (number, file_system) in [FILE_SYSTEM].iter().chain(&OTHERS).enumerate() {
            volumes.push(Pod::start_on(stand, efs, &format!("pvc-{number}"), file_system).await?);
        }
        let begun = Instant::now();
        let over = AtomicBool::new(false);
        let worker = async |first: u64| -> Result<()> {
            for number in (first..count).step_by(usize::try_from(AT_ONCE)?) {
                let index = usize::try_from(number)? % volumes.len();
                let Some(volume) = volumes.get(index) else { continue };
                let pod = volume.beside(&format!("pod-of-{number}")).await?;
                let read =
                    pod.run(&format!("echo {number}-{index} >m{number} && cat m{number}"))?;
                ensure!(read.trim() == format!("{number}-{index}"), "pod {number} read {read}");
                pod.leave().await?;
            }
            Ok(())
        };
        let pods = async {
            let done = futures_of((0..AT_ONCE).map(worker)).await;
            over.store(true, Ordering::Relaxed);
            done
        };
        let kills = async {
            let mut kills = 0_u32;
            while !over.load(Ordering::Relaxed) {
                sleep(Duration::from_millis(1_500)).await;
                match kills % 3 {
                    0 => efs.kill_tunnel_worker(stand)?,
                    1 => {
                        efs.kill_node(stand)?;
                        efs.start_node(stand).await?;
                    }
                    _ => {
                        efs.kill_tunnel(stand)?;
                        efs.start_tunnel(stand).await?;
                    }
                }
                kills += 1;
            }
            Ok::<_, anyhow::Error>(kills)
        };
        let (pods, kills) = tokio::join!(pods, kills);
        pods?;
        for (index, volume) in volumes.iter().enumerate() {
            let wrong = format!("grep -L -E '^[0-9]+-{index}$' m* || true");
            ensure!(volume.run(&wrong)?.is_empty(), "markers of another volume in {index}");
        }
        println!("efs: {count} pods came and went in {:?} amid {} kills", begun.elapsed(), kills?);
        for volume in volumes {
            volume.end().await?;
        }
        Ok(())
    })
}

/// All of them at once, within this task.
async fn futures_of<F: Future<Output = Result<()>>>(all: impl Iterator<Item = F>) -> Result<()> {
    let mut running: Vec<_> = all.map(Box::pin).collect();
    std::future::poll_fn(move |context| {
        let mut failed = None;
        running.retain_mut(|one| match one.as_mut().poll(context) {
            std::task::Poll::Pending => true,
            std::task::Poll::Ready(result) => {
                failed = result.err().or(failed.take());
                false
            }
        });
        match failed {
            Some(error) => std::task::Poll::Ready(Err(error)),
            None if running.is_empty() => std::task::Poll::Ready(Ok(())),
            None => std::task::Poll::Pending,
        }
    })
    .await
}
