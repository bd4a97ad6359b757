//! Every parameter in each form that it accepts, with what comes of it, and in forms that it
//! refuses. A parameter without a case here fails.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use super::{
    ClassParameters, InvalidTags, Match, MutableParameters, Parameter, SnapshotParameters, class,
    mutable, snapshot,
};
use crate::rpc_error::Invalid;

/// The cases of one parameter.
struct Case {
    key: &'static str,
    /// Values, and what `Debug` then shows in the result.
    accepted: &'static [(&'static str, &'static str)],
    refused: &'static [&'static str],
    /// What the parameter needs beside it.
    beside: &'static [(&'static str, &'static str)],
}

const fn case(
    key: &'static str,
    accepted: &'static [(&'static str, &'static str)],
    refused: &'static [&'static str],
) -> Case {
    Case { key, accepted, refused, beside: &[] }
}

const NO_NUMBERS: &[&str] = &["", "many", "12.5", "4294967296", "1 ", "0x10", "1e3"];
const NO_FLAGS: &[&str] = &["", "True", "yes", "1", "0"];
const NO_WORDS: &[&str] = &["-1", "4k;rm", "a b", "ä"];
const NO_TAGS: &[&str] = &[
    "",
    "noequals",
    "=x",
    "CSIVolumeName=x",
    "kubernetes.io/a=b",
    "ebs.csi.aws.com/cluster=true",
    "aws:a=b",
    "a={{ .Nobody }}",
    "a={{ if .PVCName }}",
];

const CLASS_CASES: &[Case] = &[
    case(
        "type",
        &[("gp3", "volume_type: Some(\"gp3\")"), ("GP3", "Some(\"GP3\")"), ("", "type: None")],
        &[],
    ),
    case(
        "iops",
        &[
            ("4000", "iops: Some(4000)"),
            ("+7", " iops: Some(7)"),
            ("0", " iops: None"),
            ("-1", " iops: None"),
        ],
        NO_NUMBERS,
    ),
    case("iopsPerGB", &[("50", "iops_per_gib: Some(50)"), ("0", "iops_per_gib: None")], NO_NUMBERS),
    case(
        "allowAutoIOPSPerGBIncrease",
        &[("true", "lift_iops: true"), ("false", "lift_iops: false")],
        NO_FLAGS,
    ),
    case(
        "allowAutoIOPSIncreaseOnModify",
        &[
            ("true", "raise_iops_on_modify: Some(true)"),
            ("false", "raise_iops_on_modify: Some(false)"),
        ],
        NO_FLAGS,
    ),
    case("throughput", &[("400", "throughput: Some(400)"), ("0", "throughput: None")], NO_NUMBERS),
    case(
        "encrypted",
        &[("true", "encrypted: Some(true)"), ("false", "encrypted: Some(false)")],
        NO_FLAGS,
    ),
    case("kmsKeyId", &[("alias/k", "kms_key: Some(\"alias/k\")"), ("", "kms_key: None")], &[]),
    case(
        "volumeInitializationRate",
        &[("300", "initialization_rate: Some(300)"), ("0", "initialization_rate: None")],
        NO_NUMBERS,
    ),
    case(
        "blockAttachUntilInitialized",
        &[
            ("true", "block_attach_until_initialized: true"),
            ("false", "block_attach_until_initialized: false"),
        ],
        NO_FLAGS,
    ),
    case(
        "oldestKernel",
        &[
            ("5.10", "oldest_kernel: Some(\"5.10\")"),
            ("6.1.0-1-amd64", "oldest_kernel: Some(\"6.1.0-1-amd64\")"),
            ("", "oldest_kernel: None"),
        ],
        &["5", "new", "5.x", "v5.10", "-1.2", " 5.10"],
    ),
    case("blockSize", &[("4096", "\"blocksize\": \"4096\""), ("", "format: {}")], NO_WORDS),
    case("inodeSize", &[("256", "\"inodesize\": \"256\"")], NO_WORDS),
    case("bytesPerInode", &[("16384", "\"bytesperinode\": \"16384\"")], NO_WORDS),
    case("numberOfInodes", &[("1000", "\"numberofinodes\": \"1000\"")], NO_WORDS),
    Case {
        beside: &[("ext4BigAlloc", "true")],
        ..case("ext4ClusterSize", &[("65536", "\"ext4clustersize\": \"65536\"")], NO_WORDS)
    },
    case(
        "ext4BigAlloc",
        &[("true", "\"ext4bigalloc\": \"true\""), ("false", "format: {}")],
        NO_FLAGS,
    ),
    case(
        "ext4EncryptionSupport",
        &[("true", "\"ext4encryptionsupport\": \"true\""), ("false", "format: {}")],
        NO_FLAGS,
    ),
    case("csi.storage.k8s.io/pvc/name", &[("data", "pvc_name: Some(\"data\")")], &[]),
    case("csi.storage.k8s.io/pvc/namespace", &[("shop", "pvc_namespace: Some(\"shop\")")], &[]),
    case("csi.storage.k8s.io/pv/name", &[("pv-1", "pv_name: Some(\"pv-1\")")], &[]),
    Case {
        beside: &[("csi.storage.k8s.io/pvc/name", "data")],
        ..case(
            "tagSpecification",
            &[
                ("a=b=c", "\"a\": \"b=c\""),
                ("a=", "\"a\": \"\""),
                ("a={{.PVCName}}", "\"a\": \"data\""),
            ],
            NO_TAGS,
        )
    },
    case("fsType", &[("ext4", "format: {}"), ("anything", "format: {}")], &[]),
    case("blockExpress", &[("true", "iops: None"), ("anything", "iops: None")], &[]),
];

const MUTABLE_CASES: &[Case] = &[
    case("type", &[("io2", "volume_type: Some(\"io2\")"), ("", "volume_type: None")], &[]),
    case("volumeType", &[("io2", "volume_type: Some(\"io2\")")], &[]),
    case("iops", &[("4000", " iops: Some(4000)"), ("0", " iops: None")], NO_NUMBERS),
    case("throughput", &[("400", "throughput: Some(400)")], NO_NUMBERS),
    case("iopsPerGB", &[("50", "iops_per_gib: Some(50)")], NO_NUMBERS),
    case(
        "allowAutoIOPSIncreaseOnModify",
        &[
            ("true", "raise_iops_on_modify: Some(true)"),
            ("false", "raise_iops_on_modify: Some(false)"),
        ],
        NO_FLAGS,
    ),
    Case {
        beside: &[("csi.storage.k8s.io/pvc/namespace", "shop")],
        ..case(
            "tagSpecification",
            &[("a=b", "\"a\": \"b\""), ("a={{.PVCNamespace}}", "\"a\": \"shop\"")],
            NO_TAGS,
        )
    },
    case(
        "tagDeletion",
        &[("a", "deleted_tags: {\"a\"}")],
        &["", "CSIVolumeName", "kubernetes.io/a", "ebs.csi.aws.com/cluster"],
    ),
    case("csi.storage.k8s.io/pvc/name", &[("data", "pvc_name: Some(\"data\")")], &[]),
    case("csi.storage.k8s.io/pvc/namespace", &[("shop", "pvc_namespace: Some(\"shop\")")], &[]),
    case("csi.storage.k8s.io/pv/name", &[("pv-1", "pv_name: Some(\"pv-1\")")], &[]),
];

const SNAPSHOT_CASES: &[Case] = &[
    case(
        "fastSnapshotRestoreAvailabilityZones",
        &[
            ("z1", "fast_restore_zones: [Zone(\"z1\")]"),
            ("z1, z2,z1", "[Zone(\"z1\"), Zone(\"z2\")]"),
        ],
        &["", ",", "z1,", "z1 z2"],
    ),
    Case {
        beside: &[("lockDuration", "7")],
        ..case(
            "lockMode",
            &[("governance", "mode: Governance"), ("compliance", "mode: Compliance")],
            &["", "Governance", "strict"],
        )
    },
    Case {
        beside: &[("lockMode", "governance")],
        ..case(
            "lockDuration",
            &[("1", "end: AfterDays(1)"), ("36500", "end: AfterDays(36500)")],
            &["", "0", "-1", "36501", "1.5"],
        )
    },
    Case {
        beside: &[("lockMode", "governance")],
        ..case(
            "lockExpirationDate",
            &[("1970-01-01T00:01:00Z", "end: At { seconds: 60 }")],
            &["", "2030-01-31", "tomorrow", "2030-02-31T00:00:00Z"],
        )
    },
    Case {
        beside: &[("lockMode", "compliance"), ("lockDuration", "7")],
        ..case(
            "lockCoolOffPeriod",
            &[("1", "cool_off_hours: Some(1)"), ("72", "cool_off_hours: Some(72)")],
            &["", "0", "73"],
        )
    },
    Case {
        beside: &[("csi.storage.k8s.io/volumesnapshot/name", "daily")],
        ..case(
            "tagSpecification",
            &[("a=b", "\"a\": \"b\""), ("a={{.VolumeSnapshotName}}", "\"a\": \"daily\"")],
            NO_TAGS,
        )
    },
    case(
        "csi.storage.k8s.io/volumesnapshot/name",
        &[("daily", "snapshot_name: Some(\"daily\")")],
        &[],
    ),
    case(
        "csi.storage.k8s.io/volumesnapshot/namespace",
        &[("shop", "snapshot_namespace: Some(\"shop\")")],
        &[],
    ),
    case(
        "csi.storage.k8s.io/volumesnapshotcontent/name",
        &[("content-1", "content_name: Some(\"content-1\")")],
        &[],
    ),
];

type Parameters = BTreeMap<String, String>;

fn check<T: Debug, R: Debug>(
    table: &[Parameter<T>],
    cases: &[Case],
    parse: impl Fn(&Parameters) -> Result<R, Invalid>,
) {
    let keys: BTreeSet<&str> = table.iter().map(|parameter| parameter.key).collect();
    let covered: BTreeSet<&str> = cases.iter().map(|case| case.key).collect();
    assert_eq!(keys, covered, "a parameter without cases, or cases without a parameter");
    let parse = |pairs: &[(&str, &str)]| {
        parse(&pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
    };
    for case in cases {
        let with = |key, value| parse(&[case.beside, &[(key, value)]].concat());
        for (value, shown) in case.accepted {
            let result = with(case.key, value);
            let text = format!("{:?}", result.as_ref().unwrap());
            assert!(text.contains(shown), "{}={value}: {text}", case.key);
        }
        for value in case.refused {
            let error = with(case.key, value).unwrap_err();
            assert_eq!(error.field, case.key, "{}={value}: {error}", case.key);
        }
        let (value, _) = case.accepted[0];
        check_capitals(table, case, value, parse);
    }
}

/// Any capitalisation, but one at a time; or exactly that of the table.
fn check_capitals<T, R: Debug>(
    table: &[Parameter<T>],
    case: &Case,
    value: &str,
    parse: impl Fn(&[(&str, &str)]) -> Result<R, Invalid>,
) {
    let other = case.key.to_uppercase();
    let alone = parse(&[case.beside, &[(&other, value)]].concat());
    let matching = table.iter().find(|parameter| parameter.key == case.key).unwrap().matching;
    match matching {
        Match::Prefix => assert_eq!(alone.unwrap_err().field, other),
        Match::AnyCase => {
            alone.unwrap();
            let both = [case.beside, &[(&other, value), (case.key, value)]].concat();
            assert!(parse(&both).unwrap_err().rule.contains("same parameter"), "{}", case.key);
        }
    }
}

#[test]
fn every_parameter_of_a_storage_class_is_accepted_and_refused_as_documented() {
    check(class::CLASS, CLASS_CASES, |given| ClassParameters::parse(given, InvalidTags::Refuse));
}

#[test]
fn every_parameter_of_a_volume_attributes_class_is_accepted_and_refused_as_documented() {
    check(mutable::MUTABLE, MUTABLE_CASES, MutableParameters::parse);
}

#[test]
fn every_parameter_of_a_volume_snapshot_class_is_accepted_and_refused_as_documented() {
    check(snapshot::SNAPSHOT, SNAPSHOT_CASES, |given| {
        SnapshotParameters::parse(given, InvalidTags::Refuse)
    });
}
