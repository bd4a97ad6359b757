//! Disks that are torn out while they are mounted and written to.

use anyhow::{Result, ensure};
use sanity_tests::bare::{BareVolume, GIB};
use sanity_tests::calls::mount;

use super::on_stand;

/// Writes without an end to the pod's folder.
fn write_on(volume: &BareVolume) -> Result<()> {
    let target = volume.place.target.display();
    volume.run(&format!(
        "cat >/run/scribble <<'EOF'\n\
         while dd if=/dev/zero of={target}/scribble bs=64k count=64 conv=fsync status=none; do :; done\n\
         EOF\n\
         setsid sh /run/scribble >/dev/null 2>&1 </dev/null & echo $! >/run/scribble.pid"
    ))?;
    Ok(())
}

/// Whether the writer has ended; it gets an error from a disk that is gone.
fn writer_has_ended(volume: &BareVolume) -> Result<()> {
    let wait = "i=0; while kill -0 $(cat /run/scribble.pid) 2>/dev/null; do \
                sleep 0.1; i=$((i + 1)); [ $i -lt 300 ] || exit 1; done";
    volume.run(wait).map(drop)
}

#[test]
fn a_disk_torn_out_under_a_writer_is_unstaged_and_keeps_what_was_synced() -> Result<()> {
    on_stand(async |stand, log| {
        for fs in ["ext4", "xfs"] {
            let volume = BareVolume::new(stand, &mount(fs), GIB)?;
            volume.plug_raw()?;
            volume.use_it().await?;
            let sum = volume.write_file("synced")?;
            write_on(&volume)?;
            volume.unplug()?;
            writer_has_ended(&volume)?;
            volume.leave().await?;
            for path in [&volume.place.target, &volume.place.staging] {
                volume.run(&format!("test ! -e {}", path.display()))?;
                ensure!(volume.mounts_at(path)? == 0, "{} is mounted", path.display());
            }
            volume.plug_raw()?;
            volume.use_it().await?;
            volume.goes_on(log, "synced", &sum).await?;
            volume.end()?;
        }
        Ok(())
    })
}

#[test]
fn a_disk_torn_out_and_back_in_is_staged_and_published_over_its_dead_mounts() -> Result<()> {
    on_stand(async |stand, log| {
        for fs in ["ext4", "xfs"] {
            let volume = BareVolume::new(stand, &mount(fs), GIB)?;
            volume.plug_raw()?;
            volume.use_it().await?;
            let sum = volume.write_file("synced")?;
            volume.unplug()?;
            // Kubelet measures what it thinks is mounted; that must end, whatever it says.
            let stats = volume.measure().await;
            ensure!(stats.is_err(), "a disk that is gone was measured: {stats:?}");
            volume.plug_raw()?;
            volume.use_it().await?;
            for path in [&volume.place.target, &volume.place.staging] {
                let mounts = volume.mounts_at(path)?;
                ensure!(mounts == 1, "{mounts} mounts at {}", path.display());
            }
            volume.goes_on(log, "synced", &sum).await?;
            volume.end()?;
        }
        Ok(())
    })
}
