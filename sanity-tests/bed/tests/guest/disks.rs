//! NVMe disks that look like EBS, and QEMU's own.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use csi_bed::{DiskError, DiskKind, Guest};

use super::{disk_file, shared, timed};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

#[test]
fn an_ebs_disk_is_formatted_mounted_grown_online_and_taken_away() {
    let Some(bed) = shared() else { return };
    let (guest, serial) = (bed.guest(), "vol0aaaaaaaaaaaaaaaa");
    let file = disk_file(bed, "ebs", 10 * GIB);
    let device = timed("attach", || guest.disks().attach(serial, &file)).unwrap();
    let seen = guest.run(&format!("lsblk -dnbo SERIAL,MODEL,SIZE {device}")).unwrap();
    let words: Vec<&str> = seen.split_whitespace().collect();
    assert_eq!(words, [serial, "Amazon", "Elastic", "Block", "Store", "10737418240"]);
    let link = format!("/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_{serial}");
    assert_eq!(guest.run(&format!("readlink -f {link}")).unwrap().trim(), device);
    guest
        .run(&format!(
            "mkfs.ext4 -q {device} && mkdir /mnt/a && mount {device} /mnt/a && echo hi >/mnt/a/f"
        ))
        .unwrap();
    timed("grow", || guest.disks().grow(serial, 20 * GIB)).unwrap();
    assert_eq!(fs::metadata(&file).unwrap().len(), 20 * GIB);
    guest.run(&format!("resize2fs {device}")).unwrap();
    let size: u64 =
        guest.run("df -B1 --output=size /mnt/a | tail -n 1").unwrap().trim().parse().unwrap();
    assert!(size > 19 * GIB, "{size}");
    guest.run("umount /mnt/a").unwrap();
    timed("detach", || guest.disks().detach(serial)).unwrap();
    guest.run(&format!("test ! -e {device} && test ! -e {link}")).unwrap();
    assert!(guest.disks().list().unwrap().iter().all(|disk| disk.serial != serial));
    let gone = guest.disks().detach(serial).unwrap_err();
    assert!(matches!(gone, DiskError::NotAttached { .. }), "{gone:?}");

    let device = guest.disks().attach(serial, &file).unwrap();
    let kept = guest.run(&format!("mount {device} /mnt/a && cat /mnt/a/f && umount /mnt/a"));
    assert_eq!(kept.unwrap(), "hi\n");
    guest.disks().detach(serial).unwrap();
}

#[test]
fn qemus_own_disk_vanishes_from_under_its_file_system() {
    let Some(bed) = shared() else { return };
    let (guest, serial) = (bed.guest(), "vol0bbbbbbbbbbbbbbbb");
    let file = disk_file(bed, "nvme", GIB);
    let device =
        timed("attach QEMU's NVMe", || guest.disks().attach_raw_nvme(serial, &file)).unwrap();
    assert!(guest.run(&format!("lsblk -dno SERIAL {device}")).unwrap().contains(serial));
    guest.run(&format!("mkfs.xfs -q {device} && mkdir /mnt/b && mount {device} /mnt/b")).unwrap();
    timed("detach QEMU's NVMe, mounted", || guest.disks().detach(serial)).unwrap();
    let write = guest.run("echo x >/mnt/b/f && sync /mnt/b/f").unwrap_err();
    assert!(write.to_string().contains("Input/output error"), "{write}");
    guest.run("umount /mnt/b").unwrap();
}

#[test]
fn an_ebs_disk_detached_while_mounted_fails_its_writers_and_does_not_hang() {
    let Some(bed) = shared() else { return };
    let (guest, serial) = (bed.guest(), "vol0cccccccccccccccc");
    let device = guest.disks().attach(serial, &disk_file(bed, "torn", GIB)).unwrap();
    guest.run(&format!("mkfs.ext4 -q {device} && mkdir /mnt/c && mount {device} /mnt/c")).unwrap();
    let start = Instant::now();
    timed("detach, mounted", || guest.disks().detach(serial)).unwrap();
    assert!(start.elapsed() < Duration::from_secs(20));
    guest.run("echo x >/mnt/c/f && sync /mnt/c/f").unwrap_err();
    guest.run("umount /mnt/c").unwrap();
}

#[test]
fn twenty_four_disks_are_there_at_once_plugged_through_another_handle() {
    let Some(bed) = shared() else { return };
    let guest = Guest::open(bed.run_dir()).unwrap();
    let serials: Vec<String> = (0..24).map(|n| format!("vol0dddddddddddddd{n:02}")).collect();
    let files: Vec<_> = serials.iter().map(|serial| disk_file(bed, serial, 64 * MIB)).collect();
    timed("attach 24 disks, four at a time", || {
        in_parallel(&serials, |n, serial| guest.disks().attach(serial, &files[n]).map(drop));
    });
    let seen = guest.run("lsblk -dno SERIAL | grep vol0dddddddddddddd | sort").unwrap();
    assert_eq!(seen.lines().map(str::trim).collect::<Vec<_>>(), serials);
    let listed = guest.disks().list().unwrap();
    for serial in &serials {
        let disk = listed.iter().find(|disk| disk.serial == *serial).unwrap();
        assert_eq!(disk.kind, DiskKind::Ebs);
    }
    // Each disk is the file it was made from.
    guest.run("for s in /dev/disk/by-id/nvme-Amazon*vol0dddddddddddddd??; do echo $s | dd of=$s conv=fsync status=none; done").unwrap();
    for (serial, file) in serials.iter().zip(&files) {
        let mut start = [0; 200];
        fs::File::open(file).unwrap().read_exact(&mut start).unwrap();
        assert!(String::from_utf8_lossy(&start).contains(serial.as_str()), "{serial}");
    }
    timed("detach 24 disks, four at a time", || {
        in_parallel(&serials, |_, serial| guest.disks().detach(serial));
    });
    guest.run("! lsblk -dno SERIAL | grep vol0dddddddddddddd").unwrap();
}

#[test]
fn a_serial_is_refused_when_it_is_bad_or_taken() {
    let Some(bed) = shared() else { return };
    let disks = bed.guest().disks();
    for serial in ["", "disk", "vol-0$(reboot)", "vol0123456789abcdef01"] {
        let refused = disks.attach(serial, Path::new("/dev/null")).unwrap_err();
        assert!(matches!(refused, DiskError::BadSerial { .. }), "{refused:?}");
    }
    let file = disk_file(bed, "twice", 64 * MIB);
    disks.attach("vol0eeeeeeeeeeeeeeee", &file).unwrap();
    let again = disks.attach("vol0eeeeeeeeeeeeeeee", &file).unwrap_err();
    assert!(matches!(again, DiskError::AlreadyAttached { .. }), "{again:?}");
    disks.detach("vol0eeeeeeeeeeeeeeee").unwrap();
    let missing = disks.attach("vol0eeeeeeeeeeeeeeee", Path::new("/nonexistent")).unwrap_err();
    assert!(matches!(missing, DiskError::Qmp { .. }), "{missing:?}");
}

fn in_parallel(serials: &[String], act: impl Fn(usize, &str) -> Result<(), DiskError> + Sync) {
    let act = &act;
    thread::scope(|scope| {
        for lane in 0..4 {
            scope.spawn(move || {
                for (n, serial) in serials.iter().enumerate().filter(|(n, _)| n % 4 == lane) {
                    act(n, serial).unwrap();
                }
            });
        }
    });
}
