//! A volume whose bytes and identity a test spoils before it is staged.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use csi_proto::csi;
use sanity_tests::calls::{Claim, Placement, Volume, block, mount};
use sanity_tests::mkfs_log::MkfsLog;
use sanity_tests::stand::{NODE_ID, Stand, ZONE};
use tokio::task::block_in_place;
use tonic::{Code, Response, Status};

pub(crate) const GIB: u64 = 1 << 30;
const MIB: i64 = 1 << 20;

/// Shows the disk that was `$1` as a disk with the serial `$2`, under the attachment's name `$3`;
/// prints its name.
const SHOW: &str = r#"
set -e
bed-disk retire "$1"
for b in /sys/class/block/vd*; do
  s=; read -r s <"$b/serial" || true
  if [ "$s" = "bak${1#vol}" ]; then backing=/dev/${b##*/}; fi
done
t=/sys/kernel/config/nvmet; q=nqn.2024-01.test.bed:wrong; u=11111111-2222-3333-4444-555555555555
mkdir $t/subsystems/$q $t/subsystems/$q/namespaces/1
cd $t/subsystems/$q
echo 1 >attr_allow_any_host
printf %s "$2" >attr_serial
printf 'Amazon Elastic Block Store' >attr_model
printf %s "$backing" >namespaces/1/device_path
echo 1 >namespaces/1/enable
ln -s $t/subsystems/$q $t/ports/1/subsystems/$q
echo "transport=tcp,traddr=127.0.0.1,trsvcid=4420,nqn=$q,hostnqn=nqn.2014-08.org.nvmexpress:uuid:$u,hostid=$u" >/dev/nvme-fabrics
i=0
while [ $i -lt 200 ]; do
  for n in /sys/class/nvme/nvme*/nvme*n*; do
    if [ "$(cat "${n%/*}/subsysnqn")" = $q ] && [ -b "/dev/${n##*/}" ]; then
      ln -sf "/dev/${n##*/}" "$3"; echo "${n##*/}"; exit 0
    fi
  done
  sleep 0.05; i=$((i + 1))
done
exit 1
"#;

/// Takes it back; does nothing if nothing was shown.
const HIDE: &str = r#"
t=/sys/kernel/config/nvmet; q=nqn.2024-01.test.bed:wrong
for c in /sys/class/nvme/nvme*; do
  if [ "$(cat "$c/subsysnqn")" = $q ]; then echo 1 >"$c/delete_controller"; fi
done
if [ -d $t/subsystems/$q ]; then
  rm -f $t/ports/1/subsystems/$q
  rmdir $t/subsystems/$q/namespaces/1 $t/subsystems/$q
fi
rm -f "$1"
"#;

pub(crate) fn serial_of(volume: &str) -> String {
    volume.replacen('-', "", 1)
}

/// A volume that is not attached yet.
pub(crate) struct Prepared<'a> {
    stand: &'a Stand,
    volume: Volume,
    capability: csi::VolumeCapability,
    log: MkfsLog,
}

impl<'a> Prepared<'a> {
    pub(crate) async fn new(stand: &'a Stand) -> Result<Self> {
        Self::with(stand, "ext4").await
    }

    pub(crate) async fn with(stand: &'a Stand, fs: &str) -> Result<Self> {
        let log = block_in_place(|| MkfsLog::install(stand.guest(), Duration::ZERO))?;
        let capability = mount(fs);
        let claim = Claim {
            name: format!("pvc-wrong-{}", stand.admin.state().await?.now_ms),
            bytes: i64::try_from(GIB)?,
            zone: ZONE.to_owned(),
            parameters: [].into(),
            capability: capability.clone(),
            snapshot: None,
        };
        let volume = stand.controller().create(&claim).await?;
        Ok(Self { stand, volume, capability, log })
    }

    pub(crate) fn write(&self, offset: SeekFrom, bytes: &[u8]) -> Result<()> {
        let mut file = File::options().write(true).open(self.stand.disk_file(&self.volume.id))?;
        file.seek(offset)?;
        Ok(file.write_all(bytes)?)
    }

    pub(crate) async fn attach(self) -> Result<Attached<'a>> {
        let Self { stand, volume, capability, log } = self;
        let context = stand.controller().attach(&volume, NODE_ID, &capability).await?;
        let mut place = Placement::new(&volume, context, &capability, "pod-1");
        // As kubelet's, this path does not say which volume is meant.
        place.staging = PathBuf::from("/var/lib/kubelet/plugins/csi/0a1b2c3d/globalmount");
        let find = format!("readlink -f /dev/disk/by-id/nvme-*_{}", serial_of(&volume.id));
        let device = block_in_place(|| stand.guest().run(&find))?;
        let device = device.trim().trim_start_matches("/dev/").to_owned();
        Ok(Attached { stand, place, device, file: stand.disk_file(&volume.id), log })
    }
}

/// A volume that is attached, but perhaps not as it says.
pub(crate) struct Attached<'a> {
    stand: &'a Stand,
    /// How it would be used.
    pub(crate) place: Placement,
    /// The name of its disk in the guest.
    pub(crate) device: String,
    file: PathBuf,
    log: MkfsLog,
}

impl Attached<'_> {
    pub(crate) fn run(&self, script: &str) -> Result<String> {
        Ok(block_in_place(|| self.stand.guest().run(script))?)
    }

    fn named_path(&self) -> Result<&str> {
        let path = self.place.publish_context.get("devicePath");
        Ok(path.context("the attachment names no device")?)
    }

    /// Shows the disk with another serial, at the path that the attachment names: the disk's name.
    pub(crate) fn show_as(&self, serial: &str) -> Result<String> {
        let (volume, path) = (serial_of(&self.place.volume), self.named_path()?);
        let shown = self.run(&format!("set -- {volume} '{serial}' {path}\n{SHOW}"))?;
        Ok(shown.trim().to_owned())
    }

    fn edges(&self) -> Result<Vec<u8>> {
        self.run("sync")?;
        let mut file = File::open(&self.file)?;
        let mut bytes = vec![0; usize::try_from(2 * MIB)?];
        let (head, tail) = bytes.split_at_mut(usize::try_from(MIB)?);
        file.read_exact(head)?;
        file.seek(SeekFrom::End(-MIB))?;
        file.read_exact(tail)?;
        Ok(bytes)
    }

    /// Whether it is refused as a directory, whatever the file system.
    pub(crate) async fn is_refused(&self, code: Code, words: &[&str]) -> Result<()> {
        for fs in ["ext4", "ext3", "xfs"] {
            let request = csi::NodeStageVolumeRequest {
                volume_capability: Some(mount(fs)),
                ..self.place.stage_request()
            };
            let before = self.edges()?;
            let answer = self.stand.node().raw().node_stage_volume(request).await;
            self.check(answer, code, words)?;
            ensure!(self.edges()? == before, "the disk was written to");
        }
        Ok(())
    }

    /// Whether it is refused as a raw device, in one of the two calls.
    pub(crate) async fn is_refused_as_block(&self, code: Code, words: &[&str]) -> Result<()> {
        let mut place = self.place.clone();
        place.capability = block();
        let before = self.edges()?;
        let answer = self.stand.node().raw().node_stage_volume(place.stage_request()).await;
        self.check(answer, code, words)?;
        let request = csi::NodePublishVolumeRequest {
            volume_id: place.volume.clone(),
            publish_context: place.publish_context.clone().into_iter().collect(),
            staging_target_path: place.staging.display().to_string(),
            target_path: place.target.display().to_string(),
            volume_capability: Some(place.capability),
            ..Default::default()
        };
        let answer = self.stand.node().raw().node_publish_volume(request).await;
        self.check(answer, code, words)?;
        ensure!(self.edges()? == before, "the disk was written to");
        Ok(())
    }

    fn check<T>(
        &self,
        answer: Result<Response<T>, Status>,
        code: Code,
        words: &[&str],
    ) -> Result<()> {
        let Err(status) = answer else { bail!("the disk was used") };
        let (text, volume) = (status.message(), &self.place.volume);
        ensure!(status.code() == code, "not {code:?} but {status}");
        let missing: Vec<_> = words.iter().filter(|word| !text.contains(**word)).collect();
        ensure!(missing.is_empty(), "{missing:?} are missing in {text:?}");
        let named = text.contains(volume) || text.contains(&serial_of(volume));
        ensure!(named, "{text:?} does not name {volume}");
        let mounts = "grep /var/lib/kubelet /proc/self/mountinfo || true";
        let mounts = self.run(mounts)?;
        ensure!(mounts.is_empty(), "mounted: {mounts}");
        let runs = block_in_place(|| self.log.runs_on(volume))?;
        ensure!(runs.is_empty(), "formatted: {runs:?}");
        Ok(())
    }

    /// Stages it and unstages it: the size of the file system.
    pub(crate) async fn is_staged(&self) -> Result<u64> {
        self.stand.node().stage(&self.place).await?;
        let staging = self.place.staging.display();
        let size = self.run(&format!("df -B1 --output=size {staging} | tail -n 1"))?;
        self.stand.node().unstage(&self.place).await?;
        Ok(size.trim().parse()?)
    }

    pub(crate) async fn end(self) -> Result<()> {
        let path = self.named_path().unwrap_or("/dev/xvdaa");
        self.run(&format!("set -- {path}\n{HIDE}"))?;
        remove_empty(self.stand, self.place.staging.parent())?;
        self.stand.controller().detach(&self.place.volume, NODE_ID).await?;
        self.stand.controller().delete(&self.place.volume).await
    }
}

fn remove_empty(stand: &Stand, folder: Option<&Path>) -> Result<()> {
    let Some(folder) = folder else { return Ok(()) };
    block_in_place(|| stand.guest().run(&format!("rm -rf {}", folder.display())))?;
    Ok(())
}
