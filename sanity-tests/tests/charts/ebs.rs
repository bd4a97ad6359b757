//! The chart aws-ebs-csi-driver beside the facts of the one that it takes over from.

use sanity_tests::chart::{Chart, Object, keys};
use serde_json::{Value, json};

use crate::{check, find, has_helm, ids, refusal, render};

fn chart() -> Chart {
    Chart::new("aws-ebs-csi-driver")
}

/// What the other chart renders by default on a cluster that serves snapshots: an upgrade in place
/// changes these objects, and must find each of them under the same name.
const OBJECTS: [&str; 18] = [
    "CSIDriver/ebs.csi.aws.com",
    "ClusterRole/ebs-csi-node-role",
    "ClusterRole/ebs-external-attacher-role",
    "ClusterRole/ebs-external-provisioner-role",
    "ClusterRole/ebs-external-resizer-role",
    "ClusterRole/ebs-external-snapshotter-role",
    "ClusterRoleBinding/ebs-csi-attacher-binding",
    "ClusterRoleBinding/ebs-csi-node-getter-binding",
    "ClusterRoleBinding/ebs-csi-provisioner-binding",
    "ClusterRoleBinding/ebs-csi-resizer-binding",
    "ClusterRoleBinding/ebs-csi-snapshotter-binding",
    "DaemonSet/ebs-csi-node",
    "Deployment/ebs-csi-controller",
    "PodDisruptionBudget/ebs-csi-controller",
    "Role/ebs-csi-leases-role",
    "RoleBinding/ebs-csi-leases-rolebinding",
    "ServiceAccount/ebs-csi-controller-sa",
    "ServiceAccount/ebs-csi-node-sa",
];

/// Role references are immutable, so they are facts too: binding, role.
const ROLE_REFERENCES: [(&str, &str); 6] = [
    ("ebs-csi-attacher-binding", "ebs-external-attacher-role"),
    ("ebs-csi-node-getter-binding", "ebs-csi-node-role"),
    ("ebs-csi-provisioner-binding", "ebs-external-provisioner-role"),
    ("ebs-csi-resizer-binding", "ebs-external-resizer-role"),
    ("ebs-csi-snapshotter-binding", "ebs-external-snapshotter-role"),
    ("ebs-csi-leases-rolebinding", "ebs-csi-leases-role"),
];

const UPSTREAM: &str = include_str!("ebs_upstream_values.yaml");

/// Where keys of the values are someone else's: of Kubernetes.
const WHOLE: [&str; 9] = [
    "affinity",
    "resources",
    "securityContext",
    "containerSecurityContext",
    "updateStrategy",
    "socketDirVolume",
    "probeDirVolume",
    "image",
    "livenessProbe",
];

fn selector(name: &str) -> Value {
    json!({
        "app": name,
        "app.kubernetes.io/name": "aws-ebs-csi-driver",
        "app.kubernetes.io/instance": "aws-ebs-csi-driver",
    })
}

fn check_immutable_fields(objects: &[Object]) {
    for (kind, name) in [("Deployment", "ebs-csi-controller"), ("DaemonSet", "ebs-csi-node")] {
        let object = find(objects, kind, name);
        assert_eq!(object.at("/spec/selector/matchLabels"), &selector(name));
        let labels = object.at("/spec/template/metadata/labels").as_object().unwrap();
        for (key, value) in selector(name).as_object().unwrap() {
            assert_eq!(labels.get(key), Some(value), "{name}: {key}");
        }
    }
    for (binding, role) in ROLE_REFERENCES {
        let object = objects.iter().find(|object| object.name() == binding).expect(binding);
        assert_eq!(object.at("/roleRef/name"), role, "{binding}");
    }
    let driver = find(objects, "CSIDriver", "ebs.csi.aws.com");
    assert_eq!(driver.at("/spec/attachRequired"), true);
    assert_eq!(driver.at("/spec/fsGroupPolicy"), "File");
}

#[test]
fn by_default_the_objects_are_those_of_the_chart_that_is_taken_over() {
    if !has_helm() {
        return;
    }
    let objects = render(&chart(), "{}");
    let mut names = ids(&objects);
    names.sort();
    assert_eq!(names, OBJECTS);
    check_immutable_fields(&objects);
}

#[test]
fn a_node_runs_one_container_and_the_controller_none_for_liveness() {
    if !has_helm() {
        return;
    }
    let objects = render(&chart(), "{}");
    let names = |kind, name| -> Vec<String> {
        let containers = find(&objects, kind, name).containers();
        containers.iter().map(|container| container.name().to_owned()).collect()
    };
    assert_eq!(names("DaemonSet", "ebs-csi-node"), ["ebs-plugin"]);
    assert_eq!(
        names("Deployment", "ebs-csi-controller"),
        ["ebs-plugin", "csi-provisioner", "csi-attacher", "csi-snapshotter", "csi-resizer"]
    );
}

#[test]
fn metrics_services_keep_names_and_ports() {
    if !has_helm() {
        return;
    }
    let objects =
        render(&chart(), "{controller: {enableMetrics: true}, node: {enableMetrics: true}}");
    for (name, port) in [
        ("ebs-csi-controller", 3301),
        ("ebs-csi-controller-provisioner", 3302),
        ("ebs-csi-controller-attacher", 3303),
        ("ebs-csi-controller-resizer", 3304),
        ("ebs-csi-controller-snapshotter", 3306),
        ("ebs-csi-node", 3302),
    ] {
        assert_eq!(find(&objects, "Service", name).at("/spec/ports/0/port"), port, "{name}");
        assert_eq!(find(&objects, "Service", name).at("/metadata/labels/app"), name);
        find(&objects, "ServiceMonitor", name);
    }
    let node = find(&objects, "Service", "ebs-csi-node");
    assert_eq!(node.at("/spec/internalTrafficPolicy"), "Local");
}

#[test]
fn reused_values_of_the_other_chart_render_what_our_own_defaults_do() {
    if !has_helm() {
        return;
    }
    let objects = chart().render_reused(UPSTREAM).unwrap();
    check(&objects, UPSTREAM);
    check_immutable_fields(&objects);
    assert_eq!(objects, chart().render("{}").unwrap());
    let notes = chart().notes(UPSTREAM, true).unwrap();
    assert!(
        notes.contains("image.repository: it names the driver that this one replaces"),
        "{notes}"
    );
    assert_eq!(notes.matches("\n  - ").count(), 1, "defaults are nothing to warn of: {notes}");
}

#[test]
fn any_one_key_of_reused_values_may_be_missing() {
    if !has_helm() {
        return;
    }
    let whole: Value = serde_saphyr::from_str(UPSTREAM).unwrap();
    let all = chart().render("{}").unwrap();
    for top in whole.as_object().unwrap().keys() {
        let mut part = whole.clone();
        part.as_object_mut().unwrap().remove(top);
        let objects = chart().render_reused(&part.to_string()).unwrap();
        assert_eq!(objects, all, "without {top}");
    }
}

#[test]
fn every_key_of_the_other_chart_is_taken_and_any_other_refused() {
    if !has_helm() {
        return;
    }
    let known = keys(UPSTREAM, &WHOLE).unwrap();
    assert!(known.len() > 150, "{}", known.len());
    let schema = std::fs::read_to_string(chart().folder().join("values.schema.json")).unwrap();
    let schema: Value = serde_json::from_str(&schema).unwrap();
    for key in known {
        assert!(is_in_schema(&schema, &key), "{key}");
    }
    for (values, key) in [
        ("{bogus: 1}", "bogus"),
        ("{controller: {replicas: 1}}", "replicas"),
        ("{node: {kubletPath: /var}}", "kubletPath"),
        ("{sidecars: {provisoner: {}}}", "provisoner"),
        ("{driverImage: {repo: a}}", "repo"),
        ("{networkPolicy: {active: true}}", "active"),
    ] {
        let said = refusal(&chart(), values);
        assert!(said.contains(&format!("additional properties '{key}' not allowed")), "{said}");
    }
}

/// Whether the schema has the key, or an open map on the way to it.
fn is_in_schema(schema: &Value, key: &str) -> bool {
    let mut at = schema;
    for part in key.split('.') {
        match at["properties"].get(part) {
            Some(next) => at = next,
            None => return at["additionalProperties"] != false,
        }
    }
    true
}

#[test]
fn the_built_in_defaults_are_the_values() {
    let read = |name: &str| std::fs::read_to_string(chart().folder().join(name)).unwrap();
    assert_eq!(read("values.yaml"), read("files/defaults.yaml"), "run `make charts`");
    let about: Value = serde_saphyr::from_str(&read("Chart.yaml")).unwrap();
    assert_eq!(about["appVersion"], env!("CARGO_PKG_VERSION"));
    assert_eq!(about["version"], env!("CARGO_PKG_VERSION"));
}
