//! Volumes without EC2: disks that are plugged straight into the guest, so that a test can do to
//! them what no cloud would, and does not wait for one.

mod faulty;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use csi_bed::Guest;
use csi_proto::csi;
use tokio::task::block_in_place;
use tonic::{Code, Response, Status};

use crate::calls::{Node, Placement, Volume};
use crate::mkfs_log::MkfsLog;
use crate::stand::Stand;

pub use faulty::{Fault, Faulty};

/// One GiB in bytes.
pub const GIB: u64 = 1 << 30;
/// One MiB in bytes.
pub const MIB: u64 = 1 << 20;

/// A volume whose disk is a file of this host.
#[derive(Debug, Clone)]
pub struct BareVolume {
    guest: Guest,
    node: Node,
    /// Its disk's serial.
    pub serial: String,
    /// Its bytes.
    pub file: PathBuf,
    /// How kubelet uses it.
    pub place: Placement,
}

impl BareVolume {
    /// A volume of zeroes that is not plugged yet.
    pub fn new(stand: &Stand, capability: &csi::VolumeCapability, bytes: u64) -> Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let id = format!("vol-0ba4e{number:012x}");
        let serial = id.replacen('-', "", 1);
        let file = stand.bed().run_dir().join(&serial);
        File::create(&file)?.set_len(bytes)?;
        let context = [
            ("devicePath".to_owned(), format!("/dev/xvd{serial}")),
            ("volumeSizeBytes".to_owned(), bytes.to_string()),
        ];
        let bytes = i64::try_from(bytes)?;
        let volume = Volume { id, bytes, context: [].into(), zone: String::new() };
        let mut place = Placement::new(&volume, context.into(), capability, "pod-1");
        // As kubelet's, this path does not say which volume is meant.
        place.staging = format!("/var/lib/kubelet/plugins/csi/{number:08x}/globalmount").into();
        Ok(Self { guest: stand.guest().clone(), node: stand.node(), serial, file, place })
    }

    /// The volume's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.place.volume
    }

    /// Plugs it as EBS does; the disk's name in the guest.
    pub fn plug(&self) -> Result<String> {
        let disks = self.guest.disks();
        let device = block_in_place(|| disks.attach(&self.serial, &self.file))?;
        Ok(device.trim_start_matches("/dev/").to_owned())
    }

    /// Plugs it as QEMU's own NVMe disk, which can vanish without a word to the guest.
    pub fn plug_raw(&self) -> Result<String> {
        let disks = self.guest.disks();
        let device = block_in_place(|| disks.attach_raw_nvme(&self.serial, &self.file))?;
        Ok(device.trim_start_matches("/dev/").to_owned())
    }

    /// Takes its disk away, used or not.
    pub fn unplug(&self) -> Result<()> {
        Ok(block_in_place(|| self.guest.disks().detach(&self.serial))?)
    }

    /// Lengthens its disk while it is plugged.
    pub fn grow(&self, bytes: u64) -> Result<()> {
        Ok(block_in_place(|| self.guest.disks().grow(&self.serial, bytes))?)
    }

    /// Runs a script in the guest.
    pub fn run(&self, script: &str) -> Result<String> {
        Ok(block_in_place(|| self.guest.run(script))?)
    }

    /// Writes to its bytes behind the guest's back.
    pub fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        let mut file = File::options().write(true).open(&self.file)?;
        file.seek(SeekFrom::Start(offset))?;
        Ok(file.write_all(bytes)?)
    }

    /// Its bytes in one place.
    pub fn read_at(&self, offset: u64, length: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        let mut file = File::open(&self.file)?;
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// Its first and last MiB, and how much of it was ever written to.
    pub fn state(&self) -> Result<(Vec<u8>, u64)> {
        self.run("sync")?;
        let found = std::fs::metadata(&self.file)?;
        let mut edges = self.read_at(0, usize::try_from(MIB)?)?;
        edges.extend(self.read_at(found.len() - MIB, usize::try_from(MIB)?)?);
        Ok((edges, found.blocks()))
    }

    /// Asks once to stage it.
    pub async fn stage_once(&self) -> Result<Response<csi::NodeStageVolumeResponse>, Status> {
        self.node.raw().node_stage_volume(self.place.stage_request()).await
    }

    /// Stages and publishes it, as kubelet does for a pod.
    pub async fn use_it(&self) -> Result<()> {
        self.node.stage(&self.place).await?;
        self.node.publish(&self.place).await
    }

    /// Unpublishes and unstages it.
    pub async fn leave(&self) -> Result<()> {
        self.node.unpublish(&self.place).await?;
        self.node.unstage(&self.place).await
    }

    /// Whether staging it is refused with this code, these words, its id or serial, and without
    /// any change of its disk.
    pub async fn is_refused(&self, log: &MkfsLog, code: Code, words: &[&str]) -> Result<()> {
        let (before, ran) = (self.state()?, self.runs(log)?);
        let answer = self.stage_once().await;
        self.check_refusal(answer, code, words)?;
        ensure!(self.runs(log)? == ran, "{} was formatted", self.id());
        ensure!(self.state()? == before, "the disk of {} was written to", self.id());
        Ok(())
    }

    /// The same without its disk, so that only the words can be looked at.
    pub async fn is_refused_unplugged(&self, code: Code, words: &[&str]) -> Result<()> {
        self.check_refusal(self.stage_once().await, code, words)
    }

    /// Whether an answer is this refusal, and nothing is mounted by it.
    pub fn check_refusal<T>(
        &self,
        answer: Result<Response<T>, Status>,
        code: Code,
        words: &[&str],
    ) -> Result<()> {
        let Err(status) = answer else { bail!("{} was used", self.id()) };
        let text = status.message();
        ensure!(status.code() == code, "not {code:?} but {status}");
        let missing: Vec<_> = words.iter().filter(|word| !text.contains(**word)).collect();
        ensure!(missing.is_empty(), "{missing:?} are missing in {text:?}");
        let named = text.contains(self.id()) || text.contains(&self.serial);
        ensure!(named, "{text:?} names neither volume nor serial");
        let mounts = self.mounts_at(&self.place.staging)?;
        ensure!(mounts == 0, "{mounts} mounts at the staging path");
        Ok(())
    }

    /// How many mounts are stacked at a path.
    pub fn mounts_at(&self, path: &Path) -> Result<usize> {
        let count = format!("grep -cF ' {} ' /proc/self/mountinfo || true", path.display());
        Ok(self.run(&count)?.trim().parse()?)
    }

    /// How often a file system was made on it.
    pub fn runs(&self, log: &MkfsLog) -> Result<usize> {
        Ok(block_in_place(|| log.runs_on(self.id()))?.len())
    }

    /// Writes a file of random data in the pod and syncs it; its checksum.
    pub fn write_file(&self, name: &str) -> Result<String> {
        let path = self.place.target.join(name).display().to_string();
        self.run(&format!(
            "dd if=/dev/urandom of={path} bs=64k count=16 conv=fsync status=none && \
             sync -f {path} && sha256sum <{path}"
        ))
    }

    /// Whether a file of the pod still has this checksum.
    pub fn check_file(&self, name: &str, sum: &str) -> Result<()> {
        let found = self.run(&format!("sha256sum <{}", self.place.target.join(name).display()))?;
        ensure!(found == sum, "{name} of {} is {found}, and {sum} was synced", self.id());
        Ok(())
    }

    /// What `NodeGetVolumeStats` says of it in its pod.
    pub async fn measure(&self) -> Result<Vec<csi::VolumeUsage>, Status> {
        self.node.measure(self.id(), &self.place.target).await
    }

    /// Whether its pod has the file with this checksum and can write another, and what it leaves is
    /// sound and was formatted once.
    pub async fn goes_on(&self, log: &MkfsLog, name: &str, sum: &str) -> Result<()> {
        self.check_file(name, sum)?;
        self.write_file("after")?;
        self.leave().await?;
        ensure!(self.runs(log)? == 1, "{} was formatted again", self.id());
        self.check_file_system()
    }

    /// The size of its mounted file system in bytes, by `df`.
    pub fn size(&self) -> Result<u64> {
        let target = self.place.target.display();
        Ok(self.run(&format!("df -B1 --output=size {target} | tail -n 1"))?.trim().parse()?)
    }

    /// What an independent tool of this host says of its file system; it must not be mounted.
    pub fn check_file_system(&self) -> Result<()> {
        self.run("sync")?;
        let xfs = self.read_at(0, 4)? == *b"XFSB";
        check_file_system(&self.file, if xfs { "xfs" } else { "ext4" })
    }

    /// Runs a tool of this host on its bytes: whether it succeeded, and what it printed.
    pub fn host_tool(&self, tool: &str, flags: &[&str]) -> Result<(bool, String)> {
        host_tool(&self.file, tool, flags)
    }

    /// Lets its device node lead to the disk with the name `to`, as a stale node would, or to its
    /// own again.
    pub fn lead_node(&self, name: &str, to: Option<&str>) -> Result<()> {
        // The right node is kept: the kernel removes only a node that it made itself.
        let script = match to {
            Some(to) => format!(
                "cd /dev && mv {name} .kept-{name} && \
                 mknod {name} b $(tr : ' ' </sys/class/block/{to}/dev)"
            ),
            None => format!("cd /dev && rm {name} && mv .kept-{name} {name}"),
        };
        self.run(&script).map(drop)
    }

    /// Unplugs it and removes its bytes.
    pub fn end(self) -> Result<()> {
        self.unplug()?;
        self.forget()
    }

    /// Removes its bytes, and the folder that kubelet made for it.
    pub fn forget(self) -> Result<()> {
        let folder = self.place.staging.parent().context("no folder")?.display().to_string();
        self.run(&format!("rm -rf {folder} {}", self.place.target.display()))?;
        Ok(std::fs::remove_file(&self.file)?)
    }
}

/// What an independent tool of this host says of the file system in a file.
pub fn check_file_system(file: &Path, fs: &str) -> Result<()> {
    let (tool, flags) =
        if fs == "xfs" { ("xfs_repair", ["-n", "-f"]) } else { ("e2fsck", ["-f", "-n"]) };
    let (sound, said) = host_tool(file, tool, &flags)?;
    ensure!(sound, "{tool} finds errors on {}: {said}", file.display());
    Ok(())
}

fn host_tool(file: &Path, tool: &str, flags: &[&str]) -> Result<(bool, String)> {
    let output = csi_bed::command(tool).args(flags).arg(file).output();
    let output = output.with_context(|| format!("cannot run {tool}"))?;
    let said = [output.stdout, output.stderr].concat();
    Ok((output.status.success(), String::from_utf8_lossy(&said).into_owned()))
}

/// Calls `look` until it is true; after `within`, an error that says what was waited for.
pub async fn until(
    what: &str,
    within: Duration,
    mut look: impl AsyncFnMut() -> Result<bool>,
) -> Result<()> {
    let started = tokio::time::Instant::now();
    while !look().await? {
        ensure!(started.elapsed() < within, "{what}: not within {within:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}
