//! Volumes that grow, are cloned or lose their disk while they are written to.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sanity_tests::bare::{BareVolume, GIB, until};
use sanity_tests::calls::{block, mount};
use tokio::task::block_in_place;

use super::on_stand;

/// A program in the pod that appends records of 64 KiB, each synced, until it is told to stop.
struct Writer<'a> {
    volume: &'a BareVolume,
}

impl<'a> Writer<'a> {
    /// Starts it; `data` is a file, or a raw device.
    fn start(volume: &'a BareVolume, data: &str) -> Result<Self> {
        volume.run(&format!(
            "cat >/run/writer.sh <<'EOF'\n\
             i=0; while [ ! -e /run/writer.stop ]; do\n\
             printf '%-65535d\\n' $i | dd of={data} bs=65536 iflag=fullblock seek=$i \
             conv=notrunc,fsync status=none || {{ echo failed >>/run/writer.log; exit 1; }}\n\
             i=$((i + 1)); echo $i >>/run/writer.log\n\
             done; echo end >>/run/writer.log\n\
             EOF\n\
             rm -f /run/writer.stop; : >/run/writer.log; \
             setsid sh /run/writer.sh >/dev/null 2>&1 </dev/null &"
        ))?;
        Ok(Self { volume })
    }

    fn records(&self) -> Result<usize> {
        let log = self.volume.run("cat /run/writer.log")?;
        ensure!(!log.contains("failed"), "a write failed");
        Ok(log.lines().filter(|line| *line != "end").count())
    }

    async fn goes_on(&self) -> Result<()> {
        let wrote = self.records()?;
        let more = async || Ok(self.records()? > wrote + 2);
        until("three more records", Duration::from_mins(1), more).await
    }

    /// Ends it; each record must be there, in order.
    async fn stop(self, data: &str) -> Result<()> {
        self.volume.run("touch /run/writer.stop")?;
        let ended = async || Ok(self.volume.run("cat /run/writer.log")?.contains("end"));
        until("the writer ends", Duration::from_mins(1), ended).await?;
        let records = self.records()?;
        let read = format!("head -c {} {data} | tr -s ' ' | tr -d ' '", records * 65_536);
        let found: Vec<usize> =
            self.volume.run(&read)?.lines().map(|line| Ok(line.parse()?)).collect::<Result<_>>()?;
        ensure!(found == (0..records).collect::<Vec<_>>(), "{records} records left {found:?}");
        Ok(())
    }
}

#[test]
fn ext4_xfs_and_a_raw_device_grow_under_a_writer_who_notices_nothing() -> Result<()> {
    on_stand(async |stand, log| {
        for capability in [mount("ext4"), mount("xfs"), block()] {
            let raw = capability == block();
            let volume = BareVolume::new(stand, &capability, GIB)?;
            volume.plug()?;
            volume.use_it().await?;
            let target = volume.place.target.display().to_string();
            let data = if raw { target.clone() } else { format!("{target}/data") };
            let writer = Writer::start(&volume, &data)?;
            for gib in [2, 3] {
                writer.goes_on().await?;
                volume.grow(gib * GIB)?;
                stand.node().expand(&volume.place, i64::try_from(gib * GIB)?).await?;
                let size = if raw {
                    volume.run(&format!("blockdev --getsize64 {target}"))?.trim().parse()?
                } else {
                    volume.size()?
                };
                ensure!(size > gib * GIB / 10 * 9, "it has {size} bytes of {gib} GiB");
            }
            writer.goes_on().await?;
            writer.stop(&data).await?;
            volume.leave().await?;
            if !raw {
                ensure!(volume.runs(log)? == 1, "it was formatted again");
                volume.check_file_system()?;
            }
            volume.end()?;
        }
        Ok(())
    })
}

#[test]
fn a_clone_of_a_mounted_volume_is_mounted_beside_it_on_the_same_node() -> Result<()> {
    on_stand(async |stand, log| {
        for fs in ["xfs", "ext4"] {
            let source = BareVolume::new(stand, &mount(fs), GIB)?;
            source.plug()?;
            source.use_it().await?;
            let sum = source.write_file("data")?;
            let clone = BareVolume::new(stand, &mount(fs), GIB)?;
            let copied = csi_bed::command("cp")
                .arg("--sparse=always")
                .args([&source.file, &clone.file])
                .status()?;
            ensure!(copied.success(), "cp: {copied}");
            clone.plug()?;
            clone.use_it().await?;
            let uuids = [&source, &clone].map(|volume| {
                let target = volume.place.target.display();
                volume.run(&format!(
                    "blkid -p -o value -s UUID $(findmnt -no SOURCE {target} | sed 's/\\[.*//')"
                ))
            });
            let [own, cloned] = uuids;
            ensure!(own? == cloned?, "the clone has another UUID");
            clone.check_file("data", &sum)?;
            clone.write_file("own")?;
            source.write_file("more")?;
            let seen = source.run(&format!("ls {}", source.place.target.display()))?;
            ensure!(!seen.contains("own"), "the source shows the clone's file: {seen}");
            ensure!(clone.runs(log)? == 0, "the clone was formatted");
            for volume in [source, clone] {
                volume.leave().await?;
                volume.check_file_system()?;
                volume.end()?;
            }
        }
        Ok(())
    })
}

#[test]
fn a_damaged_ext4_has_its_journal_replayed_before_it_is_repaired_and_mounted() -> Result<()> {
    on_stand(async |stand, log| {
        let volume = BareVolume::new(stand, &mount("ext4"), GIB)?;
        let name = volume.plug_raw()?;
        volume.use_it().await?;
        let first = volume.write_file("first")?;
        // The kernel notes an error in the superblock; what is synced later is in the journal only.
        volume.run(&format!("echo 1 >/sys/fs/ext4/{name}/trigger_fs_error; sync"))?;
        let target = volume.place.target.display();
        let second = volume.run(&format!(
            "mkdir {target}/d && head -c 200000 /dev/urandom >{target}/d/second && \
             sync {target}/d/second && sha256sum <{target}/d/second"
        ))?;
        volume.unplug()?;
        volume.leave().await?;
        let state = |volume: &BareVolume| -> Result<String> {
            let (read, said) = volume.host_tool("dumpe2fs", &["-h"])?;
            ensure!(read, "{said}");
            Ok(said)
        };
        let torn = state(&volume)?;
        ensure!(torn.contains("needs_recovery") && torn.contains("with errors"), "{torn}");
        volume.plug_raw()?;
        volume.use_it().await?;
        volume.check_file("first", &first)?;
        volume.check_file("d/second", &second)?;
        volume.leave().await?;
        volume.run("sync")?;
        let after = state(&volume)?;
        let line = after.lines().find(|line| line.starts_with("Filesystem state"));
        let line = line.context("no state")?;
        ensure!(line.ends_with("clean") && !line.contains("not"), "{line}");
        let node_log = block_in_place(|| stand.node_log())?;
        ensure!(node_log.contains("tool=\"e2fsck\""), "e2fsck did not run");
        ensure!(volume.runs(log)? == 1, "it was formatted again");
        volume.check_file_system()?;
        volume.end()
    })
}
