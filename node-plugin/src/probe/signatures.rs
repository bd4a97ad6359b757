//! Signatures of what may be on a disk. They only give names to refusals: a disk that is not zero
//! is never formatted, known or not. Sources: the formats' own documentation and util-linux's
//! libblkid, whose table is the largest public one.

use super::Edges;

/// A signature that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Signature {
    pub(super) name: &'static str,
    /// May stand beside a file system without contradicting it.
    pub(super) weak: bool,
}

/// Where a signature stands.
#[derive(Clone, Copy)]
enum Place {
    /// From the start of the disk.
    Start(u64),
    /// From its end.
    End(u64),
    /// From its end rounded down to whole units: unit, then distance.
    AlignedEnd(u64, u64),
}
use Place::{AlignedEnd, End, Start};

const TABLE: &[(&str, Place, &[u8])] = &[
    ("ext", Start(1024 + 0x38), b"\x53\xef"),
    ("xfs", Start(0), b"XFSB"),
    ("XFS log", Start(0), b"\xfe\xed\xba\xbe"),
    ("btrfs", Start(65_536 + 64), b"_BHRfS_M"),
    ("LUKS", Start(0), b"LUKS\xba\xbe"),
    ("LUKS2 (second header)", Start(0x4000), b"SKUL\xba\xbe"),
    ("LUKS2 (second header)", Start(0x8000), b"SKUL\xba\xbe"),
    ("LVM2 physical volume", Start(0), b"LABELONE"),
    ("LVM2 physical volume", Start(512), b"LABELONE"),
    ("LVM2 physical volume", Start(1024), b"LABELONE"),
    ("LVM2 physical volume", Start(1536), b"LABELONE"),
    ("LVM1 physical volume", Start(0), b"HM"),
    ("md raid 1.1", Start(0), b"\xfc\x4e\x2b\xa9"),
    ("md raid 1.2", Start(4096), b"\xfc\x4e\x2b\xa9"),
    ("md raid 1.0", AlignedEnd(4096, 8192), b"\xfc\x4e\x2b\xa9"),
    ("md raid 0.90", AlignedEnd(65_536, 65_536), b"\xfc\x4e\x2b\xa9"),
    ("md raid 0.90", AlignedEnd(65_536, 65_536), b"\xa9\x2b\x4e\xfc"),
    (
        "bcache",
        Start(4096 + 24),
        b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81",
    ),
    (
        "bcachefs",
        Start(4096 + 24),
        b"\xc6\x85\x73\xf6\x66\xce\x90\xa9\xd9\x6a\x60\xcf\x80\x3d\xf7\xef",
    ),
    ("Stratis", Start(512 + 4), b"!Stra0tis\x86\xff\x02^\x41"),
    ("VDO", Start(0), b"dmvdo001"),
    ("DDF raid", End(512), b"\xde\x11\xde\x11"),
    ("Intel raid", End(1024), b"Intel Raid ISM Cfg Sig. "),
    ("DRBD", End(4096 - 60), b"\x83\x74\x02\x6b"),
    ("Ceph BlueStore", Start(0), b"bluestore block device"),
    ("Oracle ASM", Start(32), b"ORCLDISK"),
    ("swap", Start(4096 - 10), b"SWAPSPACE2"),
    ("swap", Start(4096 - 10), b"SWAP-SPACE"),
    ("swap", Start(8192 - 10), b"SWAPSPACE2"),
    ("swap", Start(16_384 - 10), b"SWAPSPACE2"),
    ("swap", Start(65_536 - 10), b"SWAPSPACE2"),
    ("hibernation image", Start(4096 - 10), b"S1SUSPEND"),
    ("hibernation image", Start(4096 - 10), b"LINHIB0001"),
    ("NTFS", Start(3), b"NTFS    "),
    ("exFAT", Start(3), b"EXFAT   "),
    ("ReFS", Start(3), b"ReFS"),
    ("BitLocker", Start(3), b"-FVE-FS-"),
    ("FAT", Start(54), b"FAT12   "),
    ("FAT", Start(54), b"FAT16   "),
    ("FAT", Start(82), b"FAT32   "),
    ("f2fs", Start(1024), b"\x10\x20\xf5\xf2"),
    ("erofs", Start(1024), b"\xe2\xe1\xf5\xe0"),
    ("squashfs", Start(0), b"hsqs"),
    ("squashfs", Start(0), b"sqsh"),
    ("cramfs", Start(0), b"\x45\x3d\xcd\x28"),
    ("romfs", Start(0), b"-rom1fs-"),
    ("ISO 9660", Start(32_768 + 1), b"CD001"),
    ("UDF", Start(32_768 + 1), b"BEA01"),
    ("UDF", Start(32_768 + 1), b"NSR02"),
    ("UDF", Start(32_768 + 1), b"NSR03"),
    ("reiserfs", Start(65_536 + 52), b"ReIsEr"),
    ("reiserfs", Start(8192 + 52), b"ReIsEr"),
    ("reiser4", Start(65_536), b"ReIsEr4"),
    ("JFS", Start(32_768), b"JFS1"),
    ("nilfs2", Start(1024 + 6), b"\x34\x34"),
    ("ocfs2", Start(4096), b"OCFSV2"),
    ("GFS2", Start(65_536), b"\x01\x16\x19\x70"),
    ("HFS+", Start(1024), b"H+\x00\x04"),
    ("HFS+", Start(1024), b"HX\x00\x05"),
    ("APFS", Start(32), b"NXSB"),
    ("VxFS", Start(1024), b"\xf5\xfc\x01\xa5"),
    ("minix", Start(1024 + 16), b"\x7f\x13"),
    ("minix", Start(1024 + 16), b"\x8f\x13"),
    ("UBI", Start(0), b"UBI#"),
    ("snapshot exception store", Start(0), b"SnAp"),
    ("GPT partition table", Start(512), b"EFI PART"),
    ("GPT partition table", Start(4096), b"EFI PART"),
    ("GPT partition table", End(512), b"EFI PART"),
    ("GPT partition table", End(4096), b"EFI PART"),
    ("Apple partition map", Start(512), b"PM\x00\x00"),
    ("Sun disk label", Start(508), b"\xda\xbe"),
    ("BSD disk label", Start(512), b"\x57\x45\x56\x82"),
];

/// ZFS uberblocks: magic, little- and big-endian.
const ZFS: [&[u8]; 2] = [b"\x0c\xb1\xba\x00\x00\x00\x00\x00", b"\x00\x00\x00\x00\x00\xba\xb1\x0c"];

/// All signatures that stand on a disk, each name once.
pub(super) fn find(edges: &Edges) -> Vec<Signature> {
    let mut found: Vec<Signature> = Vec::new();
    let mut add = |name: &'static str, weak: bool| {
        if !found.iter().any(|signature| signature.name == name) {
            found.push(Signature { name, weak });
        }
    };
    for &(name, place, magic) in TABLE {
        if stands_at(edges, place, magic) {
            add(name, false);
        }
    }
    if has_zfs_label(edges) {
        add("ZFS", false);
    }
    if has_mbr(edges) && !found_boot_sector(edges) {
        // A boot sector may stand before a file system, whose own superblock is elsewhere.
        add("MBR partition table", true);
    }
    found
}

fn stands_at(edges: &Edges, place: Place, magic: &[u8]) -> bool {
    let offset = match place {
        Start(offset) => Some(offset),
        End(distance) => edges.size.checked_sub(distance),
        AlignedEnd(unit, distance) => (edges.size / unit * unit).checked_sub(distance),
    };
    offset.is_some_and(|offset| edges.at(offset, magic.len()) == Some(magic))
}

/// ZFS writes four labels of 256 KiB, two at each end; each has its uberblocks in the second half,
/// one of which may stand at any KiB.
fn has_zfs_label(edges: &Edges) -> bool {
    let end = edges.size / (256 << 10) * (256 << 10);
    let labels = [0, 256 << 10, end.saturating_sub(512 << 10), end.saturating_sub(256 << 10)];
    labels.into_iter().any(|label| {
        (0..128_u64).any(|i| {
            let uberblock = edges.at(label + (128 << 10) + (i << 10), 8);
            uberblock.is_some_and(|magic| ZFS.contains(&magic))
        })
    })
}

/// Whether the boot sector is a file system's own, which ends in the same two bytes as an MBR.
fn found_boot_sector(edges: &Edges) -> bool {
    let starts: [&[u8]; 4] = [b"NTFS    ", b"EXFAT   ", b"ReFS", b"-FVE-FS-"];
    starts.iter().any(|magic| stands_at(edges, Start(3), magic))
        || stands_at(edges, Start(54), b"FAT1")
        || stands_at(edges, Start(82), b"FAT32")
}

/// A boot sector with at least one partition entry that makes sense.
fn has_mbr(edges: &Edges) -> bool {
    let Some(sector) = edges.at(0, 512) else { return false };
    let entry_exists = |i: usize| {
        let entry = &sector[446 + 16 * i..462 + 16 * i];
        matches!(entry[0], 0 | 0x80) && entry[4] != 0 && entry[12..16] != [0; 4]
    };
    sector[510..] == [0x55, 0xaa] && (0..4).any(entry_exists)
}

#[cfg(test)]
pub(super) fn each_place(size: u64) -> impl Iterator<Item = (&'static str, u64, &'static [u8])> {
    TABLE.iter().map(move |&(name, place, magic)| {
        let offset = match place {
            Start(offset) => offset,
            End(distance) => size - distance,
            AlignedEnd(unit, distance) => size / unit * unit - distance,
        };
        (name, offset, magic)
    })
}
