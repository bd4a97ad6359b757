//! The superblock of XFS. Source: "XFS Algorithms & Data Structures", superblocks.

use csi_core::Bytes;

use super::{Content, Edges, FileSystem, FsKind, be, bits};
use crate::features::Features;

pub(super) fn read(edges: &Edges) -> Content {
    let Some(block) = edges.at(0, 512) else {
        return Content::Foreign("XFS superblock on a disk too small for it".to_owned());
    };
    if block[126] != 0 {
        return Content::UnfinishedXfs;
    }
    let (block_size, blocks) = (be::<4>(block, 4), be::<8>(block, 8));
    match block_size.checked_mul(blocks) {
        Some(size) if size > 0 && block_size.is_power_of_two() => {
            let (kind, size, features) = (FsKind::Xfs, Bytes(size), features(block));
            Content::FileSystem(FileSystem { kind, size, damaged: false, features })
        }
        _ => Content::Foreign("damaged XFS superblock".to_owned()),
    }
}

/// Only version 5 has the fields; the older versions every kernel in use can mount.
fn features(block: &[u8]) -> Features {
    if be::<2>(block, 100) & 0xf != 5 {
        return Features::default();
    }
    Features { incompat: bits(be::<4>(block, 216)), ro_compat: bits(be::<4>(block, 212)) }
}
