//! The IAM policies allow what the driver calls and nothing else.

use std::collections::BTreeSet;

use sanity_tests::chart::project;
use serde_json::Value;

fn statements(file: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(project().join("deploy/iam").join(file)).unwrap();
    let policy: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(policy["Version"], "2012-10-17", "{file}");
    policy["Statement"].as_array().unwrap().clone()
}

fn actions(statement: &Value) -> Vec<String> {
    let list = statement["Action"].as_array().unwrap();
    list.iter().map(|action| action.as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_policies_allow_what_the_drivers_call_and_nothing_else() {
    let files = ["ebs-csi-driver.json", "efs-csi-driver.json"];
    let mut allowed: BTreeSet<String> =
        files.into_iter().flat_map(statements).flat_map(|one| actions(&one)).collect();
    // Asked of whoever makes an access point with tags.
    assert!(allowed.remove("elasticfilesystem:TagResource"));
    let source = std::fs::read_to_string(project().join("driver/aws/src/action.rs")).unwrap();
    let list = source.split_once("ALL: [").unwrap().1.split_once("];").unwrap().0;
    let called: BTreeSet<String> = list
        .split("Self::")
        .skip(1)
        .map(|name| {
            let name = name.trim().trim_end_matches(',');
            let efs = ["AccessPoint", "FileSystem", "MountTarget"];
            let is_efs = efs.iter().any(|noun| name.contains(noun));
            format!("{}:{name}", if is_efs { "elasticfilesystem" } else { "ec2" })
        })
        .collect();
    assert!(called.len() > 20, "{called:?}");
    assert_eq!(allowed, called);
}

#[test]
fn whatever_changes_something_is_bound_to_a_tag() {
    for file in ["ebs-csi-driver.json", "efs-csi-driver.json"] {
        for statement in statements(file) {
            let sid = statement["Sid"].as_str().unwrap();
            // Instances are the cluster's, not the driver's; the volume of the call is bound.
            let free = ["Look", "AttachToInstances"].contains(&sid);
            let condition = statement["Condition"].to_string();
            let bound = condition.contains("Tag/") || condition.contains("CreateAction");
            assert!(free || bound, "{file}: {sid}");
            assert!(!actions(&statement).iter().any(|action| action.contains('*')), "{sid}");
        }
    }
}

#[test]
fn the_other_policies_are_policies() {
    for file in
        ["ebs-kms-key.json", "efs-csi-node.json", "trust-irsa.json", "trust-pod-identity.json"]
    {
        for statement in statements(file) {
            assert_eq!(statement["Effect"], "Allow", "{file}");
        }
    }
}
