//! A volume on the node, as kubelet and a pod use it, with the checksums of what was synced.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use csi_bed::Guest;
use sanity_tests::bare::check_file_system;
use sanity_tests::calls::{Claim, Node, Placement, Volume, mount};
use sanity_tests::mkfs_log::MkfsLog;
use sanity_tests::stand::{NODE_ID, Stand, ZONE};
use tokio::task::block_in_place;

const GIB: i64 = 1 << 30;

#[derive(Clone)]
pub(crate) struct NodeVolume {
    node: Node,
    guest: Guest,
    volume: Volume,
    place: Placement,
    fs: &'static str,
    sums: Arc<Mutex<BTreeMap<String, String>>>,
}

impl NodeVolume {
    pub(crate) async fn attached(stand: &Stand, fs: &'static str) -> Result<Self> {
        let capability = mount(fs);
        let claim = Claim {
            name: format!("pvc-power-{}", stand.admin.state().await?.now_ms),
            bytes: 2 * GIB,
            zone: ZONE.to_owned(),
            parameters: [].into(),
            capability: capability.clone(),
            snapshot: None,
        };
        let volume = stand.controller().create(&claim).await?;
        let context = stand.controller().attach(&volume, NODE_ID, &capability).await?;
        let place = Placement::new(&volume, context, &capability, "pod-1");
        let (node, guest) = (stand.node(), stand.guest().clone());
        Ok(Self { node, guest, volume, place, fs, sums: Arc::default() })
    }

    pub(crate) async fn in_use(stand: &Stand, fs: &'static str) -> Result<Self> {
        let volume = Self::attached(stand, fs).await?;
        volume.clone().stage().await?;
        volume.node.publish(&volume.place).await?;
        Ok(volume)
    }

    pub(crate) async fn stage(self) -> Result<()> {
        self.node.stage(&self.place).await
    }

    /// Unpublishes and unstages.
    pub(crate) async fn leave(self) -> Result<()> {
        self.node.unpublish(&self.place).await?;
        self.node.unstage(&self.place).await
    }

    pub(crate) async fn grow(self, bytes: i64) -> Result<()> {
        self.node.expand(&self.place, bytes).await
    }

    /// What the resizer asks of the controller: the disk's new size.
    pub(crate) async fn expand_disk(&self, stand: &Stand, gib: i64) -> Result<i64> {
        stand.controller().expand(&self.volume.id, gib * GIB, &mount(self.fs)).await
    }

    /// Stages and publishes, as kubelet does for a pod that starts.
    pub(crate) async fn used_again(&self, stand: &Stand) -> Result<MkfsLog> {
        let log = block_in_place(|| MkfsLog::install(stand.guest(), Duration::ZERO))?;
        self.clone().stage().await?;
        self.node.publish(&self.place).await?;
        Ok(log)
    }

    /// The same, for a volume that holds data.
    pub(crate) async fn used_again_without_mkfs(&self, stand: &Stand) -> Result<()> {
        let log = self.used_again(stand).await?;
        let runs = block_in_place(|| log.runs_on(&self.volume.id))?;
        ensure!(runs.is_empty(), "a volume with data was formatted: {runs:?}");
        Ok(())
    }

    pub(crate) async fn restaged_without_mkfs(&self, stand: &Stand) -> Result<()> {
        self.clone().leave().await?;
        block_in_place(|| stand.guest().run(": >/run/mkfs.log"))?;
        self.used_again_without_mkfs(stand).await?;
        for file in self.files() {
            self.check(&file).await?;
        }
        Ok(())
    }

    fn files(&self) -> Vec<String> {
        self.sums.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    fn path(&self, file: &str) -> String {
        self.place.target.join(file).display().to_string()
    }

    /// Writes a file of random data, syncs it and remembers its sum.
    pub(crate) async fn write(&self, file: &str) -> Result<()> {
        let path = self.path(file);
        let script = format!(
            "dd if=/dev/urandom of={path} bs=64k count=16 conv=fsync status=none && \
             sync -f {path} && sha256sum <{path}"
        );
        let guest = self.guest.clone();
        let sum = tokio::task::spawn_blocking(move || guest.run(&script)).await??;
        self.sums.lock().unwrap_or_else(PoisonError::into_inner).insert(file.to_owned(), sum);
        Ok(())
    }

    /// Writes file after file until the guest is gone; the names of those that were synced.
    pub(crate) async fn write_until_the_end(&self) -> Vec<String> {
        let mut written = Vec::new();
        loop {
            let file = format!("file-{}", written.len());
            if self.write(&file).await.is_err() {
                return written;
            }
            written.push(file);
        }
    }

    /// Whether a file is as it was when it was synced.
    pub(crate) async fn check(&self, file: &str) -> Result<()> {
        let script = format!("sha256sum <{}", self.path(file));
        let guest = self.guest.clone();
        let found = tokio::task::spawn_blocking(move || guest.run(&script)).await??;
        let sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let wrote = sums.get(file).context("it was never written")?;
        ensure!(found == *wrote, "{file} is {found}, and {wrote} was synced");
        Ok(())
    }

    /// The file system's size in bytes, by `df`.
    pub(crate) fn size(&self) -> Result<u64> {
        let ask = format!("df -B1 --output=size {} | tail -n 1", self.place.target.display());
        Ok(block_in_place(|| self.guest.run(&ask))?.trim().parse()?)
    }

    /// Takes everything back; on the way an independent tool looks at the file system.
    pub(crate) async fn end(self, stand: &Stand) -> Result<()> {
        self.clone().leave().await?;
        stand.controller().detach(&self.volume.id, NODE_ID).await?;
        check_file_system(&stand.disk_file(&self.volume.id), self.fs)?;
        stand.controller().delete(&self.volume.id).await
    }
}
