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
fn the_ebs_policy_allows_what_the_driver_calls_and_nothing_else() {
    let allowed: BTreeSet<String> =
        statements("ebs-csi-driver.json").iter().flat_map(actions).collect();
    let source = std::fs::read_to_string(project().join("driver/aws/src/action.rs")).unwrap();
    let list = source.split_once("ALL: [").unwrap().1.split_once("];").unwrap().0;
    let called: BTreeSet<String> = list
        .split("Self::")
        .skip(1)
        .map(|name| format!("ec2:{}", name.trim().trim_end_matches(',')))
        .collect();
    assert!(called.len() > 10, "{called:?}");
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
