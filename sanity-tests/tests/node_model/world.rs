//! Takes steps in the guest and compares what is answered with what must be so.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use csi_bed::Root;
use csi_proto::csi;
use sanity_tests::bare::{BareVolume, Fault, Faulty, GIB};
use sanity_tests::calls::{Node, block, mount};
use sanity_tests::mkfs_log::MkfsLog;
use sanity_tests::stand::Stand;
use tokio::task::block_in_place;
use tokio::time::{Instant, sleep};
use tonic::{Code, Status};

use crate::step::{Call, Pod, Step, V, VOLUMES, Victim, moment};
use crate::truth::{Content, KINDS, Kind, Mounted, Truth};

/// How long a call that was broken off is repeated.
const PATIENCE: Duration = Duration::from_secs(90);
/// Files of a volume that are kept and checked.
const FILES: u64 = 4;
/// A disk never gets longer than this.
const LARGEST: u64 = 4;
/// A header that this driver did not write.
const FOREIGN: &[u8] = b"LUKS\xba\xbe\0\x02";

/// The guest, and what must be so in it.
pub(crate) struct World<'a> {
    pub(crate) stand: &'a Stand,
    pub(crate) truth: Truth,
    pub(crate) volumes: Vec<BareVolume>,
    faulty: Option<Faulty>,
    names: BTreeMap<V, String>,
    /// What the last call has removed.
    pub(crate) removed: Option<PathBuf>,
    written: u64,
}

impl<'a> World<'a> {
    /// New volumes, all plugged.
    pub(crate) fn new(stand: &'a Stand) -> Result<Self> {
        install(stand)?;
        let made = KINDS.map(|kind| {
            let capability = match kind {
                Kind::Ext4 | Kind::Breaking => mount("ext4"),
                Kind::TornXfs => mount("xfs"),
                Kind::Block => block(),
            };
            BareVolume::new(stand, &capability, GIB)
        });
        let volumes = made.into_iter().collect::<Result<Vec<_>>>()?;
        let (names, truth) = (BTreeMap::new(), Truth::new());
        let (faulty, removed) = (None, None);
        let mut world = Self { stand, truth, volumes, faulty, names, removed, written: 0 };
        for v in 0..VOLUMES {
            world.plug(v)?;
        }
        Ok(world)
    }

    /// Takes everything back; an independent tool looks at what was promised.
    pub(crate) async fn end(mut self) -> Result<()> {
        for v in 0..VOLUMES {
            self.let_go(v)?;
            for pod in [0, 1] {
                self.ask_until(Call::Unpublish(v, pod)).await?;
            }
            self.ask_until(Call::Unstage(v)).await?;
            if self.truth.0[v].plugged {
                self.unplug(v)?;
            }
            let (volume, truth) = (self.volumes[v].clone(), &self.truth.0[v]);
            if truth.content == Content::Promised && truth.kind != Kind::Block {
                volume.check_file_system()?;
            }
            let pods = [0, 1].map(|pod| self.target(v, pod).display().to_string());
            volume.run(&format!("rm -rf {}", pods.join(" ")))?;
            volume.forget()?;
        }
        Ok(())
    }

    /// Takes one step.
    pub(crate) async fn step(&mut self, step: Step) -> Result<()> {
        match step {
            Step::Ask(call) => {
                let want = self.truth.answer(call);
                let answer = ask(&self.stand.node(), self.request(call)).await;
                self.compare(call, want, &answer)
            }
            Step::Kill(victim, after, call) => self.kill(victim, moment(after), call).await,
            Step::Write(v) => self.write(v),
            Step::Grow(v) => self.grow(v).await,
            Step::Measure(v, pod) => self.measure(v, pod).await,
            Step::Plug(v) if !self.truth.0[v].plugged => {
                self.plug(v)?;
                self.truth.0[v].plugged = true;
                Ok(())
            }
            Step::Unplug(v) => self.tear_out(v),
            Step::Plug(_) => Ok(()),
            _ => self.tamper(step),
        }
    }

    fn tamper(&mut self, step: Step) -> Result<()> {
        match step {
            Step::Spoil(v) if self.is_empty(v) => {
                self.volumes[v].write_at(0, FOREIGN)?;
                self.truth.0[v].content = Content::Foreign;
            }
            Step::Clean(v) if self.truth.0[v].content == Content::Foreign => {
                let file = std::fs::File::options().write(true).open(&self.volumes[v].file)?;
                file.set_len(0)?;
                file.set_len(self.truth.0[v].gib * GIB)?;
                self.truth.0[v].content = Content::Nothing;
            }
            Step::Hold(v) if self.truth.0[v].is_free() => {
                let (name, volume) = (&self.names[&v], &self.volumes[v]);
                let table = format!("0 $(blockdev --getsz /dev/{name}) linear /dev/{name} 0");
                volume.run(&format!(
                    "modprobe dm-mod; dmsetup create hold-{v} --table \"{table}\""
                ))?;
                self.truth.0[v].held = true;
            }
            Step::Break(v) if self.truth.0[v].is_free() => {
                if let (Kind::Breaking, Some(faulty)) = (self.truth.0[v].kind, &self.faulty) {
                    faulty.break_all(Fault::All)?;
                    self.truth.0[v].broken = true;
                }
            }
            Step::Mislead(v) if self.truth.0[v].is_free() => {
                let other = self.names.iter().find(|(u, _)| **u != v && self.truth.0[**u].plugged);
                if let Some((_, other)) = other {
                    self.volumes[v].lead_node(&self.names[&v], Some(other))?;
                    self.truth.0[v].misled = true;
                }
            }
            Step::Release(v) if self.truth.0[v].held => self.let_go(v)?,
            Step::Heal(v) if self.truth.0[v].broken => self.let_go(v)?,
            Step::Lead(v) if self.truth.0[v].misled => self.let_go(v)?,
            _ => {}
        }
        Ok(())
    }

    /// Undoes what was done to a disk that is plugged.
    fn let_go(&mut self, v: V) -> Result<()> {
        let truth = &mut self.truth.0[v];
        if truth.held {
            self.volumes[v].run(&format!("dmsetup remove hold-{v}"))?;
        }
        if truth.misled {
            self.volumes[v].lead_node(&self.names[&v], None)?;
        }
        if let (true, Some(faulty)) = (truth.broken, &self.faulty) {
            faulty.heal()?;
        }
        (truth.held, truth.misled, truth.broken) = (false, false, false);
        Ok(())
    }

    fn is_empty(&self, v: V) -> bool {
        let truth = &self.truth.0[v];
        truth.is_free() && truth.kind != Kind::Block && truth.content == Content::Nothing
    }

    fn plug(&mut self, v: V) -> Result<()> {
        let volume = self.volumes[v].clone();
        let name = match KINDS[v] {
            Kind::Ext4 | Kind::Block => volume.plug()?,
            Kind::TornXfs => volume.plug_raw()?,
            Kind::Breaking => {
                let faulty = Faulty::plug(volume)?;
                let name = faulty.device.clone();
                self.faulty = Some(faulty);
                name
            }
        };
        self.names.insert(v, name);
        Ok(())
    }

    fn unplug(&mut self, v: V) -> Result<()> {
        match (KINDS[v], self.faulty.take()) {
            (Kind::Breaking, Some(faulty)) => faulty.unplug(),
            (_, other) => {
                self.faulty = other;
                self.volumes[v].unplug()
            }
        }
    }

    fn tear_out(&mut self, v: V) -> Result<()> {
        let truth = &self.truth.0[v];
        let torn = truth.kind == Kind::TornXfs && truth.plugged && !truth.held && !truth.misled;
        if torn || truth.is_free() {
            self.unplug(v)?;
            self.truth.tear_out(v);
        }
        Ok(())
    }

    async fn kill(&mut self, victim: Victim, after: Duration, call: Call) -> Result<()> {
        let (node, request) = (self.stand.node(), self.request(call));
        let broken_off = tokio::spawn(async move { ask(&node, request).await });
        sleep(after).await;
        match victim {
            Victim::Plugin => self.stand.kill_node()?,
            Victim::Container => self.stand.kill_node_and_tools()?,
            Victim::Node | Victim::Other => {
                let root = if victim == Victim::Node { Root::Kept } else { Root::Fresh };
                self.stand.cut_power();
                broken_off.abort();
                self.stand.boot_again(root).await?;
                install(self.stand)?;
                self.truth.reboot();
                self.faulty = None;
                for v in 0..VOLUMES {
                    if self.truth.0[v].plugged {
                        self.plug(v)?;
                    }
                }
                return self.ask_until(call).await;
            }
        }
        self.stand.start_node().await?;
        // What it was answered is nobody's concern: kubelet lost the connection.
        let _answer = broken_off.await;
        self.ask_until(call).await
    }

    /// Repeats a call until it is answered as it must be.
    async fn ask_until(&mut self, call: Call) -> Result<()> {
        let want = self.truth.answer(call);
        let started = Instant::now();
        loop {
            let answer = ask(&self.stand.node(), self.request(call)).await;
            let compared = self.compare(call, want, &answer);
            if compared.is_ok() || started.elapsed() > PATIENCE {
                return compared;
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    fn compare(
        &mut self,
        call: Call,
        want: Result<(), Code>,
        answer: &Result<(), Status>,
    ) -> Result<()> {
        match (want, answer) {
            (Ok(()), Ok(())) => {
                self.removed = self.removed(call);
                Ok(())
            }
            (Err(code), Err(status)) if status.code() == code => Ok(()),
            _ => bail!("{call:?} was answered {answer:?}, not {want:?}"),
        }
    }

    /// A path that a call which succeeded must have removed.
    fn removed(&self, call: Call) -> Option<PathBuf> {
        match call {
            Call::Stage(_) | Call::Publish(..) => None,
            Call::Unpublish(v, pod) => Some(self.target(v, pod)),
            Call::Unstage(v) => Some(self.volumes[v].place.staging.clone()),
        }
    }

    /// Where a pod has a volume.
    pub(crate) fn target(&self, v: V, pod: Pod) -> PathBuf {
        let id = self.volumes[v].id();
        format!("/var/lib/kubelet/pods/pod-{pod}/volumes/{id}/mount").into()
    }

    fn write(&mut self, v: V) -> Result<()> {
        let Some(pod) = self.truth.0[v].pod(true) else { return Ok(()) };
        self.written += 1;
        let (file, target) = (self.written % FILES, self.target(v, pod).display().to_string());
        let source = "head -c 65536 /dev/urandom >/run/new";
        let script = if KINDS[v] == Kind::Block {
            format!("dd if=/run/new of={target} bs=64k seek={file} conv=notrunc,fsync status=none")
        } else {
            format!("cat /run/new >{target}/{file} && sync {target}/{file}")
        };
        let sum = self.volumes[v].run(&format!("{source} && {script} && sha256sum </run/new"))?;
        self.truth.0[v].files.insert(file.to_string(), sum.trim().to_owned());
        Ok(())
    }

    async fn grow(&mut self, v: V) -> Result<()> {
        let (truth, volume) = (&mut self.truth.0[v], &self.volumes[v]);
        let grows = matches!(truth.kind, Kind::Ext4 | Kind::Block) && truth.gib < LARGEST;
        if !grows || !truth.plugged || truth.held || truth.misled {
            return Ok(());
        }
        truth.gib += 1;
        let bytes = truth.gib * GIB;
        volume.grow(bytes)?;
        let path = match (truth.kind, truth.staged, truth.pod(false)) {
            (Kind::Block, _, Some(pod)) => self.target(v, pod),
            (Kind::Ext4, Some(Mounted::Alive), _) => volume.place.staging.clone(),
            _ => return Ok(()),
        };
        let request = csi::NodeExpandVolumeRequest {
            volume_id: self.volumes[v].id().to_owned(),
            volume_path: path.display().to_string(),
            capacity_range: Some(csi::CapacityRange {
                required_bytes: i64::try_from(bytes)?,
                limit_bytes: 0,
            }),
            volume_capability: Some(self.volumes[v].place.capability.clone()),
            ..Default::default()
        };
        let answer = self.stand.node().raw().node_expand_volume(request).await;
        let size = answer.context("growing")?.into_inner().capacity_bytes;
        ensure!(u64::try_from(size)? == bytes, "it grew to {size}");
        Ok(())
    }

    async fn measure(&self, v: V, pod: Pod) -> Result<()> {
        let target = self.target(v, pod);
        let answer = self.stand.node().measure(self.volumes[v].id(), &target).await;
        let total = answer.map(|usage| usage.first().map(|usage| usage.total).unwrap_or_default());
        match (self.truth.0[v].pods.get(&pod), total) {
            (Some((Mounted::Alive, _)), Ok(total)) => {
                let gib = i64::try_from(self.truth.0[v].gib * GIB)?;
                ensure!(total > gib / 10 * 8 && total <= gib, "{total} of {gib} bytes");
                Ok(())
            }
            (Some((Mounted::Dead, _)), Err(_)) => Ok(()),
            (None, Err(status)) if status.code() == Code::NotFound => Ok(()),
            (at, total) => bail!("{at:?} was measured as {total:?}"),
        }
    }

    fn request(&self, call: Call) -> Request {
        match call {
            Call::Stage(v) => Request::Stage(self.volumes[v].place.stage_request()),
            Call::Publish(v, pod, readonly) => Request::Publish(csi::NodePublishVolumeRequest {
                target_path: self.target(v, pod).display().to_string(),
                readonly,
                ..self.volumes[v].place.publish_request()
            }),
            Call::Unpublish(v, pod) => Request::Unpublish(csi::NodeUnpublishVolumeRequest {
                volume_id: self.volumes[v].id().to_owned(),
                target_path: self.target(v, pod).display().to_string(),
            }),
            Call::Unstage(v) => Request::Unstage(csi::NodeUnstageVolumeRequest {
                volume_id: self.volumes[v].id().to_owned(),
                staging_target_path: self.volumes[v].place.staging.display().to_string(),
            }),
        }
    }
}

/// A call on the wire.
enum Request {
    Stage(csi::NodeStageVolumeRequest),
    Publish(csi::NodePublishVolumeRequest),
    Unpublish(csi::NodeUnpublishVolumeRequest),
    Unstage(csi::NodeUnstageVolumeRequest),
}

async fn ask(node: &Node, request: Request) -> Result<(), Status> {
    let mut node = node.raw();
    match request {
        Request::Stage(request) => node.node_stage_volume(request).await.map(drop),
        Request::Publish(request) => node.node_publish_volume(request).await.map(drop),
        Request::Unpublish(request) => node.node_unpublish_volume(request).await.map(drop),
        Request::Unstage(request) => node.node_unstage_volume(request).await.map(drop),
    }
}

fn install(stand: &Stand) -> Result<()> {
    block_in_place(|| MkfsLog::install(stand.guest(), Duration::ZERO)).map(drop)
}
