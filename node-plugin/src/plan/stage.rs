//! `NodeStageVolume` for a file system: format what is proved blank, mount, grow.

use csi_core::FsType;
use nix::mount::MsFlags;

use super::Place;
use crate::features::{self, Kernel};
use crate::format::FormatOptions;
use crate::kernel::{Disk, GrowTool, MountEntry, PathKind, Step};
use crate::mount_options::{MountOptions, PER_MOUNT, TIMES, flags_of};
use crate::probe::{Content, FileSystem, FsKind, Probe};

/// What is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// File system to make on a blank disk, and to expect on another.
    pub fs: FsType,
    /// How to mount it.
    pub options: MountOptions,
    /// How to make it.
    pub format: FormatOptions,
}

/// What was observed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The staging path.
    pub place: Place,
    /// The volume's disk.
    pub disk: Disk,
    /// Whether the mount at the staging path is one of a disk that is gone.
    pub stale: bool,
    /// What the disk holds.
    pub probe: Probe,
    /// Whether somebody uses the disk, so that it must not be written to but through a mount.
    pub in_use: bool,
    /// The node's kernel.
    pub kernel: Kernel,
}

/// Why a volume is not staged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StageConflict {
    /// Another file system is mounted at the staging path.
    #[error("another device ({found}) is mounted there")]
    OtherDevice {
        /// Its number and type.
        found: String,
    },
    /// The volume is staged there in another way.
    #[error("the volume is mounted there with {found}, not with {wanted}")]
    OtherOptions {
        /// What is.
        found: String,
        /// What was asked for.
        wanted: String,
    },
    /// The path is no directory.
    #[error("the path is not a directory")]
    NotADirectory,
    /// The disk holds something that is no file system of ours.
    #[error(
        "{disk} holds {found}; it will not be formatted. Wipe it (wipefs, then zeroes) if it is to be used"
    )]
    Foreign {
        /// The disk.
        disk: String,
        /// What it holds.
        found: String,
    },
    /// The disk holds data of an unknown kind.
    #[error(
        "{disk} has no known signature but data at byte {offset}; it will not be formatted. \
         Zero it if it is to be used"
    )]
    UnknownData {
        /// The disk.
        disk: String,
        /// Where the first byte was found that is not zero.
        offset: u64,
    },
    /// The disk holds an XFS whose making was broken off, and not by this driver.
    #[error(
        "{disk} holds an unfinished XFS that this driver did not begin; it will not be formatted"
    )]
    Unfinished {
        /// The disk.
        disk: String,
    },
    /// The disk holds another file system than the volume is said to have.
    #[error(
        "{disk} holds {found} but the volume's file system is said to be {wanted}; correct the fsType"
    )]
    OtherFileSystem {
        /// The disk.
        disk: String,
        /// What it holds.
        found: &'static str,
        /// What was asked for.
        wanted: FsType,
    },
    /// The node's kernel is too old for the file system.
    #[error(
        "{disk} holds {found} with {features}, which the kernel of this node ({kernel}) cannot \
         mount{}; use a node with a newer kernel",
        if *writable { " writable" } else { "" }
    )]
    TooNew {
        /// The disk.
        disk: String,
        /// Its file system.
        found: &'static str,
        /// What the kernel lacks, each with the first kernel that has it.
        features: String,
        /// The kernel's release.
        kernel: String,
        /// Whether it is about a mount that may write.
        writable: bool,
    },
    /// A file system would have to be made on a disk that must not be written to.
    #[error("{disk} holds no file system and {why}, so none can be made")]
    BlankButReadOnly {
        /// The disk.
        disk: String,
        /// Why not.
        why: &'static str,
    },
    /// A file system would have to be made or repaired, but the disk is in use.
    #[error("{disk} must be formatted first but is in use by another tool or subsystem")]
    InUse {
        /// The disk.
        disk: String,
    },
}

/// The steps that stage the volume.
///
/// # Errors
/// [`StageConflict`]; nothing may be changed then.
pub fn plan(seen: &Seen, want: &Stage) -> Result<Vec<Step>, StageConflict> {
    let mut steps = Vec::new();
    match seen.place.top() {
        Some(_) if seen.stale => steps.extend(seen.place.peel()),
        Some(top) => return already(seen, top, want),
        None => match seen.place.kind {
            PathKind::Directory => {}
            PathKind::Absent => steps.push(Step::MakeDir(seen.place.path.clone())),
            PathKind::Corrupted(_) => steps.extend(seen.place.peel()),
            _ => return Err(StageConflict::NotADirectory),
        },
    }
    let kind = make_ready(seen, want, &mut steps)?;
    let mut options = want.options.clone();
    if seen.disk.read_only {
        options.flags |= MsFlags::MS_RDONLY;
    }
    if kind == FsKind::Xfs {
        // A snapshot or clone has the UUID of its source, which may be mounted on the same node.
        options = options.with_data("nouuid");
    }
    let at = seen.place.path.clone();
    let writable = !options.is_read_only();
    steps.push(Step::Mount { at, fs: mount_type(kind, want.fs), options });
    steps.extend(grow(seen).filter(|_| writable));
    Ok(steps)
}

/// The volume is mounted there: right, and perhaps to be grown, or wrong.
fn already(seen: &Seen, top: &MountEntry, want: &Stage) -> Result<Vec<Step>, StageConflict> {
    if top.device != seen.disk.number || top.root != std::path::Path::new("/") {
        let found = format!("{} {}", top.device, top.fs);
        return Err(StageConflict::OtherDevice { found });
    }
    if family(&top.fs) != family(want.fs.as_str()) {
        let (found, wanted) = (top.fs.clone(), want.fs.to_string());
        return Err(StageConflict::OtherOptions { found, wanted });
    }
    let has = flags_of(&top.options) | flags_of(&top.super_options);
    let mut wants = want.options.flags;
    if seen.disk.read_only {
        wants |= MsFlags::MS_RDONLY;
    }
    if !same_flags(has, wants) {
        let (found, wanted) = (format!("{has:?}"), format!("{wants:?}"));
        return Err(StageConflict::OtherOptions { found, wanted });
    }
    Ok(if top.is_read_only() { Vec::new() } else { grow(seen).into_iter().collect() })
}

/// Whether a mount with the flags `has` is what a request for `wants` gets. Only flags that the
/// mount table shows exactly are compared; a file system's own options show up in too many forms.
fn same_flags(has: MsFlags, wants: MsFlags) -> bool {
    let exact = PER_MOUNT | MsFlags::MS_SYNCHRONOUS | MsFlags::MS_DIRSYNC;
    has & exact == wants & exact && times(has, true) == times(wants, false)
}

/// How access times are kept. A request that says nothing gets `relatime`; the mount table shows
/// `strictatime` as nothing.
fn times(flags: MsFlags, shown: bool) -> MsFlags {
    let times = flags & TIMES;
    let strict = shown || times.contains(MsFlags::MS_STRICTATIME);
    let named = times & (MsFlags::MS_NOATIME | MsFlags::MS_NODIRATIME | MsFlags::MS_RELATIME);
    if strict || named.contains(MsFlags::MS_NOATIME) { named } else { named | MsFlags::MS_RELATIME }
}

/// What must happen before the file system can be mounted, and which it then is.
fn make_ready(seen: &Seen, want: &Stage, steps: &mut Vec<Step>) -> Result<FsKind, StageConflict> {
    let disk = || seen.disk.name.clone();
    match (&seen.probe.content, seen.probe.marker) {
        // Its superblock is the last thing that mke2fs writes and syncs, so it is whole; only the
        // marker is left over.
        (Content::FileSystem(found), true) if found.kind != FsKind::Xfs => {
            check_kind(seen, found, want)?;
            check_kernel(seen, found, want)?;
            writable(seen, want)?;
            steps.push(Step::ClearMarker);
            Ok(found.kind)
        }
        (Content::FileSystem(found), false) => {
            check_kind(seen, found, want)?;
            check_kernel(seen, found, want)?;
            let may_write = !want.options.is_read_only() && !seen.disk.read_only && !seen.in_use;
            if found.damaged && found.kind != FsKind::Xfs && may_write {
                steps.push(Step::Repair);
            }
            Ok(found.kind)
        }
        (Content::Blank, _)
        | (Content::FileSystem(_) | Content::UnfinishedXfs | Content::Data(_), true) => {
            writable(seen, want)?;
            let (fs, options) = (want.fs, want.format.clone().and_for(&seen.kernel));
            steps.extend([Step::WriteMarker, Step::MakeFs { fs, options }, Step::ClearMarker]);
            Ok(made(want.fs))
        }
        (Content::Foreign(found), _) => {
            Err(StageConflict::Foreign { disk: disk(), found: found.clone() })
        }
        (Content::UnfinishedXfs, false) => Err(StageConflict::Unfinished { disk: disk() }),
        (Content::Data(offset), false) => {
            Err(StageConflict::UnknownData { disk: disk(), offset: *offset })
        }
    }
}

fn writable(seen: &Seen, want: &Stage) -> Result<(), StageConflict> {
    let disk = seen.disk.name.clone();
    if want.options.is_read_only() {
        let why = "it is to be mounted read-only";
        Err(StageConflict::BlankButReadOnly { disk, why })
    } else if seen.disk.read_only {
        Err(StageConflict::BlankButReadOnly { disk, why: "the device is read-only" })
    } else if seen.in_use {
        Err(StageConflict::InUse { disk })
    } else {
        Ok(())
    }
}

/// ext4's driver mounts all of ext2, ext3 and ext4; XFS is another world.
fn check_kind(seen: &Seen, found: &FileSystem, want: &Stage) -> Result<(), StageConflict> {
    if family(found.kind.as_str()) == family(want.fs.as_str()) {
        Ok(())
    } else {
        let disk = seen.disk.name.clone();
        Err(StageConflict::OtherFileSystem { disk, found: found.kind.as_str(), wanted: want.fs })
    }
}

fn check_kernel(seen: &Seen, found: &FileSystem, want: &Stage) -> Result<(), StageConflict> {
    let writable = !want.options.is_read_only() && !seen.disk.read_only;
    let missing = features::missing(found.kind, found.features, &seen.kernel, !writable);
    if missing.is_empty() {
        return Ok(());
    }
    let features: Vec<String> = missing.iter().map(ToString::to_string).collect();
    Err(StageConflict::TooNew {
        disk: seen.disk.name.clone(),
        found: found.kind.as_str(),
        features: features.join(", "),
        kernel: seen.kernel.release.clone(),
        writable,
    })
}

fn family(fs: &str) -> &str {
    if fs.starts_with("ext") { "ext" } else { fs }
}

fn made(fs: FsType) -> FsKind {
    match fs {
        FsType::Ext3 => FsKind::Ext3,
        FsType::Ext4 => FsKind::Ext4,
        FsType::Xfs => FsKind::Xfs,
    }
}

fn mount_type(found: FsKind, wanted: FsType) -> &'static str {
    match (found, wanted) {
        (FsKind::Xfs, _) => "xfs",
        (FsKind::Ext3, FsType::Ext3) => "ext3",
        (FsKind::Ext2 | FsKind::Ext3 | FsKind::Ext4, _) => "ext4",
    }
}

/// The step that brings the file system to the size of its disk; the mount must be writable.
fn grow(seen: &Seen) -> Option<Step> {
    let Content::FileSystem(found) = &seen.probe.content else { return None };
    let grows = found.grows_on(seen.disk.size);
    grows.then(|| Step::Grow { at: seen.place.path.clone(), fs: grow_tool(found.kind) })
}

/// The tool that grows a mounted file system of this kind.
#[must_use]
pub fn grow_tool(kind: FsKind) -> GrowTool {
    match kind {
        FsKind::Xfs => GrowTool::XfsGrowfs,
        FsKind::Ext2 | FsKind::Ext3 | FsKind::Ext4 => GrowTool::Resize2fs,
    }
}
