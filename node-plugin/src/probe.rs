//! What is on a disk. The answer decides over formatting, so it is given by our own reads of the
//! disk and not by a tool that calls "unknown" and "unreadable" the same.
//!
//! A disk is blank only if every read succeeded and everything read was zero: all of the first and
//! the last MiB, the places of ext's backup superblocks, and 64 even positions between. Anything
//! else is somebody's data until it is proved to be our own unfinished work.

use std::io;

use csi_core::Bytes;

use crate::features::Features;

use self::signatures::Signature;

pub mod ext;
mod signatures;
pub mod xfs;

/// Length of the areas at both ends of a disk that are read whole. Every signature that we know
/// lies in them.
pub const EDGE: u64 = 1 << 20;

/// Room at the end of a disk that a new file system does not cover, and that starts with the
/// marker. mke2fs wipes the last 64 KiB of the size that it is given, and mkfs.xfs the last 128 KiB
/// of the disk whatever it is given; the marker lies between. What is lost of the disk is far below
/// what [`FileSystem::grows_on`] acts on.
pub const TAIL: u64 = 256 << 10;

/// Length of the marker.
pub const MARKER_LENGTH: usize = 4096;

/// First bytes of the marker that stands near the end of a disk while a file system is being made:
/// "what you find here is unfinished and nobody's data".
pub const MARKER: &[u8; 32] = b"CSI-EBS-MKFS-UNFINISHED\n\x9e\x01\x7c\xd4\xb8\x33\xf1\x5a";

/// EBS volumes grow by whole GiB; less than this between the end of a file system and the end of
/// its disk is rounding (block groups, our [`TAIL`]) and not growth.
const GROWTH: u64 = 16 << 20;

/// Positions spread evenly over the disk that must be zero on a blank one.
const SAMPLES: u64 = 64;

/// What a disk holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// By signatures and zeros.
    pub content: Content,
    /// Whether a file system was begun here and not reported as made.
    pub marker: bool,
}

/// What a disk holds, by signatures and zeros.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Proved to hold nothing.
    Blank,
    /// A file system that we can mount.
    FileSystem(FileSystem),
    /// An XFS whose `mkfs` never ended (`sb_inprogress`).
    UnfinishedXfs,
    /// Something of another kind, by name.
    Foreign(String),
    /// No known signature, but not zero at this offset.
    Data(u64),
}

/// A file system that we can mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileSystem {
    /// Which.
    pub kind: FsKind,
    /// Its size.
    pub size: Bytes,
    /// Whether it is marked as damaged. A journal to replay is no damage: mounting replays it.
    pub damaged: bool,
    /// What a kernel must know to mount it.
    pub features: Features,
}

impl FileSystem {
    /// Whether the file system should be grown on a disk of this size.
    #[must_use]
    pub fn grows_on(&self, disk: Bytes) -> bool {
        disk.0.saturating_sub(self.size.0) >= GROWTH
    }
}

/// The file systems that we can mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FsKind {
    /// ext2: an ext4 without journal and features.
    Ext2,
    /// ext3.
    Ext3,
    /// ext4.
    Ext4,
    /// XFS.
    Xfs,
}

impl FsKind {
    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ext2 => "ext2",
            Self::Ext3 => "ext3",
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
        }
    }
}

/// The first and the last MiB of a disk.
pub(crate) struct Edges {
    head: Vec<u8>,
    tail: Vec<u8>,
    size: u64,
}

impl Edges {
    /// `length` bytes at `offset`, if they lie in an edge.
    pub(crate) fn at(&self, offset: u64, length: usize) -> Option<&[u8]> {
        let slice = |part: &'_ Vec<u8>, start: u64| -> Option<std::ops::Range<usize>> {
            let from = usize::try_from(offset.checked_sub(start)?).ok()?;
            let to = from.checked_add(length)?;
            (to <= part.len()).then_some(from..to)
        };
        let tail_start = self.size - u64::try_from(self.tail.len()).unwrap_or(0);
        slice(&self.head, 0)
            .map(|range| &self.head[range])
            .or_else(|| slice(&self.tail, tail_start).map(|range| &self.tail[range]))
    }
}

/// Reads a disk of `size` bytes by `read`, which fills the buffer from an offset.
///
/// # Errors
/// The first read that fails: what cannot be read is never blank.
pub fn probe(
    size: Bytes,
    mut read: impl FnMut(u64, &mut [u8]) -> io::Result<()>,
) -> io::Result<Probe> {
    let mut edges = read_edges(size, &mut read)?;
    let marker = take_marker(&mut edges);
    let content = match identify(&edges) {
        Some(content) => content,
        None => match first_data(&edges, &mut read)? {
            Some(offset) => Content::Data(offset),
            None => Content::Blank,
        },
    };
    Ok(Probe { content, marker })
}

fn read_edges(
    size: Bytes,
    read: &mut impl FnMut(u64, &mut [u8]) -> io::Result<()>,
) -> io::Result<Edges> {
    let length = size.0.min(EDGE);
    let buffer = || vec![0; usize::try_from(length).unwrap_or(0)];
    let (mut head, mut tail) = (buffer(), buffer());
    read(0, &mut head)?;
    read(size.0 - length, &mut tail)?;
    Ok(Edges { head, tail, size: size.0 })
}

/// Looks for the marker and blanks it out, so that it does not count as data.
fn take_marker(edges: &mut Edges) -> bool {
    let tail = usize::try_from(TAIL).unwrap_or(usize::MAX);
    let Some(start) = edges.tail.len().checked_sub(tail) else { return false };
    let place = start..start + MARKER_LENGTH;
    let marker = edges.tail[place.clone()].starts_with(MARKER);
    if marker {
        edges.tail[place.clone()].fill(0);
        if edges.size <= EDGE {
            edges.head[place].fill(0);
        }
    }
    marker
}

fn identify(edges: &Edges) -> Option<Content> {
    let found = signatures::find(edges);
    let strong: Vec<&Signature> = found.iter().filter(|found| !found.weak).collect();
    match strong.as_slice() {
        [] => found.first().map(|only| Content::Foreign(only.name.to_owned())),
        [only] if only.name.starts_with("ext") => Some(ext::read(edges)),
        [only] if only.name == "xfs" => Some(xfs::read(edges)),
        [only] => Some(Content::Foreign(only.name.to_owned())),
        several => {
            let names: Vec<&str> = several.iter().map(|found| found.name).collect();
            Some(Content::Foreign(names.join(" and ")))
        }
    }
}

/// The offset of the first byte found that is not zero.
fn first_data(
    edges: &Edges,
    read: &mut impl FnMut(u64, &mut [u8]) -> io::Result<()>,
) -> io::Result<Option<u64>> {
    let tail_start = edges.size - u64::try_from(edges.tail.len()).unwrap_or(0);
    for (start, part) in [(0, &edges.head), (tail_start, &edges.tail)] {
        if let Some(position) = part.iter().position(|&byte| byte != 0) {
            return Ok(Some(start + u64::try_from(position).unwrap_or(0)));
        }
    }
    let mut block = [0; MARKER_LENGTH];
    for offset in sample_offsets(edges.size).filter(|&offset| offset + 4096 <= tail_start) {
        read(offset, &mut block)?;
        if let Some(position) = block.iter().position(|&byte| byte != 0) {
            return Ok(Some(offset + u64::try_from(position).unwrap_or(0)));
        }
    }
    Ok(None)
}

fn sample_offsets(size: u64) -> impl Iterator<Item = u64> {
    let even = (1..SAMPLES).map(move |i| (size / SAMPLES * i) & !0xfff);
    even.chain(ext::backup_offsets())
}

/// Little-endian number at `offset` of `bytes`.
fn le<const N: usize>(bytes: &[u8], offset: usize) -> u64 {
    let part = bytes.get(offset..offset + N).unwrap_or_default();
    part.iter().rev().fold(0, |sum, &byte| (sum << 8) | u64::from(byte))
}

/// The bits of a feature field; the fields have 32 bits in all superblocks.
fn bits(field: u64) -> u32 {
    u32::try_from(field).unwrap_or(u32::MAX)
}

/// Big-endian number at `offset` of `bytes`.
fn be<const N: usize>(bytes: &[u8], offset: usize) -> u64 {
    let part = bytes.get(offset..offset + N).unwrap_or_default();
    part.iter().fold(0, |sum, &byte| (sum << 8) | u64::from(byte))
}

#[cfg(test)]
mod tests;
