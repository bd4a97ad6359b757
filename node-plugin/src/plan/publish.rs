//! `NodePublishVolume`: show the staged directory, or the device, at the target.

use std::path::{Path, PathBuf};

use nix::mount::MsFlags;

use super::Place;
use crate::kernel::{DeviceNumber, MountEntry, PathKind, Step};
use crate::mount_options::{PER_MOUNT, flags_of};

/// What is to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// What is mounted at the staging path.
    Directory(PathBuf),
    /// The volume's device node.
    Device,
}

/// What is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// What.
    pub source: Source,
    /// Flags that the target must have beside those of the staged mount.
    pub flags: MsFlags,
    /// Whether no second target may exist.
    pub only_target: bool,
}

/// What was observed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The target.
    pub target: Place,
    /// The place beside it where flags are set.
    pub antechamber: Place,
    /// The mount at the staging path, if any.
    pub staged: Option<MountEntry>,
    /// The volume's device.
    pub device: DeviceNumber,
    /// Whether the mount at the target is one of a disk that is gone.
    pub stale: bool,
    /// Other paths where the volume is published.
    pub elsewhere: Vec<PathBuf>,
}

/// Why a volume is not published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishConflict {
    /// The staging path does not show the volume.
    #[error("the volume is not staged at {}: {found} is mounted there", path.display())]
    NotStaged {
        /// The staging path.
        path: PathBuf,
        /// What is there.
        found: String,
    },
    /// Something else is at the target.
    #[error("{found} is at the target already")]
    OtherSource {
        /// What.
        found: String,
    },
    /// The volume is published there in another way.
    #[error("the volume is published there with {found:?}, not with {wanted:?}")]
    OtherFlags {
        /// What is.
        found: MsFlags,
        /// What was asked for.
        wanted: MsFlags,
    },
    /// The target is of the wrong kind.
    #[error("the target is not {0}")]
    WrongKind(&'static str),
    /// The volume may have one target only.
    #[error("the volume is for one pod only and is published at {}", at.display())]
    SecondTarget {
        /// Where.
        at: PathBuf,
    },
}

/// The steps that publish the volume.
///
/// # Errors
/// [`PublishConflict`]; nothing may be changed then.
pub fn plan(seen: &Seen, want: &Publish) -> Result<Vec<Step>, PublishConflict> {
    let base = source_flags(seen, want)?;
    let flags = base | (want.flags & PER_MOUNT);
    let mut steps = Vec::new();
    match seen.target.top() {
        Some(_) if seen.stale || matches!(seen.target.kind, PathKind::Corrupted(_)) => {
            steps.extend(seen.target.peel());
        }
        Some(top) => {
            check_published(seen, top, want, flags)?;
            return Ok(seen.antechamber.clear());
        }
        None => check_free(seen, want)?,
    }
    if want.only_target
        && let Some(at) = seen.elsewhere.first()
    {
        return Err(PublishConflict::SecondTarget { at: at.clone() });
    }
    let (target, antechamber) = (&seen.target.path, &seen.antechamber.path);
    steps.extend(seen.antechamber.clear());
    if flags == base {
        steps.extend([make(want, target), show(want, target)]);
        return Ok(steps);
    }
    steps.extend([
        make(want, antechamber),
        show(want, antechamber),
        Step::Remount { at: antechamber.clone(), flags },
        make(want, target),
        Step::Bind { from: antechamber.clone(), to: target.clone() },
        Step::Unmount(antechamber.clone()),
        Step::Remove(antechamber.clone()),
    ]);
    Ok(steps)
}

/// The flags that a bind of the source has from birth.
fn source_flags(seen: &Seen, want: &Publish) -> Result<MsFlags, PublishConflict> {
    match (&want.source, &seen.staged) {
        (Source::Device, _) => Ok(MsFlags::empty()),
        (Source::Directory(_), Some(staged)) if staged.device == seen.device => {
            let file_system = flags_of(&staged.super_options) & MsFlags::MS_RDONLY;
            Ok((flags_of(&staged.options) & PER_MOUNT) | file_system)
        }
        (Source::Directory(path), staged) => Err(PublishConflict::NotStaged {
            path: path.clone(),
            found: staged
                .as_ref()
                .map_or_else(|| "nothing".to_owned(), |staged| format!("device {}", staged.device)),
        }),
    }
}

fn check_published(
    seen: &Seen,
    top: &MountEntry,
    want: &Publish,
    wanted: MsFlags,
) -> Result<(), PublishConflict> {
    let ours = match want.source {
        Source::Directory(_) => top.device == seen.device && top.root == Path::new("/"),
        Source::Device => seen.target.kind == PathKind::BlockDevice(seen.device),
    };
    if !ours {
        let found = format!("{} of device {} ({})", top.root.display(), top.device, top.fs);
        return Err(PublishConflict::OtherSource { found });
    }
    let mut found = flags_of(&top.options) & PER_MOUNT;
    if matches!(want.source, Source::Directory(_)) {
        found |= flags_of(&top.super_options) & MsFlags::MS_RDONLY;
        if found == wanted { Ok(()) } else { Err(PublishConflict::OtherFlags { found, wanted }) }
    } else if found.contains(MsFlags::MS_RDONLY) == wanted.contains(MsFlags::MS_RDONLY) {
        // The other flags of a device's mount are those of /dev.
        Ok(())
    } else {
        Err(PublishConflict::OtherFlags { found, wanted })
    }
}

fn check_free(seen: &Seen, want: &Publish) -> Result<(), PublishConflict> {
    match (&want.source, seen.target.kind) {
        (_, PathKind::Absent)
        | (Source::Directory(_), PathKind::Directory)
        | (Source::Device, PathKind::File) => Ok(()),
        (Source::Directory(_), _) => Err(PublishConflict::WrongKind("a directory")),
        (Source::Device, _) => Err(PublishConflict::WrongKind("a regular file")),
    }
}

fn make(want: &Publish, at: &Path) -> Step {
    match want.source {
        Source::Directory(_) => Step::MakeDir(at.to_owned()),
        Source::Device => Step::MakeFile(at.to_owned()),
    }
}

fn show(want: &Publish, at: &Path) -> Step {
    match &want.source {
        Source::Directory(from) => Step::Bind { from: from.clone(), to: at.to_owned() },
        Source::Device => Step::BindDevice(at.to_owned()),
    }
}
