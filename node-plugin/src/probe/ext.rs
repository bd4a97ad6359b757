//! The superblock of ext2, ext3 and ext4. Source: kernel documentation, "ext4: Super Block".

use csi_core::Bytes;

use super::{Content, Edges, FileSystem, FsKind, bits, le};
use crate::features::Features;

/// Where the superblock starts, whatever the block size.
const SUPERBLOCK: u64 = 1024;

const COMPAT_HAS_JOURNAL: u64 = 0x4;
const INCOMPAT_JOURNAL_DEV: u64 = 0x8;
const INCOMPAT_64BIT: u64 = 0x80;
/// Incompatible features that ext2 and ext3 have: `filetype`, `recover`, `meta_bg`.
const INCOMPAT_OLD: u64 = 0x2 | 0x4 | 0x10;
/// Read-only compatible ones: `sparse_super`, `large_file`, `btree_dir`.
const RO_COMPAT_OLD: u64 = 0x1 | 0x2 | 0x4;

const STATE_CLEAN: u64 = 0x1;
const STATE_ERRORS: u64 = 0x2;

pub(super) fn read(edges: &Edges) -> Content {
    let Some(block) = edges.at(SUPERBLOCK, 1024) else {
        return Content::Foreign("ext superblock on a disk too small for it".to_owned());
    };
    let (compat, incompat, ro_compat) =
        (le::<4>(block, 0x5c), le::<4>(block, 0x60), le::<4>(block, 0x64));
    if incompat & INCOMPAT_JOURNAL_DEV != 0 {
        return Content::Foreign("external journal of an ext file system".to_owned());
    }
    let high = if incompat & INCOMPAT_64BIT == 0 { 0 } else { le::<4>(block, 0x150) };
    let (blocks, log_size) = (le::<4>(block, 4) | (high << 32), le::<4>(block, 0x18));
    let size = if log_size <= 6 { blocks.checked_mul(1024 << log_size) } else { None };
    let Some(size) = size.filter(|&size| size > 0) else {
        return Content::Foreign("damaged ext superblock".to_owned());
    };
    let state = le::<2>(block, 0x3a);
    Content::FileSystem(FileSystem {
        kind: kind(compat, incompat, ro_compat),
        size: Bytes(size),
        damaged: state & STATE_CLEAN == 0 || state & STATE_ERRORS != 0,
        features: Features { incompat: bits(incompat), ro_compat: bits(ro_compat) },
    })
}

fn kind(compat: u64, incompat: u64, ro_compat: u64) -> FsKind {
    if incompat & !INCOMPAT_OLD != 0 || ro_compat & !RO_COMPAT_OLD != 0 {
        FsKind::Ext4
    } else if compat & COMPAT_HAS_JOURNAL != 0 {
        FsKind::Ext3
    } else {
        FsKind::Ext2
    }
}

/// Offsets of backup superblocks, for the block sizes that mke2fs chooses by itself. A killed
/// mke2fs, or a head wiped by mistake, leaves some of them.
pub(super) fn backup_offsets() -> impl Iterator<Item = u64> {
    [1024_u64, 2048, 4096].into_iter().flat_map(|block| {
        let first = u64::from(block == 1024);
        [1, 3, 5, 7, 9, 25, 27, 49].map(move |group| (group * 8 * block + first) * block)
    })
}
