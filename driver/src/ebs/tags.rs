//! Tags of what this driver makes. EC2 compares them with a client token's first use, so they
//! carry nothing that changes between two tries: no time, no version, no host.

use csi_core::ebs::{MANAGED_TAG, SNAPSHOT_NAME_TAG, Tags, VOLUME_NAME_TAG};
use csi_core::parameters::tags::{CLUSTER_NAME_TAG, render_for_volume};
use csi_core::parameters::{ClassParameters, SnapshotParameters};
use csi_core::{Invalid, SnapshotName, VolumeName};

use super::Settings;

/// Tag that remembers `iopsPerGB` for later modifications.
pub(super) const IOPS_PER_GIB_TAG: &str = "ebs.csi.aws.com/IOPSPerGb";
/// Tag that remembers whether later modifications may raise IOPS.
pub(super) const RAISE_IOPS_TAG: &str = "ebs.csi.aws.com/AllowAutoIOPSIncreaseOnModify";

/// Tags of a new volume: the driver's own, the cluster's, then the user's, which may override
/// those of the cluster that are not reserved. The operator's templates may fail.
pub(super) fn of_volume(
    name: &VolumeName,
    class: &ClassParameters,
    settings: &Settings,
) -> Result<Tags, Invalid> {
    let mut tags = Tags::new();
    let mut add = |key: &str, value: &str| tags.insert(key.to_owned(), value.to_owned());
    add(VOLUME_NAME_TAG, name.as_str());
    add(MANAGED_TAG, "true");
    let created_for = [
        ("kubernetes.io/created-for/pvc/name", &class.claim.pvc_name),
        ("kubernetes.io/created-for/pvc/namespace", &class.claim.pvc_namespace),
        ("kubernetes.io/created-for/pv/name", &class.claim.pv_name),
    ];
    for (key, value) in created_for {
        if let Some(value) = value {
            add(key, value);
        }
    }
    if let Some(ratio) = class.iops_per_gib {
        add(IOPS_PER_GIB_TAG, &ratio.to_string());
    }
    if let Some(raise) = class.raise_iops_on_modify {
        add(RAISE_IOPS_TAG, &raise.to_string());
    }
    if let Some(id) = &settings.cluster_id {
        add("KubernetesCluster", id);
    }
    tags.extend(of_cluster(name.as_str(), settings));
    for (key, template) in &settings.extra_tags {
        let value = render_for_volume("--extra-tags", key, template, class.claim.values());
        if let Some(value) = settings.invalid_tags.judge(value)? {
            tags.insert(key.clone(), value);
        }
    }
    tags.extend(class.tags.clone());
    Ok(tags)
}

/// Tags of a new snapshot.
pub(super) fn of_snapshot(
    name: &SnapshotName,
    parameters: &SnapshotParameters,
    settings: &Settings,
) -> Tags {
    let mut tags = Tags::from([
        (SNAPSHOT_NAME_TAG.to_owned(), name.as_str().to_owned()),
        (MANAGED_TAG.to_owned(), "true".to_owned()),
    ]);
    tags.extend(of_cluster(name.as_str(), settings));
    tags.extend(settings.extra_tags.clone());
    tags.extend(parameters.tags.clone());
    tags
}

/// Tags of a creation that is never made. Policies judge it all the same.
pub(super) fn of_dry_run(settings: &Settings) -> Tags {
    let name = "IopsLimitDryRun";
    let mut tags = Tags::from([
        (VOLUME_NAME_TAG.to_owned(), name.to_owned()),
        (MANAGED_TAG.to_owned(), "true".to_owned()),
    ]);
    tags.extend(of_cluster(name, settings));
    tags
}

fn of_cluster(name: &str, settings: &Settings) -> Tags {
    let Some(id) = &settings.cluster_id else { return Tags::new() };
    Tags::from([
        (format!("kubernetes.io/cluster/{id}"), "owned".to_owned()),
        ("Name".to_owned(), format!("{id}-dynamic-{name}")),
        (CLUSTER_NAME_TAG.to_owned(), id.clone()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use csi_core::parameters::{Claim, InvalidTags};

    fn keys(tags: &Tags) -> Vec<&str> {
        tags.keys().map(String::as_str).collect()
    }

    #[test]
    fn a_plain_volume_carries_its_name_and_the_mark_that_policies_want() {
        let name = "pvc-1".parse().unwrap();
        let tags = of_volume(&name, &ClassParameters::default(), &Settings::default()).unwrap();
        assert_eq!(keys(&tags), ["CSIVolumeName", "ebs.csi.aws.com/cluster"]);
        assert_eq!(tags[VOLUME_NAME_TAG], "pvc-1");
        assert_eq!(tags[MANAGED_TAG], "true");
    }

    #[test]
    fn claim_cluster_and_user_are_written_and_the_user_wins() {
        let class = ClassParameters {
            claim: Claim {
                pvc_name: Some("data".to_owned()),
                pvc_namespace: Some("shop".to_owned()),
                pv_name: Some("pv-1".to_owned()),
            },
            iops_per_gib: Some(50),
            raise_iops_on_modify: Some(false),
            tags: Tags::from([("Name".to_owned(), "mine".to_owned())]),
            ..ClassParameters::default()
        };
        let settings = Settings {
            cluster_id: Some("blue".to_owned()),
            extra_tags: Tags::from([("team".to_owned(), "a".to_owned())]),
            ..Settings::default()
        };
        let tags = of_volume(&"pvc-1".parse().unwrap(), &class, &settings).unwrap();
        let expected = [
            "CSIVolumeName",
            "KubernetesCluster",
            "Name",
            "ebs.csi.aws.com/AllowAutoIOPSIncreaseOnModify",
            "ebs.csi.aws.com/IOPSPerGb",
            "ebs.csi.aws.com/cluster",
            "ebs.csi.aws.com/cluster-name",
            "kubernetes.io/cluster/blue",
            "kubernetes.io/created-for/pv/name",
            "kubernetes.io/created-for/pvc/name",
            "kubernetes.io/created-for/pvc/namespace",
            "team",
        ];
        assert_eq!(keys(&tags), expected);
        assert_eq!(tags["Name"], "mine");
        assert_eq!(tags[RAISE_IOPS_TAG], "false");

        let snapshot =
            of_snapshot(&"snap-a".parse().unwrap(), &SnapshotParameters::default(), &settings);
        assert_eq!(snapshot["Name"], "blue-dynamic-snap-a");
        assert!(!snapshot.contains_key("KubernetesCluster"), "upstream has it on volumes only");
    }

    #[test]
    fn the_operators_templates_are_filled_in_on_volumes_and_copied_to_snapshots() {
        let class = ClassParameters {
            claim: Claim { pvc_name: Some("data".to_owned()), ..Claim::default() },
            ..ClassParameters::default()
        };
        let mut settings = Settings {
            extra_tags: Tags::from([("a".to_owned(), "{{ .PVCName | substring 0 2 }}".to_owned())]),
            ..Settings::default()
        };
        let name = "pvc-1".parse().unwrap();
        assert_eq!(of_volume(&name, &class, &settings).unwrap()["a"], "da");
        let snapshot = "snap-1".parse().unwrap();
        let copied = of_snapshot(&snapshot, &SnapshotParameters::default(), &settings);
        assert_eq!(copied["a"], "{{ .PVCName | substring 0 2 }}", "as upstream does");

        settings.extra_tags.insert("b".to_owned(), "{{ field \"-\" 1 .PVCName }}".to_owned());
        assert_eq!(of_volume(&name, &class, &settings).unwrap_err().field, "--extra-tags");
        settings.invalid_tags = InvalidTags::Skip;
        let tags = of_volume(&name, &class, &settings).unwrap();
        assert!(tags.contains_key("a") && !tags.contains_key("b"));
    }
}
