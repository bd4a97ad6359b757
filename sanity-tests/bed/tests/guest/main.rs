//! The guest machine against its promises, on a real QEMU. Needs root; most cases share one guest.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test crate: its support functions fail and print as tests do, and it times QEMU"
)]

mod commands;
mod disks;
mod lifecycle;

use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use std::{fs, thread};

use csi_bed::{Bed, BootError};

/// The guest that the cases of this binary share; `None`, with a loud word, where none can run.
fn shared() -> Option<&'static Bed> {
    static BED: OnceLock<Option<Bed>> = OnceLock::new();
    BED.get_or_init(boot).as_ref()
}

fn boot() -> Option<Bed> {
    let bed = timed("boot to ready", Bed::boot);
    match bed {
        Ok(bed) => Some(bed),
        Err(BootError::NotRoot) => {
            eprintln!("SKIPPED: not root, so no guest machine");
            None
        }
        Err(error) => panic!("{error}: {error:?}"),
    }
}

/// Runs `act` and prints how long it took.
fn timed<T>(what: &str, act: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = act();
    eprintln!("TIME {what}: {:.2} s", start.elapsed().as_secs_f64());
    result
}

/// Waits for a level.
fn eventually<T: Debug>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(seen) = probe() {
            return seen;
        }
        assert!(start.elapsed() < Duration::from_secs(30), "{what}: not within 30 s");
        thread::sleep(Duration::from_millis(10));
    }
}

/// QEMU processes that work in this run folder.
fn qemus(run_dir: &Path) -> Vec<i32> {
    let folder = format!("{}/", run_dir.display());
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter(|entry| {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).into_owned();
            line.starts_with("qemu-system") && line.contains(&folder)
        })
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// A file for a disk, in the run folder, so that it goes with the guest.
fn disk_file(bed: &Bed, name: &str, bytes: u64) -> PathBuf {
    let path = bed.run_dir().join(name);
    fs::File::create(&path).unwrap().set_len(bytes).unwrap();
    path
}
