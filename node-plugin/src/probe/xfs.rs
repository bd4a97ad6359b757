//! The superblock of XFS. Source: "XFS Algorithms & Data Structures", superblocks.

use csi_core::Bytes;

use super::{Content, Edges, FileSystem, FsKind, be};

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
            Content::FileSystem(FileSystem { kind: FsKind::Xfs, size: Bytes(size), damaged: false })
        }
        _ => Content::Foreign("damaged XFS superblock".to_owned()),
    }
}
