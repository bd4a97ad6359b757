//! Disks of the guest: plugged into QEMU by QMP, shown as NVMe disks.
//!
//! Nothing is remembered here: QEMU's own device ids say which disk sits in which port, so any
//! number of processes may plug and unplug, and a killed one leaves no wrong record.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use thiserror::Error;

use crate::captured::poll;
use crate::guest::{Guest, GuestError};
use crate::qmp::{Qmp, QmpError};

/// Hot-plug ports of the machine: disks at once, one of which a copy of a file needs for a moment.
pub const PORTS: u8 = 30;

const UNPLUG: Duration = Duration::from_secs(20);
const AGAIN: Duration = Duration::from_secs(3);

/// What the guest sees of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskKind {
    /// An NVMe disk with EBS's model and serial, which grows online. The kernel's NVMe target in
    /// the guest serves it, from a virtio disk whose serial starts with `bak` instead of `vol`.
    Ebs,
    /// QEMU's own NVMe device: another model, cannot grow, disappears without a word to the guest.
    QemuNvme,
    /// A virtio disk that carries a file.
    Plain,
}

impl DiskKind {
    fn tag(self) -> &'static str {
        match self {
            Self::Ebs => "ebs",
            Self::QemuNvme => "nvme",
            Self::Plain => "plain",
        }
    }

    fn from_tag(tag: &str) -> Option<Self> {
        [Self::Ebs, Self::QemuNvme, Self::Plain].into_iter().find(|kind| kind.tag() == tag)
    }
}

/// A plugged disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// The serial it was attached with.
    pub serial: String,
    /// What the guest sees of it.
    pub kind: DiskKind,
    port: u8,
}

impl Disk {
    /// `p7.ebs.vol0123456789abcdef0`: at most 31 characters, QEMU's limit for a block node's name.
    fn parse(id: &str) -> Option<Self> {
        let mut parts = id.strip_prefix('p')?.splitn(3, '.');
        let port = parts.next()?.parse().ok()?;
        let kind = DiskKind::from_tag(parts.next()?)?;
        Some(Self { serial: parts.next()?.to_owned(), kind, port })
    }
}

impl fmt::Display for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{}.{}.{}", self.port, self.kind.tag(), self.serial)
    }
}

/// Why a disk was not plugged, grown or unplugged.
#[derive(Debug, Error)]
pub enum DiskError {
    /// QEMU did not do it.
    #[error("cannot change disk {serial} of the virtual machine")]
    Qmp {
        /// The disk.
        serial: String,
        /// QEMU's reason.
        source: QmpError,
    },
    /// The guest did not do it.
    #[error("the guest did not follow a change of disk {serial}")]
    Guest {
        /// The disk.
        serial: String,
        /// The guest's reason.
        source: GuestError,
    },
    /// A serial that cannot be shown to the guest.
    #[error(
        "{serial:?} cannot be a serial: 1 to 20 letters, digits, - or _, and for EBS disks vol…"
    )]
    BadSerial {
        /// The serial.
        serial: String,
    },
    /// All ports are taken.
    #[error("no free port for disk {serial}: all {PORTS} are taken")]
    NoFreePort {
        /// The disk.
        serial: String,
    },
    /// A disk with this serial is there.
    #[error("disk {serial} is plugged already")]
    AlreadyAttached {
        /// The disk.
        serial: String,
    },
    /// No disk has this serial.
    #[error("no disk {serial} is plugged")]
    NotAttached {
        /// The disk.
        serial: String,
    },
    /// The guest kept the device for too long.
    #[error("the guest did not release disk {serial} within {UNPLUG:?}")]
    StillPlugged {
        /// The disk.
        serial: String,
    },
}

/// Whether the guest may write to a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writing {
    /// It may.
    Allowed,
    /// It may not, and QEMU does not open the file for writing: a program that is running on this
    /// host cannot be (`ETXTBSY`, execve(2)).
    Refused,
}

/// The disks of a running guest.
#[derive(Clone, Debug)]
pub struct Disks<'a> {
    guest: &'a Guest,
}

impl<'a> Disks<'a> {
    pub(crate) fn new(guest: &'a Guest) -> Self {
        Self { guest }
    }

    /// Plugs `file` as an EBS disk and returns its device in the guest, such as `/dev/nvme1n1`,
    /// when it and its `/dev/disk/by-id` link are there.
    ///
    /// `serial` is the volume id without its dash. The file's length must be a multiple of 512.
    pub fn attach(&self, serial: &str, file: &Path) -> Result<String, DiskError> {
        self.attach_as(DiskKind::Ebs, serial, file, Writing::Allowed)
    }

    /// Plugs `file` as QEMU's own NVMe device and returns its device in the guest.
    pub fn attach_raw_nvme(&self, serial: &str, file: &Path) -> Result<String, DiskError> {
        self.attach_as(DiskKind::QemuNvme, serial, file, Writing::Allowed)
    }

    /// Plugs `file` as a virtio disk, which nothing takes for a volume, and returns its device in
    /// the guest, such as `/dev/vda`.
    pub fn attach_virtio(&self, serial: &str, file: &Path) -> Result<String, DiskError> {
        self.attach_plain(serial, file, Writing::Allowed)
    }

    pub(crate) fn attach_plain(
        &self,
        serial: &str,
        file: &Path,
        writing: Writing,
    ) -> Result<String, DiskError> {
        self.attach_as(DiskKind::Plain, serial, file, writing)
    }

    fn attach_as(
        &self,
        kind: DiskKind,
        serial: &str,
        file: &Path,
        writing: Writing,
    ) -> Result<String, DiskError> {
        let legal = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let fits = (1..=20).contains(&serial.len()) && serial.chars().all(legal);
        if !fits || (kind == DiskKind::Ebs && !serial.starts_with("vol")) {
            return Err(DiskError::BadSerial { serial: serial.to_owned() });
        }
        let disk = self.plug(kind, serial, file, writing)?;
        let step = match kind {
            DiskKind::Ebs => "export",
            DiskKind::QemuNvme => "await",
            DiskKind::Plain => "plain",
        };
        self.tell(serial, &format!("{step} {serial}")).inspect_err(|_| {
            // The guest's error is the one to report.
            let _ = self.remove(&disk);
        })
    }

    /// Lengthens an EBS disk online to `bytes`, a multiple of 512, and its file with it; returns
    /// when the guest sees the new size.
    pub fn grow(&self, serial: &str, bytes: u64) -> Result<(), DiskError> {
        let disk = self.find(serial)?;
        self.with_qmp(serial, |qmp| {
            let size = json!({ "node-name": disk.to_string(), "size": bytes });
            qmp.execute("block_resize", &size)
        })?;
        self.tell(serial, &format!("grow {serial} {}", bytes / 512)).map(drop)
    }

    /// Unplugs a disk and returns when it is gone from the guest and QEMU has closed its file.
    ///
    /// A file system mounted from it loses its disk under it. After an error the disk may be
    /// half gone; a repeated call goes on from there.
    pub fn detach(&self, serial: &str) -> Result<(), DiskError> {
        let disk = self.find(serial)?;
        self.remove(&disk)
    }

    /// The disks that are plugged, without the guest's root.
    pub fn list(&self) -> Result<Vec<Disk>, DiskError> {
        self.with_qmp("*", plugged)
    }

    fn find(&self, serial: &str) -> Result<Disk, DiskError> {
        let found = self.with_qmp(serial, plugged)?;
        found
            .into_iter()
            .find(|disk| disk.serial == serial)
            .ok_or_else(|| DiskError::NotAttached { serial: serial.to_owned() })
    }

    fn plug(
        &self,
        kind: DiskKind,
        serial: &str,
        file: &Path,
        writing: Writing,
    ) -> Result<Disk, DiskError> {
        let failed = |source| DiskError::Qmp { serial: serial.to_owned(), source };
        // One connection from looking to plugging, so that nobody takes the port meanwhile.
        let mut qmp = Qmp::open(self.guest.run_dir()).map_err(failed)?;
        let taken = plugged(&mut qmp).map_err(failed)?;
        if taken.iter().any(|disk| disk.serial == serial) {
            return Err(DiskError::AlreadyAttached { serial: serial.to_owned() });
        }
        let port = (0..PORTS)
            .find(|port| taken.iter().all(|disk| disk.port != *port))
            .ok_or_else(|| DiskError::NoFreePort { serial: serial.to_owned() })?;
        let disk = Disk { serial: serial.to_owned(), kind, port };
        let id = disk.to_string();
        // What a caller killed half-way here may have left; most often it is not there.
        let _ = qmp.execute("blockdev-del", &json!({ "node-name": id }));
        // The page cache of the host outlives QEMU, so flushes are not needed to survive its death.
        let node = json!({
            "node-name": id, "driver": "raw", "discard": "unmap", "cache": { "no-flush": true },
            "read-only": writing == Writing::Refused,
            "file": { "driver": "file", "filename": file, "discard": "unmap", "locking": "off" },
        });
        qmp.execute("blockdev-add", &node).map_err(failed)?;
        let (driver, shown) = match kind {
            DiskKind::Ebs => ("virtio-blk-pci", serial.replacen("vol", "bak", 1)),
            DiskKind::QemuNvme => ("nvme", serial.to_owned()),
            DiskKind::Plain => ("virtio-blk-pci", serial.to_owned()),
        };
        let bus = format!("port{port}");
        let device =
            json!({ "driver": driver, "id": id, "drive": id, "bus": bus, "serial": shown });
        if let Err(source) = qmp.execute("device_add", &device) {
            let _ = qmp.execute("blockdev-del", &json!({ "node-name": id }));
            return Err(failed(source));
        }
        Ok(disk)
    }

    fn remove(&self, disk: &Disk) -> Result<(), DiskError> {
        let serial = disk.serial.as_str();
        if disk.kind == DiskKind::Ebs {
            self.tell(serial, &format!("retire {serial}"))?;
        }
        let id = disk.to_string();
        // `device_del` only asks the guest. A guest that has not yet noticed the plugging may miss
        // the question, so it is repeated; while one is pending QEMU refuses another.
        let rounds = UNPLUG.as_millis() / AGAIN.as_millis();
        let gone = (0..=rounds).find_map(|_| {
            let asked = self.with_qmp(serial, |qmp| {
                Ok(qmp.execute("device_del", &json!({ "id": id })).map(drop))
            });
            if let Err(error) = asked {
                return Some(Err(error));
            }
            poll(AGAIN, || {
                let there = self.with_qmp(serial, plugged)?.contains(disk);
                Ok(if there { None } else { Some(()) })
            })
            .transpose()
        });
        gone.unwrap_or_else(|| Err(DiskError::StillPlugged { serial: serial.to_owned() }))?;
        // The device's last reference to its file goes a moment after the device.
        poll(UNPLUG, || self.with_qmp(serial, |qmp| closed(qmp, &id)))?
            .ok_or_else(|| DiskError::StillPlugged { serial: serial.to_owned() })?;
        if disk.kind == DiskKind::QemuNvme {
            self.tell(serial, &format!("await-gone {serial}"))?;
        }
        Ok(())
    }

    /// Runs the guest's part; returns what it printed.
    fn tell(&self, serial: &str, what: &str) -> Result<String, DiskError> {
        let said = self.guest.run(&format!("bed-disk {what}"));
        let said = said.map_err(|source| DiskError::Guest { serial: serial.to_owned(), source })?;
        Ok(said.trim().to_owned())
    }

    fn with_qmp<T>(
        &self,
        serial: &str,
        act: impl FnOnce(&mut Qmp) -> Result<T, QmpError>,
    ) -> Result<T, DiskError> {
        Qmp::open(self.guest.run_dir())
            .and_then(|mut qmp| act(&mut qmp))
            .map_err(|source| DiskError::Qmp { serial: serial.to_owned(), source })
    }
}

/// The disks among the devices that QEMU holds by id.
fn plugged(qmp: &mut Qmp) -> Result<Vec<Disk>, QmpError> {
    let all = qmp.execute("qom-list", &json!({ "path": "/machine/peripheral" }))?;
    let ids = all.as_array().into_iter().flatten();
    Ok(ids
        .filter_map(|entry| entry.get("name").and_then(Value::as_str))
        .filter_map(Disk::parse)
        .collect())
}

/// Closes the file of a disk that was unplugged, unless it is closed already or still in use.
fn closed(qmp: &mut Qmp, id: &str) -> Result<Option<()>, QmpError> {
    match qmp.execute("blockdev-del", &json!({ "node-name": id })) {
        Ok(_) => Ok(Some(())),
        Err(QmpError::Refused { .. }) => {
            let nodes = qmp.execute("query-named-block-nodes", &json!({ "flat": true }))?;
            let mut nodes = nodes.as_array().into_iter().flatten();
            let there = nodes.any(|node| node.get("node-name").is_some_and(|name| name == id));
            Ok(if there { None } else { Some(()) })
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::{Disk, DiskKind};

    #[test]
    fn a_disk_id_names_port_kind_and_serial_and_fits_qemus_limit() {
        let serial = "vol0123456789abcdef0".to_owned();
        for kind in [DiskKind::Ebs, DiskKind::QemuNvme] {
            let disk = Disk { serial: serial.clone(), kind, port: 29 };
            assert!(disk.to_string().len() <= 31, "{disk}");
            assert_eq!(Disk::parse(&disk.to_string()), Some(disk));
        }
    }

    #[test]
    fn other_devices_of_the_machine_are_no_disks() {
        for id in ["port7", "type", "root", "p7", "p7.ebs", "px.ebs.vol1", "p7.other.vol1"] {
            assert_eq!(Disk::parse(id), None, "{id}");
        }
    }
}
