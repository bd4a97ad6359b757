//! Every parameter in an accepted form and in a refused one.

use super::*;
use crate::capability::AccessMode;
use proptest::prelude::*;
use test_case::test_case;

fn parse(pairs: &[(&str, &str)]) -> Result<ClassParameters, Invalid> {
    let map = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    ClassParameters::parse(&map, InvalidTags::Refuse)
}

#[test]
fn the_documented_class_is_read_whole() {
    let class =
        parse(&[("type", "gp3"), ("fsType", "ext4"), ("iops", "4000"), ("throughput", "400")]);
    let class = class.unwrap();
    assert_eq!(class.volume_type.as_deref(), Some("gp3"));
    assert_eq!((class.iops, class.throughput), (Some(4000), Some(400)));
    assert_eq!(class.format, Format::new());
}

#[test]
fn keys_match_in_any_capitalisation_and_values_keep_theirs() {
    let class = parse(&[("TYPE", "GP3"), ("IOPSPERGB", "7"), ("KMSkeyID", "alias/K")]).unwrap();
    assert_eq!(class.volume_type.as_deref(), Some("GP3"));
    assert_eq!(class.iops_per_gib, Some(7));
    assert_eq!(class.kms_key.as_deref(), Some("alias/K"));
}

#[test]
fn zero_and_below_mean_not_set() {
    let class = parse(&[("iops", "0"), ("throughput", "-5"), ("iopsPerGB", "3")]).unwrap();
    assert_eq!((class.iops, class.throughput, class.iops_per_gib), (None, None, Some(3)));
}

#[test]
fn format_options_become_lower_case_context_keys() {
    let class = parse(&[
        ("blockSize", "4096"),
        ("inodeSize", "256"),
        ("bytesPerInode", "16384"),
        ("numberOfInodes", "1000"),
        ("ext4BigAlloc", "true"),
        ("ext4ClusterSize", "65536"),
        ("ext4EncryptionSupport", "true"),
    ])
    .unwrap();
    let keys: Vec<_> = class.format.keys().copied().collect();
    let want = [
        "blocksize",
        "bytesperinode",
        "ext4bigalloc",
        "ext4clustersize",
        "ext4encryptionsupport",
        "inodesize",
        "numberofinodes",
    ];
    assert_eq!(keys, want);
    assert_eq!(class.format["ext4clustersize"], "65536");
    assert_eq!(parse(&[("ext4BigAlloc", "false"), ("blockSize", "")]).unwrap().format.len(), 0);
}

#[test_case(&[("colour", "red")], "colour", "not a known parameter"; "unknown")]
#[test_case(&[("csi.storage.k8s.io/fstype", "xfs")], "csi.storage.k8s.io/fstype", "known"; "of the provisioner")]
#[test_case(&[("iops", "many")], "iops", "whole number"; "not a number")]
#[test_case(&[("throughput", "12.5")], "throughput", "whole number"; "not whole")]
#[test_case(&[("iopsPerGB", "4294967296")], "iopsPerGB", "2^31"; "too large")]
#[test_case(&[("volumeInitializationRate", "")], "volumeInitializationRate", "whole"; "empty number")]
#[test_case(&[("encrypted", "True")], "encrypted", "true or false"; "capital flag")]
#[test_case(&[("allowAutoIOPSPerGBIncrease", "1")], "allowAutoIOPSPerGBIncrease", "true or false"; "numeric flag")]
#[test_case(&[("allowAutoIOPSIncreaseOnModify", "x")], "allowAutoIOPSIncreaseOnModify", "true"; "other flag")]
#[test_case(&[("ext4BigAlloc", "yes")], "ext4BigAlloc", "true or false"; "yes")]
#[test_case(&[("ext4EncryptionSupport", "")], "ext4EncryptionSupport", "true or false"; "empty flag")]
#[test_case(&[("blockSize", "4k;rm")], "blockSize", "letters and digits"; "a shell's dream")]
#[test_case(&[("inodeSize", "-1")], "inodeSize", "letters and digits"; "sign")]
#[test_case(&[("iops", "1"), ("iopsPerGB", "1")], "iopsPerGB", "together"; "both kinds of iops")]
#[test_case(&[("ext4ClusterSize", "1")], "ext4ClusterSize", "ext4BigAlloc"; "cluster without bigalloc")]
#[test_case(&[("IOPS", "1"), ("iops", "1")], "iops", "same parameter"; "twice")]
#[test_case(&[("tagspecification_1", "a=b")], "tagspecification_1", "known"; "tag in wrong case")]
#[test_case(&[("tagSpecification_1", "ab")], "tagSpecification_1", "key=value"; "tag without value")]
fn is_refused_by_name(pairs: &[(&str, &str)], field: &str, rule: &str) {
    let error = parse(pairs).unwrap_err();
    assert_eq!(error.field, field);
    assert!(error.rule.contains(rule), "{error}");
}

#[test]
fn tags_are_read_in_the_order_of_their_keys_so_the_last_wins() {
    let class = parse(&[("tagSpecification_2", "a=2"), ("tagSpecification_1", "a=1")]).unwrap();
    assert_eq!(class.tags, Tags::from([("a".to_owned(), "2".to_owned())]));
}

#[test]
fn format_options_are_checked_against_the_file_system() {
    let mount = |fs_type| Capability {
        access: Access::Mount { fs_type, flags: vec![] },
        mode: AccessMode::SingleNodeWriter,
    };
    let block = Capability { access: Access::Block, mode: AccessMode::SingleNodeWriter };
    let inodes = parse(&[("bytesPerInode", "1")]).unwrap();
    inodes.check_format(&[mount(FsType::Ext4), mount(FsType::Ext3)]).unwrap();
    assert_eq!(inodes.check_format(&[mount(FsType::Xfs)]).unwrap_err().field, "bytesperinode");
    assert!(inodes.check_format(std::slice::from_ref(&block)).is_err());
    let big = parse(&[("ext4BigAlloc", "true")]).unwrap();
    assert!(big.check_format(&[mount(FsType::Ext3)]).is_err());
    let blocks = parse(&[("blockSize", "4096")]).unwrap();
    blocks.check_format(&[mount(FsType::Xfs)]).unwrap();
    parse(&[]).unwrap().check_format(&[block]).unwrap();
}

#[test]
fn no_two_rows_of_the_table_share_a_key() {
    let mut keys: Vec<String> = CLASS.iter().map(|row| row.key.to_lowercase()).collect();
    keys.sort();
    let all = keys.len();
    keys.dedup();
    assert_eq!(keys.len(), all);
}

proptest! {
    #[test]
    fn the_parser_never_panics_and_names_the_key_it_refuses(
        row in 0..CLASS.len(),
        suffix in "[a-z_0-9]{0,3}",
        value in "\\PC*",
        noise in "\\PC*",
    ) {
        let key = format!("{}{suffix}", CLASS[row].key);
        for key in [key.as_str(), noise.as_str()] {
            if let Err(error) = parse(&[(key, &value)]) {
                prop_assert_eq!(error.field, key);
            }
        }
    }

    #[test]
    fn numbers_round_trip(number in 1..=i32::MAX) {
        let class = parse(&[("iops", &number.to_string())]).unwrap();
        prop_assert_eq!(class.iops, u32::try_from(number).ok());
    }
}
