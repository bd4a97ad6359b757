//! Disks that LVM, multipath or md have taken.

use anyhow::{Result, ensure};
use sanity_tests::bare::{BareVolume, GIB};
use sanity_tests::calls::mount;
use tonic::Code;

use super::on_stand;

/// How a subsystem takes the disk `$1`, how it lets go, and how the refusal names it.
struct Holder {
    take: &'static str,
    release: &'static str,
    words: [&'static str; 2],
}

/// The kernel's objects are those that `lvchange -ay`, multipathd and `mdadm` make; LVM and
/// multipath are told apart by the device mapper's uuid.
const HOLDERS: [Holder; 3] = [
    Holder {
        take: "modprobe dm-mod; dmsetup create vg0-data --uuid LVM-Zb3kYq0000000000 \
               --table \"0 1048576 linear /dev/$1 2048\"",
        release: "dmsetup remove vg0-data",
        words: ["LVM", "vg0-data"],
    },
    Holder {
        take: "modprobe -a dm-multipath dm-service-time; dmsetup create mpatha --uuid mpath-0ba4e \
               --table \"0 $(blockdev --getsz /dev/$1) multipath 0 0 1 1 service-time 0 1 1 /dev/$1 1\"",
        release: "dmsetup remove mpatha",
        words: ["multipath", "mpatha"],
    },
    Holder {
        take: "modprobe -a md-mod raid1; echo md_held >/sys/module/md_mod/parameters/new_array; \
               cd /sys/block/md_held/md; echo raid1 >level; echo none >metadata_version; \
               echo 2 >raid_disks; cat /sys/class/block/$1/dev >new_dev; echo 0 >dev-$1/slot; \
               echo 524288 >component_size; echo active >array_state",
        release: "cd /sys/block/md_held/md; echo clear >array_state; \
                  i=0; while [ -e /sys/block/md_held ] && [ $i -lt 50 ]; do sleep 0.1; i=$((i + 1)); done",
        words: ["md", "md_held"],
    },
];

#[test]
fn a_disk_that_lvm_multipath_or_md_holds_is_refused_by_the_holders_name_until_it_is_released()
-> Result<()> {
    on_stand(async |stand, log| {
        for holder in &HOLDERS {
            let volume = BareVolume::new(stand, &mount("ext4"), GIB)?;
            let device = volume.plug()?;
            volume.run(&format!("set -e -- {device}; {}", holder.take))?;
            let words = [&*device, "is held by", holder.words[0], holder.words[1]];
            let refused = volume.is_refused(log, Code::FailedPrecondition, &words).await;
            volume.run(holder.release)?;
            refused?;
            volume.use_it().await?;
            ensure!(volume.runs(log)? == 1);
            volume.leave().await?;
            volume.end()?;
        }
        Ok(())
    })
}
