//! What is made from the charts is what is in the project: the plain manifests.

use sanity_tests::chart::{Chart, project};

use crate::has_helm;

#[test]
fn the_plain_manifests_are_those_of_the_charts() {
    if !has_helm() {
        return;
    }
    for (name, file) in [("aws-ebs-csi-driver", "ebs"), ("aws-efs-csi-driver", "efs")] {
        let mut chart = Chart::new(name);
        chart.release = "kustomize";
        let path = project().join(format!("deploy/kubernetes/{file}.yaml"));
        let kept = std::fs::read_to_string(&path).unwrap();
        let (_head, kept) = kept.split_once('\n').unwrap();
        // Not compared as a whole: the text of a difference would be as long as the manifests.
        assert!(kept == chart.text("{}").unwrap(), "{path:?} is old; run `make charts`");
    }
}
