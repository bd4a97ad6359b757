//! Tests of the probe on disks in memory.

use proptest::prelude::*;

use super::*;

const SIZE: u64 = 96 << 20;

/// A disk in memory, stored as the pieces that are not zero.
fn probe_of(pieces: &[(u64, &[u8])]) -> Probe {
    let read = |offset: u64, buffer: &mut [u8]| {
        buffer.fill(0);
        let end = offset + buffer.len() as u64;
        for (start, piece) in pieces {
            for (i, byte) in piece.iter().enumerate() {
                let at = start + i as u64;
                if (offset..end).contains(&at) {
                    buffer[usize::try_from(at - offset).unwrap()] = *byte;
                }
            }
        }
        Ok(())
    };
    probe(Bytes(SIZE), read).unwrap()
}

fn ext_superblock(state: u8, incompat: u8) -> Vec<u8> {
    let mut block = vec![0; 1024];
    block[4..8].copy_from_slice(&(16_384_u32).to_le_bytes());
    block[0x18] = 2;
    block[0x38..0x3a].copy_from_slice(&[0x53, 0xef]);
    block[0x3a] = state;
    block[0x5c] = 0x4;
    block[0x60] = incompat;
    block
}

fn file_system(probe: &Probe) -> FileSystem {
    match &probe.content {
        Content::FileSystem(found) => *found,
        other => panic!("no file system but {other:?}"),
    }
}

#[test]
fn zeros_are_blank_and_one_byte_at_an_edge_or_a_sample_is_data() {
    assert_eq!(probe_of(&[]), Probe { content: Content::Blank, marker: false });
    let sample = SIZE / 64 * 17;
    // Group 1 of an ext file system with blocks of 1 KiB: 8193 KiB.
    for offset in [0, 700_000, SIZE - 1, SIZE - EDGE, sample, 8193 << 10] {
        assert_eq!(probe_of(&[(offset, b"x")]).content, Content::Data(offset), "{offset}");
    }
}

#[test]
fn a_read_error_is_an_error_wherever_it_happens() {
    for bad in [0, SIZE - EDGE, SIZE / 64 * 9] {
        let read = |offset: u64, buffer: &mut [u8]| {
            buffer.fill(0);
            if offset == bad { Err(io::Error::other("bad sector")) } else { Ok(()) }
        };
        assert!(probe(Bytes(SIZE), read).is_err(), "{bad}");
    }
}

#[test]
fn every_signature_of_the_table_is_recognised_by_name() {
    for (name, offset, magic) in signatures::each_place(SIZE) {
        if name == "ext" || name == "xfs" {
            continue;
        }
        let content = probe_of(&[(offset, magic)]).content;
        let Content::Foreign(found) = &content else { panic!("{name}: {content:?}") };
        assert!(found.split(" and ").any(|found| found == name), "{name}: {found}");
    }
    let zfs = probe_of(&[((128 << 10) + 4096, b"\x0c\xb1\xba\x00\x00\x00\x00\x00")]);
    assert_eq!(zfs.content, Content::Foreign("ZFS".into()));
}

#[test]
fn an_ext_superblock_tells_kind_size_and_damage() {
    let read =
        |state, incompat| file_system(&probe_of(&[(1024, &ext_superblock(state, incompat))]));
    let clean = read(1, 0x42);
    assert_eq!((clean.kind, clean.size, clean.damaged), (FsKind::Ext4, Bytes(64 << 20), false));
    assert_eq!(read(1, 0x2).kind, FsKind::Ext3);
    assert!(!read(1, 0x46).damaged, "a journal to replay is no damage");
    assert!(read(3, 0x42).damaged && read(0, 0x42).damaged);
    assert!(clean.grows_on(Bytes(SIZE)) && !clean.grows_on(Bytes((64 << 20) + TAIL)));
}

#[test]
fn an_xfs_is_unfinished_until_its_mkfs_says_otherwise() {
    let mut block = vec![0; 512];
    block[..4].copy_from_slice(b"XFSB");
    block[4..8].copy_from_slice(&4096_u32.to_be_bytes());
    block[8..16].copy_from_slice(&16_384_u64.to_be_bytes());
    assert_eq!(file_system(&probe_of(&[(0, &block)])).size, Bytes(64 << 20));
    block[126] = 1;
    assert_eq!(probe_of(&[(0, &block)]).content, Content::UnfinishedXfs);
}

#[test]
fn a_file_system_beside_another_strong_signature_is_foreign_and_beside_an_mbr_it_is_not() {
    let ext = ext_superblock(1, 0x42);
    let both = probe_of(&[(1024, &ext), (512, b"LABELONE")]).content;
    assert_eq!(both, Content::Foreign("ext and LVM2 physical volume".into()));

    let mut mbr = vec![0; 66];
    mbr[4] = 0x83;
    mbr[12] = 1;
    mbr[64..].copy_from_slice(&[0x55, 0xaa]);
    assert_eq!(file_system(&probe_of(&[(446, &mbr), (1024, &ext)])).kind, FsKind::Ext4);
    let alone = probe_of(&[(446, &mbr)]).content;
    assert_eq!(alone, Content::Foreign("MBR partition table".into()));
}

#[test]
fn the_marker_is_seen_and_does_not_count_as_data() {
    let marker = (SIZE - TAIL, &MARKER[..]);
    assert_eq!(probe_of(&[marker]), Probe { content: Content::Blank, marker: true });
    let torn = probe_of(&[marker, (10 << 20, b"x"), (8193 << 10, b"inode table")]);
    assert_eq!(torn, Probe { content: Content::Data(8193 << 10), marker: true });
}

proptest! {
    #[test]
    fn random_heads_and_tails_are_never_blank_and_never_panic(
        head in prop::collection::vec(any::<u8>(), 1..4096),
        at in 0_u64..70_000,
        ext in any::<bool>(),
    ) {
        let magic: (u64, &[u8]) = if ext { (1024 + 0x38, b"\x53\xef") } else { (0, b"XFSB") };
        let pieces = [(at, head.as_slice()), magic];
        prop_assert_ne!(probe_of(&pieces).content, Content::Blank);
    }
}
