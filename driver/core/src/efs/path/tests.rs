//! Paths that EFS takes, and texts that make none.

use super::*;
use proptest::prelude::*;
use test_case::test_case;

fn claim() -> Claim {
    Claim {
        pvc_name: Some("data".to_owned()),
        pvc_namespace: Some("shop".to_owned()),
        pv_name: None,
    }
}

#[test_case("", "/"; "none")]
#[test_case("/", "/"; "the root")]
#[test_case("dynamic", "/dynamic"; "relative")]
#[test_case("//a/./b/", "/a/b"; "unclean")]
fn a_base_path_is_cleaned(text: &str, clean: &str) {
    assert_eq!(base_path("basePath", text).unwrap(), clean);
}

#[test_case("/a/../b"; "a step up")]
#[test_case("/.hidden"; "a hidden directory")]
#[test_case("/a*"; "a character that EFS refuses")]
#[test_case("/a\nb"; "a new line")]
fn a_base_path_is_refused_by_name(text: &str) {
    assert_eq!(base_path("basePath", text).unwrap_err().field, "basePath");
}

#[test]
fn a_short_name_is_the_directory_as_it_always_was() {
    assert_eq!(directory_of_name("/", "pvc-1").unwrap(), "/pvc-1");
    assert_eq!(directory_of_name("/dynamic", "pvc-1").unwrap(), "/dynamic/pvc-1");
}

#[test]
fn names_that_are_no_directories_become_hashes() {
    for name in ["a/b", "..", "../../etc", ".", "a*b"] {
        let path = directory_of_name("/base", name).unwrap();
        let last = path.strip_prefix("/base/").unwrap();
        assert_eq!(last.len(), HASH_DIGITS, "{name}: {path}");
    }
}

#[test]
fn a_long_name_is_cut_and_keeps_apart_from_others() {
    let (a, b) = ("a".repeat(128), format!("{}b", "a".repeat(127)));
    let paths = [&a, &b].map(|name| directory_of_name("/dynamic", name).unwrap());
    assert!(paths.iter().all(|path| path.len() == ROOT_PATH_MAX), "{paths:?}");
    assert_ne!(paths[0], paths[1]);
    assert_eq!(directory_of_name("/bb", &"ä".repeat(64)).unwrap().len(), 99, "cut at a character");
    let base = format!("/{}", "b".repeat(90));
    let error = directory_of_name(&base, "pvc-0123456789").unwrap_err();
    assert!(error.rule.contains("100 bytes"), "{error}");
}

#[test]
fn five_directories_pass_and_six_do_not() {
    assert!(directory_of_name("/1/2/3/4", "5").is_ok());
    assert_eq!(directory_of_name("/1/2/3/4/5", "6").unwrap_err().field, "basePath");
}

#[test_case("${.PVC.namespace}/${.PVC.name}", "shop/data"; "two directories")]
#[test_case("/x-${.PV.name}-y", "/x-pvc-1-y"; "the volume's name stands for its PersistentVolume's")]
#[test_case("/foo", "/foo"; "no variable")]
#[test_case("", ""; "empty")]
fn a_pattern_is_filled_in(pattern: &str, path: &str) {
    let pattern: SubPath = pattern.parse().unwrap();
    assert_eq!(pattern.render(&claim(), "pvc-1").unwrap(), path);
}

#[test_case("${.PVC.uid}"; "an unknown variable")]
#[test_case("${.PVC.name"; "an open brace")]
#[test_case("a}"; "a closing brace")]
#[test_case("$HOME"; "a dollar")]
#[test_case("../${.PVC.name}"; "a step up")]
fn a_pattern_is_refused(pattern: &str) {
    assert!(pattern.parse::<SubPath>().is_err());
}

#[test]
fn a_pattern_needs_the_names_that_it_names() {
    let pattern: SubPath = "${.PVC.name}".parse().unwrap();
    let error = pattern.render(&Claim::default(), "pvc-1").unwrap_err();
    assert!(error.rule.contains("--extra-create-metadata"), "{error}");
}

#[test]
fn a_pattern_ends_in_something_unique_and_steady_and_never_is_the_root() {
    let unique = unique_suffix("pvc-1");
    assert_eq!(unique, unique_suffix("pvc-1"));
    assert_ne!(unique, unique_suffix("pvc-2"));
    assert_eq!(unique.len(), 36);
    let path = directory_of_pattern("/b", "shop/data", Some(&unique)).unwrap();
    assert_eq!(path, format!("/b/shop/data-{unique}"));
    assert_eq!(directory_of_pattern("/b", "/foo", None).unwrap(), "/b/foo");
    assert_eq!(directory_of_pattern("/b", "", None).unwrap(), "/b");
    assert!(directory_of_pattern("/", "/", None).is_err());
}

#[test]
fn permissions_are_octal() {
    assert_eq!("0755".parse::<Permissions>().unwrap().to_string(), "0755");
    for bad in ["", "77", "888", "rwx", "07777", "7 0"] {
        assert!(bad.parse::<Permissions>().is_err(), "{bad}");
    }
}

proptest! {
    #[test]
    fn whatever_the_name_the_directory_lies_below_the_base_and_fits(name in "\\PC{1,64}") {
        let path = directory_of_name("/base", &name).unwrap();
        let last = path.strip_prefix("/base/").unwrap();
        prop_assert!(path.len() <= ROOT_PATH_MAX && !last.is_empty() && !last.contains('/'));
        prop_assert!(!last.starts_with('.'));
    }

    #[test]
    fn no_pattern_panics_and_none_leaves_the_base(text in "[a-z./${}PVCname]{0,30}") {
        if let Ok(pattern) = text.parse::<SubPath>()
            && let Ok(rendered) = pattern.render(&claim(), "pvc-1")
            && let Ok(path) = directory_of_pattern("/base", &rendered, Some("u"))
        {
            prop_assert!(path.starts_with("/base/") && !path.split('/').any(|part| part == ".."));
        }
    }
}
