//! What single values of the chart aws-ebs-csi-driver do.

use sanity_tests::chart::{Chart, Container, Object};

use crate::{find, has_helm, refusal, render};

fn chart() -> Chart {
    Chart::new("aws-ebs-csi-driver")
}

fn container(objects: &[Object], kind: &str, name: &str, container: &str) -> Container {
    let all = find(objects, kind, name).containers();
    all.into_iter().find(|one| one.name() == container).expect(container)
}

fn controller(values: &str) -> Container {
    container(&render(&chart(), values), "Deployment", "ebs-csi-controller", "ebs-plugin")
}

fn node(values: &str) -> Container {
    container(&render(&chart(), values), "DaemonSet", "ebs-csi-node", "ebs-plugin")
}

fn sidecar(values: &str, name: &str) -> Container {
    container(&render(&chart(), values), "Deployment", "ebs-csi-controller", name)
}

#[test]
fn values_of_the_controller_become_its_arguments() {
    if !has_helm() {
        return;
    }
    for (values, argument) in [
        ("{controller: {extraVolumeTags: {team: a, cost: 7}}}", "--extra-tags=cost=7,team=a"),
        (
            "{controller: {k8sTagClusterId: '{{ .Release.Name }}'}}",
            "--k8s-tag-cluster-id=aws-ebs-csi-driver",
        ),
        ("{controller: {enableMetrics: true}}", "--http-endpoint=:3301"),
        ("{controller: {httpEndpoint: '0.0.0.0:9000'}}", "--http-endpoint=0.0.0.0:9000"),
        ("{controller: {loggingFormat: json}}", "--logging-format=json"),
        ("{controller: {logLevel: 4}}", "--v=4"),
        ("{controller: {sdkDebugLog: true}}", "--v=7"),
        ("{debugLogs: true}", "--v=7"),
        ("{controller: {userAgentExtra: mine}}", "--user-agent-extra=mine"),
        ("{controller: {additionalArgs: [--list-volumes]}}", "--list-volumes"),
    ] {
        let args = controller(values).args();
        assert!(args.iter().any(|one| one == argument), "{values}: {args:?}");
    }
}

#[test]
fn values_of_the_node_become_its_arguments() {
    if !has_helm() {
        return;
    }
    for (values, argument) in [
        ("{node: {volumeAttachLimit: 12}}", "--volume-attach-limit=12"),
        ("{node: {reservedVolumeAttachments: 2}}", "--reserved-volume-attachments=2"),
        (
            "{node: {metadataSources: 'metadata-labeler,kubernetes'}}",
            "--metadata-sources=kubernetes",
        ),
        ("{node: {legacyXFS: true}}", "--legacy-xfs"),
        ("{node: {enableMetrics: true}}", "--http-endpoint=:3302"),
        (
            "{node: {kubeletPath: /data/kubelet}}",
            "--kubelet-registration-path=/data/kubelet/plugins/ebs.csi.aws.com/csi.sock",
        ),
        ("{node: {loggingFormat: json, logLevel: 6}}", "--v=6"),
    ] {
        let args = node(values).args();
        assert!(args.iter().any(|one| one == argument), "{values}: {args:?}");
    }
    for unset in ["{node: {volumeAttachLimit: 0, reservedVolumeAttachments: 0}}", "{}"] {
        let args = node(unset).args();
        assert!(!args.iter().any(|one| one.contains("attach")), "{unset}: {args:?}");
    }
}

#[test]
fn flags_that_are_no_more_are_left_out_with_their_value_and_named() {
    if !has_helm() {
        return;
    }
    let values = "{controller: {additionalArgs: [--extra-volume-tags, a=b, --aws-sdk-debug-log=true, --warn-on-invalid-tag]}, node: {additionalArgs: [--windows-host-process=false]}}";
    let args = controller(values).args();
    assert!(args.ends_with(&["--warn-on-invalid-tag".to_owned()]), "{args:?}");
    assert!(!args.iter().any(|one| one.contains("a=b") || one.contains("sdk")), "{args:?}");
    assert!(!node(values).args().iter().any(|one| one.contains("windows")));
    let notes = chart().notes(values, false).unwrap();
    for line in [
        "controller.additionalArgs: --extra-volume-tags is left out",
        "controller.additionalArgs: --aws-sdk-debug-log=true is left out",
        "node.additionalArgs: --windows-host-process=false is left out",
    ] {
        assert!(notes.contains(line), "{notes}");
    }
}

#[test]
fn arguments_of_a_sidecar_replace_the_defaults_of_their_group() {
    if !has_helm() {
        return;
    }
    let values = "{sidecars: {provisioner: {additionalArgs: [--timeout=9s, --worker-threads=5], leaderElection: {enabled: false}}}}";
    let args = sidecar(values, "csi-provisioner").args();
    assert_eq!(args.iter().filter(|one| one.starts_with("--timeout")).count(), 1, "{args:?}");
    assert!(!args.iter().any(|one| one.contains("kube-api-qps")), "{args:?}");
    assert!(args.contains(&"--retry-interval-max=30m".to_owned()), "{args:?}");
    assert!(args.contains(&"--leader-election=false".to_owned()), "{args:?}");
}

#[test]
fn an_image_is_ours_or_the_render_fails_and_says_what_to_set() {
    if !has_helm() {
        return;
    }
    let ours = concat!("localhost/aws-csi-driver:", env!("CARGO_PKG_VERSION"));
    for (values, image) in [
        (
            "{image: {repository: public.ecr.aws/ebs-csi-driver/aws-ebs-csi-driver, tag: v1.64.0}}",
            ours,
        ),
        (
            "{image: {repository: 602401143452.dkr.ecr.eu-west-1.amazonaws.com/eks/aws-ebs-csi-driver}}",
            ours,
        ),
        ("{image: {repository: registry.k8s.io/provider-aws/aws-ebs-csi-driver}}", ours),
        ("{image: {repository: a.b/c/aws-csi-driver, tag: '7'}}", "a.b/c/aws-csi-driver:7"),
        (
            "{image: {containerRegistry: a.b, repository: /aws-csi-driver, tag: 7}}",
            "a.b/aws-csi-driver:7",
        ),
        (
            "{driverImage: {repository: a.b/aws-csi-driver, tag: x}, image: {repository: a.b/aws-ebs-csi-driver}}",
            "a.b/aws-csi-driver:x",
        ),
    ] {
        assert_eq!(node(values).image(), image, "{values}");
        assert_eq!(controller(values).image(), image, "{values}");
    }
    for mirror in [
        "a.b/aws-ebs-csi-driver",
        "111122223333.dkr.ecr.eu-west-1.amazonaws.com/eks/aws-ebs-csi-driver",
    ] {
        let said = refusal(&chart(), &format!("{{image: {{repository: {mirror}}}}}"));
        assert!(said.contains(mirror) && said.contains("set driverImage.repository"), "{said}");
    }
}

#[test]
fn an_older_sidecar_is_raised_and_a_mirror_left_alone() {
    if !has_helm() {
        return;
    }
    let own = sidecar("{}", "csi-attacher").image().to_owned();
    let image = |repository: &str, tag: &str| {
        let values = format!(
            "{{sidecars: {{attacher: {{image: {{repository: {repository}, tag: {tag}}}}}}}}}"
        );
        sidecar(&values, "csi-attacher").image().to_owned()
    };
    let place = "public.ecr.aws/csi-components/csi-attacher";
    assert_eq!(image(place, "v4.8.1-eks-1-32-7"), own);
    assert_eq!(image("public.ecr.aws/eks-distro/kubernetes-csi/external-attacher", "v4.1.0"), own);
    assert_eq!(image(place, "v4.99.0"), format!("{place}:v4.99.0"));
    assert_eq!(image(place, "mine"), format!("{place}:mine"));
    assert_eq!(image("a.b/csi-attacher", "v4.1.0"), "a.b/csi-attacher:v4.1.0");
}

#[test]
fn the_role_can_be_put_into_the_pod_without_a_webhook() {
    if !has_helm() {
        return;
    }
    let values = "{webIdentity: {render: true}, controller: {serviceAccount: {annotations: {eks.amazonaws.com/role-arn: 'arn:aws:iam::111122223333:role/x'}}}}";
    let objects = render(&chart(), values);
    let account = find(&objects, "ServiceAccount", "ebs-csi-controller-sa");
    let role = "arn:aws:iam::111122223333:role/x";
    assert_eq!(account.at("/metadata/annotations/eks.amazonaws.com~1role-arn"), role);
    let pod = find(&objects, "Deployment", "ebs-csi-controller");
    let volume = pod.at("/spec/template/spec/volumes/1/projected/sources/0/serviceAccountToken");
    assert_eq!(volume["audience"], "sts.amazonaws.com");
    let env = controller(values).env();
    assert!(env.contains(&"AWS_ROLE_ARN".to_owned()), "{env:?}");
    let said = refusal(&chart(), "{webIdentity: {render: true}}");
    assert!(said.contains("set controller.serviceAccount.annotations"), "{said}");
}

#[test]
fn the_controller_has_no_right_that_it_does_not_need() {
    if !has_helm() {
        return;
    }
    let objects = render(&chart(), "{}");
    let pod = find(&objects, "Deployment", "ebs-csi-controller");
    assert_eq!(pod.at("/spec/template/spec/securityContext/runAsNonRoot"), true);
    for container in pod.containers() {
        let context = |key: &str| container.at(&format!("/securityContext/{key}")).clone();
        assert_eq!(context("allowPrivilegeEscalation"), false, "{}", container.name());
        assert_eq!(context("readOnlyRootFilesystem"), true, "{}", container.name());
        assert_eq!(context("capabilities/drop/0"), "ALL", "{}", container.name());
        assert_eq!(context("seccompProfile/type"), "RuntimeDefault", "{}", container.name());
    }
    for object in objects.iter().filter(|object| object.kind().ends_with("Role")) {
        let rules = object.at("/rules").to_string();
        assert!(!rules.contains("secrets") && !rules.contains('*'), "{}: {rules}", object.id());
    }
    let reading = render(&chart(), "{node: {serviceAccount: {disableMutation: true}}}");
    let role = find(&reading, "ClusterRole", "ebs-csi-node-role").at("/rules").to_string();
    assert!(!role.contains("patch"), "{role}");
    assert!(
        node("{node: {serviceAccount: {disableMutation: true}}}")
            .env()
            .contains(&"DISABLE_TAINT_WATCHER".to_owned())
    );
}

/// Values, and an object that they bring or change.
const OTHERS: [(&str, &str, &str); 17] = [
    (
        "{additionalDaemonSets: {small: {tolerateAllTaints: false, volumeAttachLimit: 3}}}",
        "DaemonSet",
        "ebs-csi-node-small",
    ),
    ("{networkPolicy: {enabled: true}}", "NetworkPolicy", "ebs-csi-controller"),
    ("{networkPolicy: {enabled: true, egress: [{}]}}", "NetworkPolicy", "ebs-csi-node"),
    ("{prometheusRule: {enabled: true, labels: {release: p}}}", "PrometheusRule", "ebs-csi-driver"),
    ("{grafanaDashboard: {enabled: true}}", "ConfigMap", "ebs-csi-dashboard"),
    ("{defaultStorageClass: {enabled: true}}", "StorageClass", "ebs-csi-default-sc"),
    (
        "{storageClasses: [{name: a, parameters: {type: gp3}, allowVolumeExpansion: true}]}",
        "StorageClass",
        "a",
    ),
    ("{volumeSnapshotClasses: [{name: s, deletionPolicy: Delete}]}", "VolumeSnapshotClass", "s"),
    (
        "{nodeComponentOnly: true, proxy: {http_proxy: 'http://p:3128', no_proxy: x}}",
        "DaemonSet",
        "ebs-csi-node",
    ),
    (
        "{proxy: {http_proxy: 'http://p:3128'}, fips: true, imagePullSecrets: [a]}",
        "Deployment",
        "ebs-csi-controller",
    ),
    (
        "{node: {selinux: true, hostNetwork: true, namespaceOverride: other}}",
        "DaemonSet",
        "ebs-csi-node",
    ),
    (
        "{controller: {volumeModificationFeature: {enabled: true}, enableMetrics: true}}",
        "Service",
        "ebs-csi-controller-volumemodifier",
    ),
    (
        "{controller: {replicaCount: 3, topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: DoNotSchedule}]}}",
        "PodDisruptionBudget",
        "ebs-csi-controller",
    ),
    (
        "{controller: {podDisruptionBudget: {minAvailable: 1, unhealthyPodEvictionPolicy: AlwaysAllow}, dnsConfig: {nameservers: [1.1.1.1]}}}",
        "PodDisruptionBudget",
        "ebs-csi-controller",
    ),
    (
        "{controller: {env: [{name: MY_A, value: b}], volumes: [{name: v, emptyDir: {}}], volumeMounts: [{name: v, mountPath: /v}], initContainers: [{name: i, image: i}]}}",
        "Deployment",
        "ebs-csi-controller",
    ),
    (
        "{customLabels: {a: b}, useOldCSIDriver: true, nodeAllocatableUpdatePeriodSeconds: 60}",
        "CSIDriver",
        "ebs.csi.aws.com",
    ),
    (
        "{driverImage: {digest: 'sha256:0123456789012345678901234567890123456789012345678901234567890123'}}",
        "DaemonSet",
        "ebs-csi-node",
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
    let objects = render(&chart(), "{additionalDaemonSets: {small: {tolerateAllTaints: false}}}");
    let tolerations =
        find(&objects, "DaemonSet", "ebs-csi-node-small").at("/spec/template/spec/tolerations");
    assert_eq!(tolerations.as_array().unwrap().len(), 5, "{tolerations}");
}
