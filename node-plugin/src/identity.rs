//! Which disk is the volume. Fails closed: a disk is used only if its identity is proved, and every
//! doubt is an error that says which.

use csi_core::{Bytes, VolumeId};

use crate::kernel::{DeviceNumber, Disk, Serial};

/// What is known of the volume before its disk is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The volume.
    pub volume: VolumeId,
    /// The path under which it was attached, `/dev/xvdaa`; only Xen uses it for the device.
    pub device_path: Option<String>,
    /// Its size when it was attached. It can only have grown since.
    pub at_least: Option<Bytes>,
}

/// Why no disk may be used for the volume.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoDevice {
    /// No disk has the volume's serial number, and none is named by the attachment.
    #[error(
        "no disk of this node is {volume} (looked for serial {serial}{}{}); is it attached?",
        hint(path.as_ref()),
        unreadable_hint(unreadable)
    )]
    NotFound {
        /// The volume.
        volume: VolumeId,
        /// The serial it should have.
        serial: String,
        /// The path of the attachment.
        path: Option<String>,
        /// Disks whose serial could not be read.
        unreadable: Vec<String>,
    },
    /// Several disks claim to be the volume.
    #[error("{} all have the serial of {volume}; refusing to guess", disks.join(", "))]
    Ambiguous {
        /// The volume.
        volume: VolumeId,
        /// The disks.
        disks: Vec<String>,
    },
    /// The disk that the attachment names is another volume.
    #[error("{path} is {disk} with serial {serial}, not {volume}; refusing to touch it")]
    WrongSerial {
        /// The path of the attachment.
        path: String,
        /// The disk there.
        disk: String,
        /// Its serial.
        serial: String,
        /// The volume.
        volume: VolumeId,
    },
    /// The disk that the attachment names should have a serial, but it cannot be read.
    #[error(
        "the serial of {disk} at {path} cannot be read ({why}); refusing to use it as {volume}"
    )]
    UnreadableSerial {
        /// The path of the attachment.
        path: String,
        /// The disk there.
        disk: String,
        /// What failed.
        why: String,
        /// The volume.
        volume: VolumeId,
    },
    /// The disk holds the node's own files.
    #[error("{disk} at {path} holds this node's own file system; refusing to use it as {volume}")]
    RootDisk {
        /// The path of the attachment.
        path: String,
        /// The disk there.
        disk: String,
        /// The volume.
        volume: VolumeId,
    },
    /// The disk is smaller than the volume was when it was attached.
    #[error("{disk} has {has} bytes but {volume} has at least {wants}; refusing to use it")]
    Smaller {
        /// The disk.
        disk: String,
        /// The volume.
        volume: VolumeId,
        /// Bytes of the disk.
        has: u64,
        /// Bytes that the volume had when it was attached.
        wants: u64,
    },
    /// Another subsystem uses the disk.
    #[error("{disk} ({volume}) is held by {}; release it there first", holders.join(", "))]
    Held {
        /// The disk.
        disk: String,
        /// The volume.
        volume: VolumeId,
        /// Devices built on it.
        holders: Vec<String>,
    },
}

fn hint(path: Option<&String>) -> String {
    path.map(|path| format!(" and for {path}")).unwrap_or_default()
}

fn unreadable_hint(disks: &[String]) -> String {
    if disks.is_empty() {
        String::new()
    } else {
        format!("; serials of {} cannot be read", disks.join(", "))
    }
}

impl NoDevice {
    /// Whether waiting may help: the disk, its serial or its link may still appear.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::NotFound { .. } | Self::WrongSerial { .. } | Self::UnreadableSerial { .. } => {
                true
            }
            Self::Ambiguous { .. }
            | Self::RootDisk { .. }
            | Self::Smaller { .. }
            | Self::Held { .. } => false,
        }
    }
}

/// Finds the volume's disk. `named` is the kernel's name of what is at the attachment's path, and
/// `own_files` are the devices that hold the node's own files.
///
/// # Errors
/// Every doubt; see [`NoDevice`].
pub fn identify<'a>(
    disks: &'a [Disk],
    wanted: &Wanted,
    named: Option<&str>,
    own_files: &[DeviceNumber],
) -> Result<&'a Disk, NoDevice> {
    let serial = wanted.volume.nvme_serial();
    let has_serial =
        |disk: &&Disk| matches!(&disk.serial, Serial::Known(known) if *known == serial);
    let matches: Vec<&Disk> = disks.iter().filter(has_serial).collect();
    let disk = match matches.as_slice() {
        [only] => only,
        [] => by_name(disks, wanted, named, own_files)?,
        several => {
            let disks = several.iter().map(|disk| disk.name.clone()).collect();
            return Err(NoDevice::Ambiguous { volume: wanted.volume.clone(), disks });
        }
    };
    check_size(disk, wanted)?;
    if disk.holders.is_empty() {
        Ok(disk)
    } else {
        let (disk, holders) = (disk.name.clone(), disk.holders.clone());
        Err(NoDevice::Held { disk, volume: wanted.volume.clone(), holders })
    }
}

/// The disk at the attachment's path, if its bus has no serial numbers.
fn by_name<'a>(
    disks: &'a [Disk],
    wanted: &Wanted,
    named: Option<&str>,
    own_files: &[DeviceNumber],
) -> Result<&'a Disk, NoDevice> {
    let volume = wanted.volume.clone();
    let found = named.and_then(|name| disks.iter().find(|disk| disk.name == name));
    let (Some(disk), Some(path)) = (found, wanted.device_path.clone()) else {
        let unreadable = disks.iter().filter(|disk| matches!(disk.serial, Serial::Unreadable(_)));
        return Err(NoDevice::NotFound {
            serial: volume.nvme_serial(),
            volume,
            path: wanted.device_path.clone(),
            unreadable: unreadable.map(|disk| disk.name.clone()).collect(),
        });
    };
    let name = disk.name.clone();
    match &disk.serial {
        Serial::Known(serial) => {
            let serial = serial.clone();
            Err(NoDevice::WrongSerial { path, disk: name, serial, volume })
        }
        Serial::Unreadable(why) => {
            let why = why.clone();
            Err(NoDevice::UnreadableSerial { path, disk: name, why, volume })
        }
        Serial::Absent if holds_any(disk, own_files) => {
            Err(NoDevice::RootDisk { path, disk: name, volume })
        }
        Serial::Absent => Ok(disk),
    }
}

fn holds_any(disk: &Disk, files: &[DeviceNumber]) -> bool {
    files.iter().any(|number| *number == disk.number || disk.partitions.contains(number))
}

pub(crate) fn check_size(disk: &Disk, wanted: &Wanted) -> Result<(), NoDevice> {
    match wanted.at_least {
        Some(wants) if disk.size < wants => Err(NoDevice::Smaller {
            disk: disk.name.clone(),
            volume: wanted.volume.clone(),
            has: disk.size.0,
            wants: wants.0,
        }),
        _ => Ok(()),
    }
}

/// What of a disk must not have changed since it was found; the text says what has.
#[must_use]
pub fn difference(found: &Disk, now: Option<&Disk>) -> Option<String> {
    let Some(now) = now else { return Some("it is gone".to_owned()) };
    if now.number != found.number {
        Some(format!("its number was {} and is {}", found.number, now.number))
    } else if now.sequence != found.sequence {
        Some("another disk took its name (diskseq differs)".to_owned())
    } else if now.serial != found.serial {
        Some(format!("its serial was {:?} and is {:?}", found.serial, now.serial))
    } else if now.size < found.size {
        Some(format!("it shrank from {} to {} bytes", found.size.0, now.size.0))
    } else {
        None
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const VOLUME: &str = "vol-0123456789abcdef0";

    pub(crate) fn disk(name: &str, minor: u64, serial: Serial) -> Disk {
        Disk {
            name: name.to_owned(),
            number: DeviceNumber { major: 259, minor },
            size: Bytes(10 << 30),
            read_only: false,
            serial,
            sequence: Some(minor),
            holders: vec![],
            partitions: vec![],
        }
    }

    pub(crate) fn ours(name: &str, minor: u64) -> Disk {
        disk(name, minor, Serial::Known("vol0123456789abcdef0".to_owned()))
    }

    fn wanted() -> Wanted {
        let device_path = Some("/dev/xvdaa".to_owned());
        Wanted { volume: VOLUME.parse().unwrap(), device_path, at_least: Some(Bytes(10 << 30)) }
    }

    fn other() -> Serial {
        Serial::Known("vol0fffffffffffffff0".to_owned())
    }

    #[test]
    fn the_serial_decides_whatever_the_attachment_says() {
        let disks = [disk("nvme0n1", 0, other()), ours("nvme1n1", 1)];
        assert_eq!(identify(&disks, &wanted(), Some("nvme0n1"), &[]).unwrap().name, "nvme1n1");
    }

    #[test]
    fn a_stale_link_an_unreadable_serial_and_two_matches_are_refused() {
        let stale = [disk("nvme1n1", 1, other())];
        let error = identify(&stale, &wanted(), Some("nvme1n1"), &[]).unwrap_err();
        assert!(matches!(error, NoDevice::WrongSerial { .. }), "{error}");

        let unreadable = [disk("nvme1n1", 1, Serial::Unreadable("it is empty".to_owned()))];
        let error = identify(&unreadable, &wanted(), Some("nvme1n1"), &[]).unwrap_err();
        assert!(matches!(error, NoDevice::UnreadableSerial { .. }), "{error}");
        let error = identify(&unreadable, &wanted(), None, &[]).unwrap_err();
        assert!(error.to_string().contains("serials of nvme1n1 cannot be read"), "{error}");

        let twins = [ours("nvme1n1", 1), ours("nvme2n1", 2)];
        let error = identify(&twins, &wanted(), None, &[]).unwrap_err();
        assert!(matches!(error, NoDevice::Ambiguous { .. }), "{error}");
    }

    #[test]
    fn without_serials_the_name_decides_but_never_for_the_root_disk() {
        let mut xen = disk("xvdaa", 7, Serial::Absent);
        let disks = [xen.clone()];
        assert_eq!(identify(&disks, &wanted(), Some("xvdaa"), &[]).unwrap().name, "xvdaa");
        let error = identify(&disks, &wanted(), None, &[]).unwrap_err();
        assert!(matches!(error, NoDevice::NotFound { .. }), "{error}");

        let partition = DeviceNumber { major: 202, minor: 1 };
        xen.partitions.push(partition);
        let disks = [xen];
        let error = identify(&disks, &wanted(), Some("xvdaa"), &[partition]).unwrap_err();
        assert!(matches!(error, NoDevice::RootDisk { .. }), "{error}");
    }

    #[test]
    fn a_smaller_disk_is_refused_a_larger_one_is_not_and_a_holder_is_named() {
        let mut disk = ours("nvme1n1", 1);
        disk.size = Bytes((10 << 30) - 512);
        let error = identify(&[disk.clone()], &wanted(), None, &[]).unwrap_err();
        assert!(matches!(error, NoDevice::Smaller { .. }), "{error}");

        disk.size = Bytes(20 << 30);
        assert!(identify(&[disk.clone()], &wanted(), None, &[]).is_ok());

        disk.holders.push("dm-0".to_owned());
        let error = identify(&[disk], &wanted(), None, &[]).unwrap_err();
        assert!(error.to_string().contains("held by dm-0"), "{error}");
    }

    #[test]
    fn a_disk_that_was_swapped_shows_a_difference_and_one_that_grew_does_not() {
        let found = ours("nvme1n1", 1);
        let mut now = found.clone();
        now.size = Bytes(20 << 30);
        assert_eq!(difference(&found, Some(&now)), None);
        now.sequence = Some(99);
        assert!(difference(&found, Some(&now)).unwrap().contains("diskseq"));
        assert_eq!(difference(&found, None).unwrap(), "it is gone");
    }
}
