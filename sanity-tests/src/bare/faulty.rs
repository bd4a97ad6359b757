//! A plugged disk with the device mapper behind it, which fails reads or writes, or never answers.
//!
//! The guest sees the NVMe disk that it saw before: the kernel's NVMe target takes the mapped
//! device in the place of the virtio disk.

use std::fmt::Write;
use std::ops::Range;

use anyhow::Result;

use super::BareVolume;

/// Puts a mapped device behind the disk with the serial `$1`; prints the disk's name.
const LAYER: &str = r#"
set -e
n=/sys/kernel/config/nvmet/subsystems/nqn.2024-01.test.bed:$1/namespaces/1
here() { ls -d /dev/disk/by-id/nvme-*_"$1" >/dev/null 2>&1; }
for b in /sys/class/block/vd*; do
  s=; read -r s <"$b/serial" || true
  if [ "$s" = "bak${1#vol}" ]; then backing=/dev/${b##*/}; fi
done
echo 0 >"$n/enable"
i=0; while here "$1"; do sleep 0.05; i=$((i + 1)); [ $i -lt 400 ]; done
modprobe -a dm-mod dm-flakey
dmsetup create "bad-$1" --table "0 $(blockdev --getsz "$backing") linear $backing 0"
printf %s "/dev/mapper/bad-$1" >"$n/device_path"
echo 1 >"$n/enable"
echo "$backing"
bed-disk await "$1"
"#;

/// Takes it away again, with the disk.
const UNLAYER: &str = r#"
n=/sys/kernel/config/nvmet/subsystems/nqn.2024-01.test.bed:$1/namespaces/1
dmsetup resume "bad-$1"
if [ -d "$n" ]; then echo 0 >"$n/enable"; fi
i=0; until dmsetup remove "bad-$1"; do sleep 0.1; i=$((i + 1)); [ $i -lt 50 ] || exit 1; done
"#;

/// What goes wrong in a part of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Reads and writes fail.
    All,
    /// Writes fail.
    Writes,
}

/// A plugged disk with faults.
#[derive(Debug)]
pub struct Faulty {
    /// The volume.
    pub volume: BareVolume,
    /// The disk's name in the guest.
    pub device: String,
    backing: String,
    bytes: u64,
}

impl Faulty {
    /// Plugs a volume, without faults for now.
    pub fn plug(volume: BareVolume) -> Result<Self> {
        volume.plug()?;
        let said = volume.run(&format!("set -- {}\n{LAYER}", volume.serial))?;
        let mut lines = said.lines();
        let mut next = || lines.next().unwrap_or_default().to_owned();
        let (backing, device) = (next(), next().trim_start_matches("/dev/").to_owned());
        let bytes = std::fs::metadata(&volume.file)?.len();
        Ok(Self { volume, device, backing, bytes })
    }

    /// From now on these parts of the disk, in order and without overlaps, have a fault.
    pub fn break_parts(&self, fault: Fault, parts: &[Range<u64>]) -> Result<()> {
        let mut table = String::new();
        let mut from = 0;
        for part in parts {
            self.segment(&mut table, None, from..part.start)?;
            self.segment(&mut table, Some(fault), part.clone())?;
            from = part.end;
        }
        self.segment(&mut table, None, from..self.bytes)?;
        let name = format!("bad-{}", self.volume.serial);
        self.volume.run(&format!(
            "dmsetup suspend --noflush --nolockfs {name} && \
             printf '%s' '{table}' | dmsetup load {name} && dmsetup resume {name}"
        ))?;
        Ok(())
    }

    /// The same for the whole disk.
    pub fn break_all(&self, fault: Fault) -> Result<()> {
        self.break_parts(fault, std::slice::from_ref(&(0..self.bytes)))
    }

    /// The disk is well again.
    pub fn heal(&self) -> Result<()> {
        self.break_parts(Fault::All, &[])
    }

    /// From now on the disk does not answer, and the kernel waits for it without an end, as EC2
    /// recommends for EBS.
    pub fn hang(&self) -> Result<()> {
        let (device, serial) = (&self.device, &self.volume.serial);
        self.volume.run(&format!(
            "echo 4000000000 >/sys/class/block/{device}/queue/io_timeout && \
             dmsetup suspend --noflush --nolockfs bad-{serial}"
        ))?;
        Ok(())
    }

    /// It answers again, and to everything that was asked meanwhile.
    pub fn answer(&self) -> Result<()> {
        self.volume.run(&format!("dmsetup resume bad-{}", self.volume.serial)).map(drop)
    }

    /// Takes the disk away.
    pub fn unplug(&self) -> Result<()> {
        self.volume.run(&format!("set -- {}\n{UNLAYER}", self.volume.serial))?;
        self.volume.unplug()
    }

    /// Unplugs it and removes its bytes.
    pub fn end(self) -> Result<()> {
        self.unplug()?;
        self.volume.forget()
    }

    fn segment(&self, table: &mut String, fault: Option<Fault>, part: Range<u64>) -> Result<()> {
        let (start, length) = (part.start / 512, (part.end - part.start) / 512);
        let backing = &self.backing;
        match (length, fault) {
            (0, _) => {}
            (_, None) => writeln!(table, "{start} {length} linear {backing} {start}")?,
            (_, Some(Fault::All)) => writeln!(table, "{start} {length} error")?,
            // Up for no second, down for an hour.
            (_, Some(Fault::Writes)) => {
                writeln!(table, "{start} {length} flakey {backing} {start} 0 3600 1 error_writes")?;
            }
        }
        Ok(())
    }
}
