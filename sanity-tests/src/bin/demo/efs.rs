//! The EFS half: two claims of the class `efs-sc`, and a tunnel that dies while a pod writes.

use std::time::Duration;

use anyhow::{Result, ensure};
use csi_sim::targets::has_nfs_server;
use sanity_tests::pod::{Pod, Writer, class_file};
use sanity_tests::stand::Efs;
use tokio::time::Instant;

use super::Demo;

impl Demo {
    pub(super) async fn efs(&mut self) -> Result<()> {
        if !has_nfs_server() {
            println!("demo: SKIPPED: EFS, since nfs-ganesha is not installed (make prepare)");
            return Ok(());
        }
        println!("demo: StorageClass efs-sc from {}", class_file().display());
        let begun = Instant::now();
        let efs = Efs::start(&self.stand).await?;
        println!(
            "demo: csi-controller efs, csi-node efs and efs-tunnel are up after {:.1} s",
            begun.elapsed().as_secs_f64()
        );
        let mark = self.mark().await?;
        let one = Pod::start(&self.stand, &efs, "pvc-efs-one").await?;
        self.say("claim an access point; mount it over NFSv4.1 through TLS", &mark).await?;
        let mark = self.mark().await?;
        let two = Pod::start(&self.stand, &efs, "pvc-efs-two").await?;
        self.say("the same for a second claim", &mark).await?;

        let mark = self.mark().await?;
        let gids = isolation(&one, &two)?;
        self.say(
            &format!("each sees its own directory, with gid {} and {}", gids.0, gids.1),
            &mark,
        )
        .await?;
        self.kill_the_tunnel(&efs, &one).await?;

        let mark = self.mark().await?;
        one.end().await?;
        two.end().await?;
        efs.check_nothing_is_left(&self.stand).await?;
        self.say("unmount both, delete both access points", &mark).await
    }

    async fn kill_the_tunnel(&mut self, efs: &Efs, pod: &Pod) -> Result<()> {
        let mark = self.mark().await?;
        let writer = Writer::start(pod)?;
        writer.goes_on(Duration::from_mins(1)).await?;
        efs.kill_tunnel_worker(&self.stand)?;
        writer.goes_on(Duration::from_mins(1)).await?;
        let stall = writer.longest_stall()?;
        let count = writer.stop_and_check()?;
        let what = format!(
            "kill -9 efs-tunnel's worker under {count} synced writes; longest {} ms",
            stall.as_millis()
        );
        self.say(&what, &mark).await
    }
}

/// Writes in both and looks: their gids.
fn isolation(one: &Pod, two: &Pod) -> Result<(u32, u32)> {
    one.run("echo one >file && sync -f file")?;
    two.run("echo two >file && sync -f file")?;
    ensure!(one.run("cat file; ls -A")? == "one\nfile\n", "the first pod sees something else");
    ensure!(two.run("cat file; ls -A")? == "two\nfile\n", "the second pod sees something else");
    let gid = |pod: &Pod| -> Result<u32> { Ok(pod.run("stat -c %g file")?.trim().parse()?) };
    let gids = (gid(one)?, gid(two)?);
    ensure!(gids.0 != gids.1, "both have gid {}", gids.0);
    ensure!([gids.0, gids.1].iter().all(|gid| (1_000..=2_000).contains(gid)), "gids {gids:?}");
    Ok(gids)
}
