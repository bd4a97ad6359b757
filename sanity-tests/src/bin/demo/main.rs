//! `make demo`: an EBS volume's whole life on a real NVMe disk, then two EFS access points over
//! NFS and TLS, in a real guest, through the real binaries, against a simulated AWS. Each step says
//! what happens, how long it took and what AWS was asked.
#![expect(clippy::print_stdout, reason = "the demo talks to the person who started it")]

mod efs;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use csi_proto::csi::VolumeCapability;
use csi_sim::world::{Action, Count};
use sanity_tests::calls::{Claim, Placement, Volume};
use sanity_tests::stand::{NODE_ID, Settings, Stand, ZONE};
use sanity_tests::storage_class::StorageClass;
use tokio::time::Instant;

const GIB: i64 = 1 << 30;

fn main() -> std::process::ExitCode {
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            println!("demo: FAILED: no runtime: {error}");
            return std::process::ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(async {
        tokio::select! {
            outcome = demo() => outcome,
            _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted; nothing is left behind")),
        }
    });
    match outcome {
        Ok(took) => {
            println!(
                "\ndemo: done in {:.1} s: every step held, and nothing is left",
                took.as_secs_f64()
            );
            std::process::ExitCode::SUCCESS
        }
        Err(error) => {
            println!("\ndemo: FAILED: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}

async fn demo() -> Result<Duration> {
    let started = Instant::now();
    let mut demo = Demo::start().await?;
    let volume = demo.first_life().await?;
    let restored = demo.second_life(&volume).await?;
    demo.end(&volume, &restored).await?;
    demo.efs().await?;
    Ok(started.elapsed())
}

/// The demo on its stand.
struct Demo {
    stand: Stand,
    class: StorageClass,
    mount: VolumeCapability,
    step: usize,
}

/// When a step began, and what EC2 had been asked by then.
struct Mark {
    begun: Instant,
    counts: BTreeMap<Action, Count>,
}

/// A volume in use on the node.
struct Used {
    volume: Volume,
    place: Placement,
    sum: String,
}

impl Demo {
    async fn start() -> Result<Self> {
        let file = class_file();
        let class = StorageClass::read(&file, "ebs.csi.aws.com")?;
        println!("demo: StorageClass {} from {}", class.name, file.display());
        let begun = Instant::now();
        let stand = Stand::start(Settings { efs: true, ..Settings::as_ec2() }).await?;
        println!(
            "demo: guest, aws-sim, csi-controller and csi-node are up after {:.1} s (node {NODE_ID} in {ZONE})",
            begun.elapsed().as_secs_f64()
        );
        let mount = class.mount();
        Ok(Self { stand, class, mount, step: 0 })
    }

    /// Does one step and says what it was, how long it took and what it cost in calls to EC2.
    async fn step<T>(&mut self, what: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
        let mark = self.mark().await?;
        let done = work.await.with_context(|| what.to_owned())?;
        self.say(what, &mark).await?;
        Ok(done)
    }

    async fn mark(&self) -> Result<Mark> {
        Ok(Mark { begun: Instant::now(), counts: self.stand.admin.counts().await? })
    }

    async fn say(&mut self, what: &str, mark: &Mark) -> Result<()> {
        let took = mark.begun.elapsed().as_secs_f64();
        let counts = self.stand.admin.counts().await?;
        let asked: Vec<String> = counts
            .iter()
            .map(|(action, count)| {
                (action, count.calls - mark.counts.get(action).map_or(0, |before| before.calls))
            })
            .filter(|(_, calls)| *calls > 0)
            .map(|(action, calls)| format!("{} {calls}", action.name()))
            .collect();
        let asked = if asked.is_empty() { "-".to_owned() } else { asked.join(", ") };
        self.step += 1;
        println!("{:>3}. {what:<64} {took:>6.2} s   {asked}", self.step);
        Ok(())
    }

    /// Create, attach, stage, publish, write, expand, stage again.
    async fn first_life(&mut self) -> Result<Used> {
        let (controller, node) = (self.stand.controller(), self.stand.node());
        let mount = self.mount.clone();
        let claim = self.claim("pvc-demo", 10, None);
        let volume = self
            .step("create 10 GiB where the pod was scheduled", controller.create(&claim))
            .await?;
        ensure!(volume.zone == ZONE, "the volume is in {}", volume.zone);
        let context =
            self.step("attach it to the node", controller.attach(&volume, NODE_ID, &mount)).await?;
        let place = Placement::new(&volume, context, &mount, "pod-1");
        self.step("stage: find the NVMe disk, make ext4, mount", node.stage(&place)).await?;
        self.step("publish to the pod", node.publish(&place)).await?;
        let guest = self.stand.guest().clone();
        let file = place.target.join("data").display().to_string();
        let write = format!(
            "dd if=/dev/urandom of={file} bs=1M count=16 status=none && sync && sha256sum < {file}"
        );
        let sum =
            self.step("write 16 MiB of random data", async { blocking(|| guest.run(&write)) });
        let sum = sum.await?;

        let expand = async {
            let bytes = controller.expand(&volume.id, 20 * GIB, &mount).await?;
            node.expand(&place, bytes).await
        };
        self.step("expand 10 → 20 GiB online, file system included", expand).await?;
        self.check_size(&place, 20)?;
        let again = async {
            node.unpublish(&place).await?;
            node.unstage(&place).await?;
            node.stage(&place).await?;
            node.publish(&place).await
        };
        self.step("unstage and stage again; the relayed size is the old one", again).await?;
        Ok(Used { volume, place, sum })
    }

    /// Snapshot, restore into a larger volume, crashes on the way, read back, modify.
    async fn second_life(&mut self, first: &Used) -> Result<(Used, String)> {
        let (controller, node) = (self.stand.controller(), self.stand.node());
        let mount = self.mount.clone();
        let taken = controller.snapshot(&first.volume.id, "snapshot-demo");
        let snapshot = self.step("snapshot it while it is in use", taken).await?;
        let claim = self.claim("pvc-restored", 24, Some(snapshot.clone()));
        let volume =
            self.step("restore into a volume of 24 GiB", controller.create(&claim)).await?;

        let mark = self.mark().await?;
        let attach = {
            let (volume, mount) = (volume.clone(), mount.clone());
            async move { controller.attach(&volume, NODE_ID, &mount).await }
        };
        let moment = Duration::from_millis(300);
        let context = self.stand.kill_controller_during(moment, attach).await?;
        self.say("kill -9 the controller during the attach; go on", &mark).await?;

        let place = Placement::new(&volume, context, &mount, "pod-2");
        let mark = self.mark().await?;
        let stage = {
            let (node, place) = (node.clone(), place.clone());
            async move { node.stage(&place).await }
        };
        self.stand.kill_node_during(Duration::from_millis(10), stage).await?;
        self.say("kill -9 the node plugin during the stage; go on", &mark).await?;
        self.step("publish to a second pod", node.publish(&place)).await?;

        let guest = self.stand.guest().clone();
        let read = format!("sha256sum < {}", place.target.join("data").display());
        let sum = self.step("read the file back", async { blocking(|| guest.run(&read)) }).await?;
        ensure!(sum == first.sum, "the restored file differs: {sum} instead of {}", first.sum);
        self.check_size(&place, 24)?;
        let controller = self.stand.controller();
        let modify = controller.modify(&volume.id, &[("iops", "6000")]);
        self.step("modify it to 6,000 IOPS while it is in use", modify).await?;
        let world = self.stand.admin.state().await?;
        let iops = world.volumes.get(&volume.id).and_then(|volume| volume.iops);
        ensure!(iops == Some(6_000), "EC2 has it at {iops:?} IOPS");
        Ok((Used { volume, place, sum }, snapshot))
    }

    async fn end(&mut self, first: &Used, (second, snapshot): &(Used, String)) -> Result<()> {
        let (controller, node) = (self.stand.controller(), self.stand.node());
        let leave = async {
            for used in [first, second] {
                node.unpublish(&used.place).await?;
                node.unstage(&used.place).await?;
            }
            Ok(())
        };
        self.step("unpublish and unstage both", leave).await?;
        let detach = async {
            controller.detach(&first.volume.id, NODE_ID).await?;
            controller.detach(&second.volume.id, NODE_ID).await
        };
        self.step("detach both", detach).await?;
        let delete = async {
            controller.delete_snapshot(snapshot).await?;
            controller.delete(&first.volume.id).await?;
            controller.delete(&second.volume.id).await
        };
        self.step("delete the snapshot and both volumes", delete).await?;
        self.stand.check_nothing_is_left().await
    }

    fn claim(&self, name: &str, gib: i64, snapshot: Option<String>) -> Claim {
        Claim {
            name: name.to_owned(),
            bytes: gib * GIB,
            zone: ZONE.to_owned(),
            parameters: self.class.parameters.clone(),
            capability: self.mount.clone(),
            snapshot,
        }
    }

    /// Looks with `df` whether the file system has grown with its volume.
    fn check_size(&self, place: &Placement, gib: i64) -> Result<()> {
        let guest = self.stand.guest();
        let ask = format!("df -B1 --output=size {} | tail -n 1", place.target.display());
        let size: i64 = blocking(|| guest.run(&ask))?.trim().parse()?;
        ensure!(size > gib * GIB * 9 / 10, "df shows {size} bytes on a volume of {gib} GiB");
        Ok(())
    }
}

/// Runs a call to the guest, which blocks, without holding up the runtime.
fn blocking<T, E>(call: impl FnOnce() -> Result<T, E>) -> Result<T>
where
    E: std::error::Error + Send + Sync + 'static,
{
    Ok(tokio::task::block_in_place(call)?)
}

fn class_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/examples/gp3.yaml")
}
