//! Which kernel can mount which file system: features of ext4 and XFS with the kernel that brought
//! each.
//!
//! Used twice. A new file system gets only features that the oldest kernel of the cluster has, for
//! a volume moves. And a file system that this node's kernel cannot mount is refused by the name of
//! the feature, before mount(2) would say "wrong fs type".
//!
//! Sources: of ext4, ext4(5), "Kernel support"; of XFS, the bits in the kernel's
//! `fs/xfs/libxfs/xfs_format.h`, the versions in the notes to the kernel's releases, and what is
//! made for which kernel in the `mkfs/lts_*.conf` of xfsprogs.

use std::fmt;

use crate::probe::FsKind;

/// Version of a kernel as far as file systems go by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelVersion {
    major: u32,
    minor: u32,
}

const fn v(major: u32, minor: u32) -> KernelVersion {
    KernelVersion { major, minor }
}

impl KernelVersion {
    /// The version in a release as `uname -r` and Kubernetes' `nodeInfo.kernelVersion` show it,
    /// `5.10.226-214.880.amzn2.x86_64`.
    #[must_use]
    pub fn parse(release: &str) -> Option<Self> {
        let mut numbers = release.trim().splitn(3, '.');
        let major = numbers.next()?.parse().ok()?;
        let minor = numbers.next()?;
        let end = minor.find(|c: char| !c.is_ascii_digit()).unwrap_or(minor.len());
        Some(Self { major, minor: minor[..end].parse().ok()? })
    }
}

impl fmt::Display for KernelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// The kernel of a node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Kernel {
    /// Its release, as `uname -r` shows it.
    pub release: String,
}

impl Kernel {
    /// Its version, if the release shows any.
    #[must_use]
    pub fn version(&self) -> Option<KernelVersion> {
        KernelVersion::parse(&self.release)
    }

    /// Whether the vendor brings features of newer kernels into this one, so that its version says
    /// little: Red Hat and its kin (`.el9`), SUSE (`-default`).
    fn has_backports(&self) -> bool {
        self.release.contains(".el") || self.release.ends_with("-default")
    }
}

/// Bits of a superblock that a kernel must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Features {
    /// To mount it at all.
    pub incompat: u32,
    /// To mount it writable.
    pub ro_compat: u32,
}

/// What a kernel needs a feature for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needed {
    ToMount,
    ToWrite,
}
use Needed::{ToMount, ToWrite};

/// A feature that some kernels in use lack.
#[derive(Debug, PartialEq, Eq)]
pub struct Feature {
    /// Its name in mkfs.
    pub name: &'static str,
    needed: Needed,
    bit: u32,
    /// The first kernel that has it.
    pub since: KernelVersion,
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (Linux {})", self.name, self.since)
    }
}

const fn feature(name: &'static str, needed: Needed, bit: u32, since: KernelVersion) -> Feature {
    Feature { name, needed, bit, since }
}

const EXT: [Feature; 14] = [
    feature("mmp", ToMount, 0x100, v(3, 0)),
    feature("ea_inode", ToMount, 0x400, v(4, 13)),
    feature("metadata_csum_seed", ToMount, 0x2000, v(4, 4)),
    feature("large_dir", ToMount, 0x4000, v(4, 13)),
    feature("inline_data", ToMount, 0x8000, v(3, 8)),
    feature("encrypt", ToMount, 0x1_0000, v(4, 1)),
    feature("casefold", ToMount, 0x2_0000, v(5, 2)),
    feature("quota", ToWrite, 0x100, v(3, 6)),
    feature("bigalloc", ToWrite, 0x200, v(3, 2)),
    feature("metadata_csum", ToWrite, 0x400, v(3, 18)),
    feature("read-only", ToWrite, 0x1000, v(4, 0)),
    feature("project", ToWrite, 0x2000, v(4, 5)),
    feature("verity", ToWrite, 0x8000, v(5, 4)),
    // `orphan_file` itself is compatible; this says that a mount has left entries in the file.
    feature("orphan_file", ToWrite, 0x1_0000, v(5, 15)),
];

const XFS: [Feature; 14] = [
    feature("ftype", ToMount, 0x1, v(3, 13)),
    feature("sparse", ToMount, 0x2, v(4, 2)),
    feature("meta_uuid", ToMount, 0x4, v(4, 3)),
    feature("bigtime", ToMount, 0x8, v(5, 10)),
    feature("needsrepair", ToMount, 0x10, v(5, 11)),
    feature("nrext64", ToMount, 0x20, v(5, 19)),
    feature("exchange", ToMount, 0x40, v(6, 10)),
    feature("parent", ToMount, 0x80, v(6, 10)),
    feature("metadir", ToMount, 0x100, v(6, 13)),
    feature("zoned", ToMount, 0x200, v(6, 15)),
    feature("finobt", ToWrite, 0x1, v(3, 16)),
    feature("rmapbt", ToWrite, 0x2, v(4, 8)),
    feature("reflink", ToWrite, 0x4, v(4, 9)),
    feature("inobtcount", ToWrite, 0x8, v(5, 10)),
];

/// The oldest kernel for which a feature is made: where it is stable, not where it first appeared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MadeFor(KernelVersion);

/// XFS: shared extents, on in `lts_5.4.conf`, off in `lts_4.19.conf`.
pub const REFLINK: MadeFor = MadeFor(v(5, 4));
/// XFS: time stamps beyond 2038 and counted inode B-trees, on in `lts_5.15.conf`.
pub const BIGTIME_INOBTCOUNT: MadeFor = MadeFor(v(5, 15));
/// XFS: 64-bit extent counters, off in `lts_6.1.conf`, no longer experimental in Linux 6.5.
pub const NREXT64: MadeFor = MadeFor(v(6, 5));
/// ext4: `orphan_file` and `metadata_csum_seed`, both on by default since e2fsprogs 1.47, the first
/// since Linux 5.15.
pub const ORPHAN_FILE_CSUM_SEED: MadeFor = MadeFor(v(5, 15));

impl MadeFor {
    /// Whether all kernels from `oldest` on have the feature.
    #[must_use]
    pub fn suits(self, oldest: KernelVersion) -> bool {
        oldest >= self.0
    }
}

/// The features of a file system that the kernel lacks for this kind of mount. Bits that are not in
/// the table are left to mount(2): this kernel may be newer than the table.
#[must_use]
pub fn missing(
    kind: FsKind,
    features: Features,
    kernel: &Kernel,
    read_only: bool,
) -> Vec<&'static Feature> {
    let Some(version) = kernel.version().filter(|_| !kernel.has_backports()) else {
        return Vec::new();
    };
    let table: &[Feature] = if kind == FsKind::Xfs { &XFS } else { &EXT };
    let is_missing = |feature: &&Feature| {
        let bits = match feature.needed {
            ToMount => features.incompat,
            ToWrite if read_only => 0,
            ToWrite => features.ro_compat,
        };
        bits & feature.bit != 0 && version < feature.since
    };
    table.iter().filter(is_missing).collect()
}

#[cfg(test)]
mod tests;
