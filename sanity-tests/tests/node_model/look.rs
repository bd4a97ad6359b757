//! Looks at the guest and compares it with what must be so.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::{Context, Result, ensure};

use crate::step::{V, VOLUMES};
use crate::truth::{Content, Kind, Mounted};
use crate::world::World;

/// Prints kubelet's mounts, number and name of each disk by serial, and the runs of mkfs.
const LOOK: &str = r#"
grep ' /var/lib/kubelet' /proc/self/mountinfo
echo --
for d in /sys/class/block/nvme*; do
  if [ -e "$d/device/serial" ]; then
    read -r serial <"$d/device/serial"; read -r number <"$d/dev"
    echo "$serial $number ${d##*/}"
  fi
done
echo --
cat /run/mkfs.log
echo --
"#;

/// A mount that was found, or must be found.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    /// The disk's number; for a raw device, its name.
    disk: String,
    read_only: bool,
}

impl World<'_> {
    /// Compares all mounts, and the content of one volume.
    pub(crate) fn look(&mut self, at: V) -> Result<()> {
        let found = self.volumes[0].run(&format!("{LOOK}{}", self.sums(at)?))?;
        self.removed = None;
        let mut parts = found.split("--\n");
        let (mounts, disks) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let disks: BTreeMap<&str, (&str, &str)> = disks.lines().filter_map(disk).collect();
        let mut mounts: Vec<(String, Seen)> = mounts.lines().filter_map(mounted).collect();
        for v in 0..VOLUMES {
            self.compare_mounts(v, &disks, &mut mounts).with_context(|| format!("volume {v}"))?;
        }
        ensure!(mounts.is_empty(), "nobody asked for {mounts:?}");
        self.compare_runs(parts.next().unwrap_or_default())?;
        let mut rest = parts.next().unwrap_or_default().lines();
        for (file, sum) in self.readable(at) {
            let found = rest.next().unwrap_or_default();
            ensure!(
                found == sum,
                "file {file} of volume {at} is {found:?}, and {sum:?} was synced"
            );
        }
        let left: Vec<&str> = rest.collect();
        ensure!(left.is_empty(), "{left:?} is left");
        Ok(())
    }

    /// A file system that was promised is never made again.
    fn compare_runs(&mut self, log: &str) -> Result<()> {
        for (v, truth) in self.truth.0.iter_mut().enumerate() {
            let serial = self.volumes[v].serial.as_str();
            let runs = log.lines().filter(|line| line.starts_with("run") && line.ends_with(serial));
            let runs = runs.count();
            ensure!(truth.kind != Kind::Block || runs == 0, "raw volume {v} was formatted");
            if truth.content == Content::Promised {
                let before = *truth.runs.get_or_insert(runs);
                ensure!(before == runs, "volume {v} was formatted again");
            }
        }
        Ok(())
    }

    /// Takes the mounts of a volume out of the list.
    fn compare_mounts(
        &self,
        v: V,
        disks: &BTreeMap<&str, (&str, &str)>,
        mounts: &mut Vec<(String, Seen)>,
    ) -> Result<()> {
        let truth = &self.truth.0[v];
        let staging = self.volumes[v].place.staging.display().to_string();
        let staged = truth.staged.filter(|_| truth.kind != Kind::Block).map(|at| (at, false));
        let mut want = vec![(staging, staged)];
        want.extend(
            self.truth.pods(v).map(|(pod, at)| (self.target(v, pod).display().to_string(), at)),
        );
        for (path, at) in want {
            let found: Vec<Seen> =
                mounts.extract_if(.., |(at, _)| *at == path).map(|(_, seen)| seen).collect();
            match at {
                None => ensure!(found.is_empty(), "{found:?} is mounted at {path}"),
                Some((Mounted::Dead, _)) => {
                    ensure!(found.len() == 1, "{found:?} is mounted at {path}");
                }
                Some((Mounted::Alive, read_only)) => {
                    let disk = disks.get(self.volumes[v].serial.as_str()).context("no disk")?;
                    let disk = if truth.kind == Kind::Block { disk.1 } else { disk.0 };
                    let wanted = Seen { disk: disk.to_owned(), read_only };
                    ensure!(
                        found.as_slice() == std::slice::from_ref(&wanted),
                        "{found:?} is mounted at {path}, not {wanted:?}"
                    );
                }
            }
        }
        Ok(())
    }

    /// The files of a volume that can be read now.
    fn readable(&self, v: V) -> impl Iterator<Item = (&String, &String)> {
        let there = self.truth.0[v].pod(false).is_some();
        self.truth.0[v].files.iter().filter(move |_| there)
    }

    /// A script that prints their checksums, and what should be gone and is not.
    fn sums(&self, v: V) -> Result<String> {
        let mut script = String::new();
        let removed = self.removed.iter();
        let gone = removed.map(|path| format!("ls -d {} 2>/dev/null || true\n", path.display()));
        let gone: String = gone.collect();
        let Some(pod) = self.truth.0[v].pod(false) else { return Ok(gone) };
        let target = self.target(v, pod).display().to_string();
        for (file, _) in self.readable(v) {
            if self.truth.0[v].kind == Kind::Block {
                let read = format!("dd if={target} bs=64k skip={file} count=1 status=none");
                writeln!(script, "{read} | sha256sum")?;
            } else {
                writeln!(script, "sha256sum <{target}/{file}")?;
            }
        }
        Ok(script + &gone)
    }
}

fn disk(line: &str) -> Option<(&str, (&str, &str))> {
    let mut words = line.split_whitespace();
    Some((words.next()?, (words.next()?, words.next()?)))
}

/// A line of `/proc/self/mountinfo` (proc(5)).
fn mounted(line: &str) -> Option<(String, Seen)> {
    let words: Vec<&str> = line.split(' ').collect();
    let (number, root, at, options) = (words.get(2)?, words.get(3)?, words.get(4)?, words.get(5)?);
    let disk = if *root == "/" { number } else { root.trim_start_matches('/') };
    let read_only = options.split(',').any(|option| option == "ro");
    Some(((*at).to_owned(), Seen { disk: disk.to_owned(), read_only }))
}
