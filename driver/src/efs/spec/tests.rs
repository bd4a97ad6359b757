//! Requests become access points, and existing ones are compared.

use std::collections::BTreeMap;

use csi_core::efs::{LifeCycleState, Secrets};

use super::*;

const BASE: [(&str, &str); 5] = [
    ("provisioningMode", "efs-ap"),
    ("fileSystemId", "fs-92107410"),
    ("directoryPerms", "700"),
    ("gidRangeStart", "1000"),
    ("gidRangeEnd", "2000"),
];

fn request(name: &str, pairs: &[(&str, &str)]) -> Request {
    let all = BASE.iter().chain(pairs);
    let map: BTreeMap<_, _> = all.map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Request {
        name: name.parse().unwrap(),
        required: Bytes(7),
        class: EfsParameters::parse(&map).unwrap(),
        secrets: Secrets::default(),
    }
}

fn spec(name: &str, pairs: &[(&str, &str)]) -> Spec {
    let file_system = "fs-92107410".parse().unwrap();
    Spec::resolve(request(name, pairs), file_system, &Settings::default()).unwrap()
}

fn made(spec: &Spec, gid: u32) -> AccessPoint {
    let call = spec.call(Some(gid), 5, false);
    AccessPoint {
        id: "fsap-01234567".parse().unwrap(),
        client_token: call.client_token,
        file_system: call.file_system,
        state: LifeCycleState::Available,
        posix_user: Some(call.posix_user),
        root: call.root,
        tags: call.tags,
    }
}

#[test]
fn a_name_is_the_token_as_long_as_efs_takes_it() {
    assert_eq!(spec("pvc-1", &[]).token, "pvc-1");
    let long = "n".repeat(65);
    assert_eq!(spec(&long, &[]).token, hex::encode(Sha256::digest(&long)));
    assert_eq!(spec(&"n".repeat(64), &[]).token, "n".repeat(64));
    assert_eq!(spec("ä", &[]).token.len(), 64);
}

#[test]
fn an_access_point_enforces_the_number_and_owns_its_directory() {
    let spec = spec("pvc-1", &[("basePath", "/dynamic")]);
    let call = spec.call(Some(1234), 5, false);
    assert_eq!((call.posix_user.uid, call.posix_user.gid), (1234, 1234));
    assert_eq!(call.root.path, "/dynamic/pvc-1");
    let creation = call.root.creation.unwrap();
    assert_eq!((creation.owner_uid, creation.owner_gid), (1234, 1234));
    assert_eq!(creation.permissions, "700");
    let tags: Vec<_> = call.tags.iter().map(|(k, v)| format!("{k}={v}")).collect();
    let want = ["base-path=/dynamic", "born=5", "cluster=true", "gid=1234", "requested-bytes=7"];
    assert_eq!(tags, want.map(|tag| format!("efs.csi.aws.com/{tag}")));
    assert_eq!(spec.call(Some(1), 5, true).tags.len(), 1, "bare");
}

#[test]
fn what_is_fixed_is_not_chosen() {
    assert_eq!(spec("a", &[]).pool(), Some(Pool::Gids));
    assert_eq!(spec("a", &[("uid", "0")]).pool(), Some(Pool::Gids));
    assert_eq!(spec("a", &[("gid", "0")]).pool(), Some(Pool::Uids));
    let fixed = spec("a", &[("uid", "0"), ("gid", "5")]);
    assert_eq!(fixed.pool(), None);
    let user = fixed.call(None, 0, false).posix_user;
    assert_eq!((user.uid, user.gid), (0, 5));
}

#[test]
fn what_was_made_is_as_asked_for_and_every_difference_is_named() {
    let spec_ = spec("pvc-1", &[]);
    let good = made(&spec_, 1500);
    assert_eq!(spec_.check(&good), Ok(()));
    let field = |change: &dyn Fn(&mut AccessPoint)| {
        let mut found = good.clone();
        change(&mut found);
        spec_.check(&found).map_err(|difference| difference.field)
    };
    assert_eq!(field(&|ap| ap.file_system = "fs-00000000".parse().unwrap()), Err("file system"));
    assert_eq!(field(&|ap| ap.root.path = "/other".to_owned()), Err("root directory"));
    assert_eq!(field(&|ap| ap.posix_user = None), Err("POSIX user"));
    assert_eq!(field(&|ap| ap.posix_user.as_mut().unwrap().gid = 2001), Err("gid"));
    let bytes = |ap: &mut AccessPoint| ap.tags.insert(BYTES_TAG.to_owned(), "8".to_owned());
    assert_eq!(field(&|ap| drop(bytes(ap))), Err("capacity"));
    assert_eq!(field(&|ap| ap.tags.clear()), Ok(()), "the replaced driver wrote no such tags");
}

#[test]
fn a_random_ending_of_the_replaced_driver_is_accepted() {
    let spec = spec("pvc-1", &[("subPathPattern", "/data")]);
    let mut found = made(&spec, 1500);
    found.root.path = "/data-0b2f4b1e-9e1c-4e1b-9a3d-0123456789ab".to_owned();
    assert_eq!(spec.check(&found), Ok(()));
    found.root.path = "/other-0b2f4b1e-9e1c-4e1b-9a3d-0123456789a".to_owned();
    assert!(spec.check(&found).is_err());
}

#[test]
fn a_reused_access_point_is_the_same_claims() {
    let claim = |namespace| {
        [
            ("reuseAccessPoint", "true"),
            ("csi.storage.k8s.io/pvc/name", "data"),
            ("csi.storage.k8s.io/pvc/namespace", namespace),
        ]
    };
    let (first, again) = (spec("pvc-1", &claim("shop")), spec("pvc-2", &claim("shop")));
    assert_eq!(first.token, again.token);
    assert_eq!(again.check(&made(&first, 1500)), Ok(()), "its directory has the first one's name");
    let other = spec("pvc-3", &claim("bank"));
    assert_ne!(other.token, first.token);
    assert_eq!(other.legacy_token, first.legacy_token);

    let mut legacy = made(&first, 1500);
    legacy.client_token = first.legacy_token.clone().unwrap();
    assert_eq!(first.check(&legacy), Ok(()));
    assert_eq!(other.check(&legacy).unwrap_err().field, PVC_NAMESPACE_TAG);
    legacy.tags.clear();
    assert!(first.check(&legacy).unwrap_err().has.contains("set the tag"));
}

#[test]
fn tagging_is_not_switched_off_under_the_operators_tags() {
    let settings =
        Settings { tags: Tags::from([("a".to_owned(), "b".to_owned())]), ..Settings::default() };
    let file_system: FileSystemId = "fs-92107410".parse().unwrap();
    let off = request("pvc-1", &[("enableTagging", "false")]);
    let error = Spec::resolve(off.clone(), file_system.clone(), &settings).unwrap_err();
    assert_eq!(error.field, "enableTagging");
    let untagged = Spec::resolve(off, file_system, &Settings::default()).unwrap();
    assert!(untagged.call(Some(1), 0, false).tags.is_empty());
}
