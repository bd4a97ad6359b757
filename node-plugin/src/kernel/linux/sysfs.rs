//! Reads disks from sysfs, or from a folder of the same shape. Names: kernel documentation,
//! "Documentation/ABI/stable/sysfs-block".

use std::fs;
use std::io;
use std::path::Path;

use csi_core::Bytes;

use crate::kernel::{DeviceNumber, Disk, Serial};

/// Sectors of sysfs are 512 bytes, whatever the device's are.
const SECTOR: u64 = 512;

/// All whole disks below `<sysfs>/class/block`. Disks that vanish meanwhile are left out.
pub(super) fn disks(sysfs: &Path) -> io::Result<Vec<Disk>> {
    let mut disks = Vec::new();
    for entry in fs::read_dir(sysfs.join("class/block"))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        disks.extend(disk(&entry.path(), &name));
    }
    disks.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(disks)
}

/// One disk by name; `None` if it is no whole disk, hidden or gone.
pub(super) fn disk_named(sysfs: &Path, name: &str) -> Option<Disk> {
    disk(&sysfs.join("class/block").join(name), name)
}

fn disk(folder: &Path, name: &str) -> Option<Disk> {
    let read = |attribute: &str| attribute_of(folder, attribute).ok();
    // Partitions have their parents' serial; each path of a multipath namespace has the serial of
    // the namespace and is hidden.
    if folder.join("partition").exists() || read("hidden").is_some_and(|hidden| hidden == "1") {
        return None;
    }
    Some(Disk {
        name: name.to_owned(),
        number: read("dev")?.parse().ok()?,
        size: Bytes(read("size")?.parse::<u64>().ok()?.saturating_mul(SECTOR)),
        read_only: read("ro").is_some_and(|ro| ro == "1"),
        serial: serial(folder, name),
        sequence: read("diskseq").and_then(|sequence| sequence.parse().ok()),
        holders: holders(&folder.join("holders")),
        partitions: partitions(folder),
    })
}

fn attribute_of(folder: &Path, attribute: &str) -> io::Result<String> {
    fs::read(folder.join(attribute)).map(|text| String::from_utf8_lossy(&text).trim().to_owned())
}

fn serial(folder: &Path, name: &str) -> Serial {
    match attribute_of(folder, "device/serial") {
        Ok(serial) => {
            let serial = serial.trim_matches('\0').trim();
            if serial.is_empty() {
                Serial::Unreadable("it is empty".to_owned())
            } else {
                Serial::Known(serial.to_owned())
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound && !name.starts_with("nvme") => {
            Serial::Absent
        }
        Err(error) => Serial::Unreadable(error.to_string()),
    }
}

fn children(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Subsystems that use a disk, as an administrator knows them: LVM and multipath are both the device
/// mapper's, which tells them apart by the prefix of its uuid (kernel documentation, "dm-uevent").
fn holders(folder: &Path) -> Vec<String> {
    let describe = |holder: String| {
        let dm = |attribute: &str| attribute_of(&folder.join(&holder).join("dm"), attribute);
        match (dm("name"), dm("uuid").unwrap_or_default()) {
            (Ok(name), uuid) if uuid.starts_with("LVM-") => format!("{holder} (LVM volume {name})"),
            (Ok(name), uuid) if uuid.starts_with("mpath-") => {
                format!("{holder} (multipath device {name}; blacklist EBS in multipath.conf)")
            }
            (Ok(name), _) => format!("{holder} (device mapper's {name})"),
            (Err(_), _) => holder,
        }
    };
    children(folder).into_iter().map(describe).collect()
}

fn partitions(folder: &Path) -> Vec<DeviceNumber> {
    let numbers = children(folder).into_iter().filter_map(|child| {
        let child = folder.join(child);
        child.join("partition").exists().then(|| attribute_of(&child, "dev").ok()?.parse().ok())?
    });
    numbers.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, attributes: &[(&str, &str)]) {
        for (attribute, value) in attributes {
            let path = folder.join(attribute);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, value).unwrap();
        }
    }

    #[test]
    fn disks_are_read_and_partitions_and_hidden_paths_left_out() {
        let sysfs = tempfile::tempdir().unwrap();
        let class = sysfs.path().join("class/block");
        let nvme = class.join("nvme1n1");
        write(
            &nvme,
            &[
                ("dev", "259:3\n"),
                ("size", "2048\n"),
                ("ro", "0\n"),
                ("diskseq", "17\n"),
                ("device/serial", "vol0123456789abcdef0  \n"),
                ("holders/dm-0/dev", "253:0\n"),
                ("holders/dm-1/dm/name", "vg0-data\n"),
                ("holders/dm-1/dm/uuid", "LVM-Zb3kYq\n"),
                ("nvme1n1p1/partition", "1\n"),
                ("nvme1n1p1/dev", "259:4\n"),
            ],
        );
        write(&class.join("nvme1n1p1"), &[("partition", "1\n"), ("dev", "259:4\n"), ("size", "8")]);
        write(
            &class.join("nvme1c1n1"),
            &[("hidden", "1\n"), ("device/serial", "vol01"), ("size", "8")],
        );
        write(&class.join("nvme2n1"), &[("dev", "259:9"), ("size", "8"), ("device/serial", " \n")]);
        write(&class.join("nvme3n1"), &[("dev", "259:10"), ("size", "8")]);
        write(&class.join("xvdaa"), &[("dev", "202:6"), ("size", "8"), ("ro", "1")]);

        let found = disks(sysfs.path()).unwrap();
        let names: Vec<&str> = found.iter().map(|disk| disk.name.as_str()).collect();
        assert_eq!(names, ["nvme1n1", "nvme2n1", "nvme3n1", "xvdaa"]);
        let number = |major, minor| DeviceNumber { major, minor };
        assert_eq!(
            found[0],
            Disk {
                name: "nvme1n1".into(),
                number: number(259, 3),
                size: Bytes(1 << 20),
                read_only: false,
                serial: Serial::Known("vol0123456789abcdef0".into()),
                sequence: Some(17),
                holders: vec!["dm-0".into(), "dm-1 (LVM volume vg0-data)".into()],
                partitions: vec![number(259, 4)],
            }
        );
        assert_eq!(found[1].serial, Serial::Unreadable("it is empty".into()));
        assert!(matches!(found[2].serial, Serial::Unreadable(_)), "NVMe always has a serial");
        assert_eq!((&found[3].serial, found[3].read_only), (&Serial::Absent, true));
        assert_eq!(disk_named(sysfs.path(), "nvme1n1p1"), None);
    }
}
