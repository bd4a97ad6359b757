//! The chart aws-efs-csi-driver beside the facts of the one that it takes over from, and what its
//! values do.

use sanity_tests::chart::{Chart, Container, Object};
use serde_json::{Value, json};

use crate::{check, find, has_helm, ids, refusal, render};

fn chart() -> Chart {
    Chart::new("aws-efs-csi-driver")
}

/// What the other chart renders by default, and after it what this one adds: an upgrade in place
/// changes the first, and must find each of them under the same name.
const OBJECTS: [&str; 14] = [
    "CSIDriver/efs.csi.aws.com",
    "ClusterRole/efs-csi-external-provisioner-role",
    "ClusterRole/efs-csi-external-provisioner-role-describe-secrets",
    "ClusterRole/efs-csi-node-role",
    "ClusterRoleBinding/efs-csi-node-binding",
    "ClusterRoleBinding/efs-csi-provisioner-binding",
    "DaemonSet/efs-csi-node",
    "Deployment/efs-csi-controller",
    "RoleBinding/efs-csi-provisioner-binding-describe-secrets",
    "ServiceAccount/efs-csi-controller-sa",
    "ServiceAccount/efs-csi-node-sa",
    "DaemonSet/efs-csi-tunnel",
    "Role/efs-csi-leases-role",
    "RoleBinding/efs-csi-leases-rolebinding",
];

/// Role references are immutable, so they are facts too: binding, role.
const ROLE_REFERENCES: [(&str, &str); 3] = [
    ("efs-csi-provisioner-binding", "efs-csi-external-provisioner-role"),
    (
        "efs-csi-provisioner-binding-describe-secrets",
        "efs-csi-external-provisioner-role-describe-secrets",
    ),
    ("efs-csi-node-binding", "efs-csi-node-role"),
];

const UPSTREAM: &str = include_str!("efs_upstream_values.yaml");

fn selector(name: &str) -> Value {
    json!({
        "app": name,
        "app.kubernetes.io/name": "aws-efs-csi-driver",
        "app.kubernetes.io/instance": "aws-efs-csi-driver",
    })
}

fn check_immutable_fields(objects: &[Object]) {
    for (kind, name) in [("Deployment", "efs-csi-controller"), ("DaemonSet", "efs-csi-node")] {
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
    assert_eq!(find(objects, "CSIDriver", "efs.csi.aws.com").at("/spec/attachRequired"), false);
}

fn container(objects: &[Object], kind: &str, name: &str, container: &str) -> Container {
    let all = find(objects, kind, name).containers();
    all.into_iter().find(|one| one.name() == container).expect(container)
}

fn controller(values: &str) -> Container {
    container(&render(&chart(), values), "Deployment", "efs-csi-controller", "efs-plugin")
}

fn node(values: &str) -> Container {
    container(&render(&chart(), values), "DaemonSet", "efs-csi-node", "efs-plugin")
}

fn tunnel(values: &str) -> Container {
    container(&render(&chart(), values), "DaemonSet", "efs-csi-tunnel", "efs-tunnel")
}

#[test]
fn by_default_the_objects_are_those_of_the_chart_that_is_taken_over_and_the_tunnel() {
    if !has_helm() {
        return;
    }
    let objects = render(&chart(), "{}");
    let mut names = ids(&objects);
    names.sort();
    let mut expected: Vec<&str> = OBJECTS.to_vec();
    expected.sort_unstable();
    assert_eq!(names, expected);
    check_immutable_fields(&objects);
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
        assert_eq!(chart().render_reused(&part.to_string()).unwrap(), all, "without {top}");
    }
}

#[test]
fn an_unknown_key_is_told_of_but_below_our_own_keys_it_is_refused() {
    if !has_helm() {
        return;
    }
    let notes = chart().notes("{bogus: 1}", false).unwrap();
    assert!(notes.contains("- bogus: no such key"), "{notes}");
    for (values, key) in [
        ("{tunnel: {resorces: {}}}", "resorces"),
        ("{driverImage: {repo: a}}", "repo"),
        ("{csiDriver: {create: true}}", "create"),
        ("{webIdentity: {renders: true}}", "renders"),
    ] {
        let said = refusal(&chart(), values);
        assert!(said.contains(&format!("additional properties '{key}' not allowed")), "{said}");
    }
}

#[test]
fn the_tunnel_can_surge_and_outlives_its_release() {
    if !has_helm() {
        return;
    }
    let objects = render(&chart(), "{}");
    let set = find(&objects, "DaemonSet", "efs-csi-tunnel");
    assert_eq!(set.at("/metadata/annotations/helm.sh~1resource-policy"), "keep");
    assert_eq!(set.at("/spec/selector/matchLabels"), &json!({"app": "efs-csi-tunnel"}));
    assert_eq!(set.at("/spec/updateStrategy/rollingUpdate/maxUnavailable"), 0);
    assert_eq!(set.at("/spec/template/spec/hostNetwork"), true);
    let container = tunnel("{}");
    // A declared port keeps a second pod with the host's network off the node.
    assert_eq!(container.at("/ports"), &Value::Null);
    assert_eq!(container.at("/livenessProbe/httpGet"), &Value::Null);
    assert_eq!(container.at("/securityContext/privileged"), &Value::Null);
    assert_eq!(container.at("/securityContext/capabilities/drop/0"), "ALL");
}

#[test]
fn values_of_the_node_are_the_tunnels_too() {
    if !has_helm() {
        return;
    }
    let values = "{useFIPS: true, portRangeUpperBound: '30000', node: {\
        hostAliases: {fs-1: {ip: 10.0.0.1, region: eu-west-1}}, dnsPolicy: Default,\
        tolerations: [{key: a, operator: Exists}], nodeSelector: {a: b},\
        env: [{name: MY_A, value: b}], volumes: [{name: ca, emptyDir: {}}],\
        volumeMounts: [{name: ca, mountPath: /ca}], priorityClassName: p,\
        resources: {limits: {memory: 1Gi}}, podLabels: {x: z}}}";
    let objects = render(&chart(), values);
    for name in ["efs-csi-node", "efs-csi-tunnel"] {
        let pod = find(&objects, "DaemonSet", name).at("/spec/template/spec");
        assert_eq!(pod["hostAliases"][0]["hostnames"][0], "fs-1.efs.eu-west-1.amazonaws.com");
        assert_eq!(pod["dnsPolicy"], "Default", "{name}");
        assert_eq!(pod["tolerations"][0]["key"], "a", "{name}");
        assert_eq!(pod["nodeSelector"]["a"], "b", "{name}");
        assert_eq!(pod["priorityClassName"], "p", "{name}");
        let container = &find(&objects, "DaemonSet", name).containers()[0];
        for variable in ["MY_A", "AWS_USE_FIPS_ENDPOINT"] {
            assert!(container.env().contains(&variable.to_owned()), "{name}: {variable}");
        }
        assert!(container.at("/volumeMounts").to_string().contains("/ca"), "{name}");
    }
    let limit = tunnel(values).at("/resources/limits/memory").clone();
    assert_eq!(limit, tunnel("{}").at("/resources/limits/memory").clone());
}

#[test]
fn values_become_arguments() {
    if !has_helm() {
        return;
    }
    for (values, argument) in [
        ("{node: {healthPort: 9000}}", "--health-endpoint=:9000"),
        ("{node: {unmountTimeout: 10s}}", "--unmount-timeout=10s"),
        (
            "{node: {maxInflightMountCallsOptIn: true, maxInflightMountCalls: 3}}",
            "--max-inflight-mount-calls=3",
        ),
        ("{node: {volumeAttachLimitOptIn: true, volumeAttachLimit: 4}}", "--volume-attach-limit=4"),
        (
            "{node: {efsUtilsConfOverrides: 'mount:region=eu-west-1'}}",
            "--efs-utils-conf-overrides=mount:region=eu-west-1",
        ),
        ("{node: {httpEndpoint: ':9100'}}", "--http-endpoint=:9100"),
    ] {
        let args = node(values).args();
        assert!(args.iter().any(|one| one == argument), "{values}: {args:?}");
    }
    for (values, argument) in [
        ("{controller: {tags: {team: a, cost: 7}}}", "--tags=cost:7 team:a"),
        ("{controller: {healthPort: 9001}}", "--health-endpoint=:9001"),
        ("{controller: {enableMetrics: true}}", "--http-endpoint=:3301"),
        ("{debugLogs: true}", "--v=7"),
    ] {
        let args = controller(values).args();
        assert!(args.iter().any(|one| one == argument), "{values}: {args:?}");
    }
}

#[test]
fn no_container_of_the_controller_is_privileged() {
    if !has_helm() {
        return;
    }
    for reused in ["{}", UPSTREAM] {
        let objects = chart().render_reused(reused).unwrap();
        let pod = find(&objects, "Deployment", "efs-csi-controller");
        assert_eq!(pod.at("/spec/template/spec/securityContext/runAsNonRoot"), true);
        for container in pod.containers() {
            assert_eq!(container.at("/securityContext/capabilities/drop/0"), "ALL");
            assert_eq!(container.at("/securityContext/privileged"), &Value::Null);
        }
    }
}

#[test]
fn deleting_directories_adds_a_tunnel_and_one_capability_to_the_controllers_pod() {
    if !has_helm() {
        return;
    }
    let values = "{controller: {deleteAccessPointRootDir: true}}";
    let objects = render(&chart(), values);
    let pod = find(&objects, "Deployment", "efs-csi-controller");
    // One user for all, whose socket it is.
    assert_eq!(pod.at("/spec/template/spec/securityContext/runAsUser"), 0);
    let plugin = controller(values);
    let args = plugin.args();
    for wanted in ["--delete-access-point-root-dir", "--tunnel-socket=/var/run/efs/tunnel.sock"] {
        assert!(args.iter().any(|one| one == wanted), "{args:?}");
    }
    assert_eq!(plugin.at("/securityContext/capabilities/add"), &json!(["SYS_ADMIN"]));
    assert_eq!(plugin.at("/securityContext/capabilities/drop"), &json!(["ALL"]));
    let tunnel = container(&objects, "Deployment", "efs-csi-controller", "efs-tunnel");
    let served = "--control-socket=/var/run/efs/tunnel.sock";
    assert!(tunnel.args().iter().any(|one| one == served), "{:?}", tunnel.args());
    for other in ["efs-tunnel", "csi-provisioner"] {
        let other = container(&objects, "Deployment", "efs-csi-controller", other);
        let adds = other.at("/securityContext/capabilities/add").to_string();
        assert!(!adds.contains("SYS_ADMIN"), "{adds}");
    }
    for one in pod.containers() {
        assert_eq!(one.at("/securityContext/privileged"), &Value::Null);
    }
    let without = render(&chart(), "{}");
    let pod = find(&without, "Deployment", "efs-csi-controller");
    assert_eq!(pod.containers().len(), 2);
    assert_eq!(pod.at("/spec/template/spec/securityContext/runAsUser"), 1000);
}

#[test]
fn objects_are_read_only_where_ids_of_file_systems_stand_in_them() {
    if !has_helm() {
        return;
    }
    let role = "ClusterRole/efs-csi-file-system-id-refs-role".to_owned();
    assert!(!ids(&render(&chart(), "{}")).contains(&role));
    let objects = render(&chart(), "{controller: {fileSystemIdRefs: {enabled: true}}}");
    let found = find(&objects, "ClusterRole", "efs-csi-file-system-id-refs-role");
    let rules =
        json!([{"apiGroups": [""], "resources": ["configmaps", "secrets"], "verbs": ["get"]}]);
    assert_eq!(found.at("/rules"), &rules);
    assert!(
        ids(&objects)
            .contains(&"ClusterRoleBinding/efs-csi-file-system-id-refs-binding".to_owned())
    );
}

#[test]
fn the_driver_object_is_no_hook_and_is_kept() {
    if !has_helm() {
        return;
    }
    let objects = render(&chart(), "{}");
    let annotations = find(&objects, "CSIDriver", "efs.csi.aws.com").at("/metadata/annotations");
    assert_eq!(annotations, &json!({"helm.sh/resource-policy": "keep"}));
    let without = render(&chart(), "{csiDriver: {render: never}}");
    assert!(!ids(&without).contains(&"CSIDriver/efs.csi.aws.com".to_owned()));
}

#[test]
fn roles_can_be_put_into_the_pods_without_a_webhook() {
    if !has_helm() {
        return;
    }
    let role = |name: &str| {
        format!(
            "{name}: {{serviceAccount: {{annotations: {{eks.amazonaws.com/role-arn: 'arn:aws:iam::1:role/{name}'}}}}}}"
        )
    };
    let values =
        format!("{{webIdentity: {{render: true}}, {}, {}}}", role("controller"), role("node"));
    let objects = render(&chart(), &values);
    for (kind, name) in [
        ("Deployment", "efs-csi-controller"),
        ("DaemonSet", "efs-csi-node"),
        ("DaemonSet", "efs-csi-tunnel"),
    ] {
        let object = find(&objects, kind, name);
        let env = object.containers()[0].env();
        assert!(env.contains(&"AWS_WEB_IDENTITY_TOKEN_FILE".to_owned()), "{name}: {env:?}");
        let volumes = object.at("/spec/template/spec/volumes").to_string();
        assert!(volumes.contains("sts.amazonaws.com"), "{name}: {volumes}");
    }
}

/// Values, and an object that they bring or change.
const OTHERS: [(&str, &str, &str); 9] = [
    (
        "{controller: {podDisruptionBudget: {enabled: true}}}",
        "PodDisruptionBudget",
        "efs-csi-controller",
    ),
    (
        "{controller: {podDisruptionBudget: {enabled: true, maxUnavailable: 1}}}",
        "PodDisruptionBudget",
        "efs-csi-controller",
    ),
    (
        "{controller: {enableMetrics: true, serviceMonitor: {enabled: true}}}",
        "ServiceMonitor",
        "efs-csi-controller",
    ),
    ("{networkPolicy: {enabled: true}}", "NetworkPolicy", "efs-csi-controller"),
    ("{prometheusRule: {enabled: true}}", "PrometheusRule", "efs-csi-driver"),
    (
        "{storageClasses: [{name: efs-sc, mountOptions: [tls], parameters: {provisioningMode: efs-ap}}]}",
        "StorageClass",
        "efs-sc",
    ),
    (
        "{controller: {name: other, hostNetwork: true, rollingUpdate: {maxSurge: 1}}}",
        "Deployment",
        "other",
    ),
    (
        "{node: {rollingUpdate: {maxUnavailable: 1}, serviceAccount: {disableMutation: true}}}",
        "DaemonSet",
        "efs-csi-node",
    ),
    (
        "{imagePullSecrets: [a], image: {repository: a.b/aws-csi-driver, tag: 7}}",
        "DaemonSet",
        "efs-csi-tunnel",
    ),
];

#[test]
fn every_other_documented_value_renders() {
    if !has_helm() {
        return;
    }
    for (values, kind, name) in OTHERS {
        find(&render(&chart(), values), kind, name);
    }
    let said = refusal(&chart(), "{image: {repository: a.b/aws-efs-csi-driver}}");
    assert!(said.contains("set driverImage.repository"), "{said}");
}

#[test]
fn the_built_in_defaults_are_the_values() {
    let read = |name: &str| std::fs::read_to_string(chart().folder().join(name)).unwrap();
    assert_eq!(read("values.yaml"), read("files/defaults.yaml"), "run `make charts`");
    let about: Value = serde_saphyr::from_str(&read("Chart.yaml")).unwrap();
    assert_eq!(about["appVersion"], env!("CARGO_PKG_VERSION"));
}
