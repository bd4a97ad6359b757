//! Power cuts, guests that die at boot, and what is left when a bed ends in whatever way.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use csi_bed::{BootError, DiskError, GuestError, Root};

use super::{boot, disk_file, eventually, qemus, shared, timed};

#[test]
fn a_power_cut_keeps_what_was_written_and_a_dead_boot_is_begun_again_and_nothing_is_left() {
    let Some(bed) = boot() else { return };
    let (guest, run_dir) = (bed.guest(), bed.run_dir().to_owned());
    assert!(matches!(bed.boot_again(Root::Kept), Err(BootError::Running)));
    let serial = "vol0ffffffffffffffff";
    let file = disk_file(&bed, "cut", 64 << 20);
    let device = guest.disks().attach(serial, &file).unwrap();
    guest.run(&format!("echo disk | dd of={device} conv=fsync status=none")).unwrap();
    guest.run("echo root >/opt/kept && sync /opt/kept").unwrap();
    bed.power_cut();
    assert_eq!(qemus(&run_dir), Vec::<i32>::new());
    let lost = guest.run("true").unwrap_err();
    assert!(matches!(lost, GuestError::Lost { .. }), "{lost:?}");
    let lost = guest.disks().list().unwrap_err();
    assert!(matches!(lost, DiskError::Qmp { .. }), "{lost:?}");

    // The first QEMU of the next boot is killed: the bed boots once more and counts it.
    thread::scope(|scope| {
        scope.spawn(|| {
            let qemu = eventually("QEMU starts", || qemus(&run_dir).first().copied());
            assert!(
                Command::new("kill").args(["-KILL", &qemu.to_string()]).status().unwrap().success()
            );
        });
        timed("boot again, once in vain", || bed.boot_again(Root::Kept)).unwrap();
    });
    assert_eq!(bed.boots(), 3);
    assert_eq!(guest.run("cat /opt/kept").unwrap(), "root\n");
    assert_eq!(guest.disks().list().unwrap(), []);
    let device = guest.disks().attach(serial, &file).unwrap();
    assert_eq!(guest.run(&format!("head -n 1 {device}")).unwrap(), "disk\n");

    let mut beside = csi_bed::command("sleep");
    beside.arg("1000");
    let mut beside = bed.spawn(beside).unwrap();
    timed("drop", || drop(bed));
    assert_eq!(qemus(&run_dir), Vec::<i32>::new());
    assert!(!run_dir.exists());
    eventually("the process beside it ends", || beside.try_wait().unwrap());
}

#[test]
fn nothing_is_left_when_the_process_is_killed() {
    if shared().is_none() {
        return;
    }
    let mut holder = Command::new(env!("CARGO_BIN_EXE_bed"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let run_dir = run_dir_of(&line);
    assert_eq!(qemus(&run_dir).len(), 1);
    holder.kill().unwrap();
    holder.wait().unwrap();
    eventually("QEMU ends", || qemus(&run_dir).is_empty().then_some(()));
    eventually("the run folder goes", || (!run_dir.exists()).then_some(()));
    eventually("every process of it ends", || users(&run_dir).is_empty().then_some(()));
}

/// The run folder in `ssh -F FOLDER/ssh_config bed`.
fn run_dir_of(line: &str) -> PathBuf {
    let config = line.split_whitespace().nth(2).unwrap();
    Path::new(config).parent().unwrap().to_owned()
}

/// Command lines of all processes that name this run folder.
fn users(run_dir: &Path) -> Vec<String> {
    let folder = run_dir.display().to_string();
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(&folder))
        .collect()
}
