//! Every parameter in accepted and in refused forms. A parameter without a case here fails.

use std::collections::BTreeSet;

use super::*;
use proptest::prelude::*;

const BASE: [(&str, &str); 3] =
    [("provisioningMode", "efs-ap"), ("fileSystemId", "fs-92107410"), ("directoryPerms", "700")];

fn parse(pairs: &[(&str, &str)]) -> Result<EfsParameters, Invalid> {
    let all = BASE.iter().chain(pairs);
    let map = all.map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    EfsParameters::parse(&map)
}

/// A key, values with what `Debug` then shows, refused values, and what the key needs beside it.
type Case = (
    &'static str,
    &'static [(&'static str, &'static str)],
    &'static [&'static str],
    &'static [(&'static str, &'static str)],
);

const NO_IDS: &[&str] = &["", "-1", "many", "1.5", "4294967296", " 1"];
const NO_FLAGS: &[&str] = &["", "yes", "tRUE", "2"];

const CASES: &[Case] = &[
    ("provisioningMode", &[("efs-ap", "")], &["", "s3files-ap", "efs-dir"], &[]),
    (
        "fileSystemId",
        &[("fs-0123456789abcdef0", "Id(fs-0123456789abcdef0)"), (" fs-92107410 ", "Id(fs-9")],
        &["", "fs-1", "fs-92107410,tls", "fsap-92107410"],
        &[],
    ),
    ("directoryPerms", &[("0755", "Permissions(\"0755\")")], &["", "9", "rwx"], &[]),
    ("uid", &[("0", "uid: Some(0)"), ("4294967295", "uid: Some(4294967295)")], NO_IDS, &[]),
    ("gid", &[("1000", " gid: Some(1000)")], NO_IDS, &[]),
    (
        "gidRangeStart",
        &[("1", "gids: 1..=2000")],
        &["", "0", "-1", "2000"],
        &[("gidRangeEnd", "2000")],
    ),
    (
        "gidRangeEnd",
        &[("2000", "gids: 1000..=2000")],
        &["", "1000", "999"],
        &[("gidRangeStart", "1000")],
    ),
    ("basePath", &[("a//b", "base_path: \"/a/b\""), ("", "base_path: \"/\"")], &["/a/../b"], &[]),
    (
        "subPathPattern",
        &[("${.PVC.name}", "PvcName"), ("/foo", "Text(\"/foo\")"), ("", "sub_path: None")],
        &["${.PVC.uid}", "}"],
        &[],
    ),
    (
        "ensureUniqueDirectory",
        &[("false", "unique_directory: false"), ("t", "directory: true")],
        NO_FLAGS,
        &[],
    ),
    ("az", &[("us-east-1a", "zone: Some(Zone(\"us-east-1a\"))"), ("", "zone: None")], &[], &[]),
    (
        "reuseAccessPoint",
        &[("true", "reuse: true")],
        NO_FLAGS,
        &[("csi.storage.k8s.io/pvc/name", "data")],
    ),
    ("enforceZoneAffinity", &[("1", "enforce_zone: true")], NO_FLAGS, &[]),
    ("enableTagging", &[("F", "tagging: false")], NO_FLAGS, &[]),
    ("csi.storage.k8s.io/pvc/name", &[("data", "pvc_name: Some(\"data\")")], &[], &[]),
    ("csi.storage.k8s.io/pvc/namespace", &[("shop", "pvc_namespace: Some(\"shop\")")], &[], &[]),
    ("csi.storage.k8s.io/pv/name", &[("pv", "pv_name: Some(\"pv\")")], &[], &[]),
];

#[test]
fn every_parameter_is_read_and_a_wrong_value_is_refused_by_name() {
    for (key, accepted, refused, beside) in CASES {
        for (value, shown) in *accepted {
            let read = parse(&[*beside, &[(*key, *value)]].concat());
            let text =
                format!("{:?}", read.unwrap_or_else(|error| panic!("{key}={value}: {error}")));
            assert!(text.contains(shown), "{key}={value}: no {shown} in {text}");
        }
        for value in *refused {
            let error = parse(&[*beside, &[(*key, *value)]].concat()).unwrap_err();
            let blamed = [*key, "gidRangeEnd"].contains(&error.field.as_str());
            assert!(blamed, "{key}={value}: {error}");
        }
    }
}

#[test]
fn every_parameter_has_its_case() {
    let cased: BTreeSet<&str> = CASES.iter().map(|(key, ..)| *key).collect();
    let references = ["fileSystemIdConfigRef", "fileSystemIdSecretRef"];
    for parameter in EFS_CLASS {
        let key = parameter.key;
        assert!(cased.contains(key) || references.contains(&key), "{key}");
    }
}

#[test]
fn the_documented_class_is_read_whole() {
    let class = parse(&[
        ("gidRangeStart", "1000"),
        ("gidRangeEnd", "2000"),
        ("basePath", "/dynamic_provisioning"),
    ]);
    let class = class.unwrap();
    assert_eq!(class.file_system, FileSystemRef::Id("fs-92107410".parse().unwrap()));
    assert_eq!((class.gids, class.uid, class.gid), (1000..=2000, None, None));
    assert_eq!(class.base_path, "/dynamic_provisioning");
    assert!(class.tagging && class.unique_directory && !class.reuse);
    assert_eq!(parse(&[]).unwrap().gids, 50_000..=60_000);
}

#[test]
fn unknown_missing_and_clashing_parameters_are_named() {
    assert_eq!(parse(&[("colour", "red")]).unwrap_err().field, "colour");
    assert_eq!(parse(&[("gidRangeStart", "1")]).unwrap_err().field, "gidRangeEnd");
    assert_eq!(parse(&[("gidRangeEnd", "1")]).unwrap_err().field, "gidRangeStart");
    let twice = parse(&[("fileSystemIdSecretRef", "a/b/c")]).unwrap_err();
    assert!(twice.rule.contains("together"), "{twice}");
    let nameless = parse(&[("reuseAccessPoint", "true")]).unwrap_err();
    assert!(nameless.rule.contains("--extra-create-metadata"), "{nameless}");
    for missing in BASE {
        let rest = BASE.iter().filter(|pair| **pair != missing);
        let map = rest.map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        assert_eq!(EfsParameters::parse(&map).unwrap_err().field, missing.0);
    }
}

#[test]
fn the_id_may_stand_in_an_object_of_kubernetes() {
    for (key, value) in [("fileSystemIdConfigRef", "ns/efs/id"), ("fileSystemIdSecretRef", "a/b/c")]
    {
        let pairs = [("provisioningMode", "efs-ap"), ("directoryPerms", "700"), (key, value)];
        let map = pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        let source = EfsParameters::parse(&map).unwrap().file_system;
        assert!(format!("{source:?}").contains(value.rsplit('/').next().unwrap()), "{source:?}");
        let bad = [("provisioningMode", "efs-ap"), ("directoryPerms", "700"), (key, "a/b")];
        let map = bad.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        assert_eq!(EfsParameters::parse(&map).unwrap_err().field, key);
    }
}

proptest! {
    #[test]
    fn no_value_panics(place in 0..EFS_CLASS.len(), value in ".*") {
        let _ = parse(&[(EFS_CLASS[place].key, &value)]);
    }
}
