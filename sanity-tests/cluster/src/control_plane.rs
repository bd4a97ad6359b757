//! etcd, API server, controller manager, scheduler and snapshot controller, as processes of the bed's
//! network namespace.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use csi_bed::{Bed, HOST_ADDRESS};
use sanity_tests::stand::HostProgram;

use crate::kubectl::Kubectl;
use crate::pki::{Authority, Subject};

/// Where the API server is, within the namespace; also the name of the issuer of its tokens.
pub const API: &str = "https://127.0.0.1:6443";
/// Addresses of services; the first one is the API server's.
const SERVICES: &str = "10.96.0.0/16";
const ETCD: &str = "http://127.0.0.1:2379";
const PATIENCE: Duration = Duration::from_mins(3);

/// The control plane. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct ControlPlane {
    _programs: Vec<HostProgram>,
}

/// Makes the certificates and kubeconfigs of all parts: `admin.kubeconfig` and the rest in `folder`.
pub(crate) fn certify(folder: &Path, node: &str, node_address: &str) -> Result<Authority> {
    let authority = Authority::new(folder)?;
    let masters = Some("system:masters");
    let nodes = Some("system:nodes");
    let node_user = format!("system:node:{node}");
    let api_names = [
        "127.0.0.1",
        HOST_ADDRESS,
        "10.96.0.1",
        "localhost",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
    ];
    let parts: [(&str, &str, Option<&str>, &[&str]); 6] = [
        ("apiserver", "kube-apiserver", None, &api_names),
        ("apiserver-kubelet", "apiserver-kubelet", masters, &[]),
        ("admin", "admin", masters, &[]),
        ("controller-manager", "system:kube-controller-manager", None, &[]),
        ("scheduler", "system:kube-scheduler", None, &[]),
        ("kubelet", &node_user, nodes, &[node, node_address]),
    ];
    for (name, user, group, names) in parts {
        authority.certify(name, &Subject { user, group }, names)?;
    }
    for client in ["admin", "controller-manager", "scheduler"] {
        fs::write(authority.at(client, "kubeconfig"), authority.kubeconfig(client, API)?)?;
    }
    let server = format!("https://{HOST_ADDRESS}:6443");
    fs::write(authority.at("kubelet", "kubeconfig"), authority.kubeconfig("kubelet", &server)?)?;
    Ok(authority)
}

impl ControlPlane {
    /// Starts it and waits until the API server is ready and has a default service account.
    pub(crate) async fn start(
        bed: &Bed,
        tools: &Path,
        authority: &Authority,
        kubectl: &Kubectl<'_>,
    ) -> Result<Self> {
        let run = |name: &str, arguments: Vec<String>| {
            let mut program = HostProgram::at(tools.join(name), bed.run_dir());
            program.arguments = arguments;
            program.start(bed).map(|()| program)
        };
        let mut programs = vec![
            run("etcd", etcd(&bed.run_dir().join("etcd")))?,
            run("kube-apiserver", api_server(authority))?,
        ];
        kubectl
            .until(PATIENCE, &["get", "--raw", "/readyz"])
            .await
            .with_context(|| programs.iter().map(HostProgram::log_tail).collect::<String>())?;
        programs.push(run("kube-controller-manager", controller_manager(authority))?);
        programs.push(run("kube-scheduler", scheduler(authority))?);
        kubectl.until(PATIENCE, &["-n", "default", "get", "serviceaccount", "default"]).await?;
        kubectl.apply_file(&tools.join("crd"))?;
        programs.push(run("snapshot-controller", snapshot_controller(authority))?);
        Ok(Self { _programs: programs })
    }
}

fn etcd(data: &Path) -> Vec<String> {
    let peer = "http://127.0.0.1:2380";
    vec![
        "--name=etcd".to_owned(),
        format!("--data-dir={}", data.display()),
        "--unsafe-no-fsync".to_owned(),
        format!("--listen-client-urls={ETCD}"),
        format!("--advertise-client-urls={ETCD}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=etcd={peer}"),
        "--log-level=warn".to_owned(),
    ]
}

fn api_server(authority: &Authority) -> Vec<String> {
    let file = |flag: &str, name: &str, extension: &str| {
        format!("--{flag}={}", authority.at(name, extension).display())
    };
    let mut arguments = vec![
        format!("--etcd-servers={ETCD}"),
        "--bind-address=127.0.0.1".to_owned(),
        "--secure-port=6443".to_owned(),
        // Loopback is refused here; nobody goes to this address, nodes forward the service's.
        "--advertise-address=10.98.0.1".to_owned(),
        format!("--service-cluster-ip-range={SERVICES}"),
        "--allow-privileged=true".to_owned(),
        "--authorization-mode=Node,RBAC".to_owned(),
        "--enable-admission-plugins=NodeRestriction".to_owned(),
        "--kubelet-preferred-address-types=InternalIP".to_owned(),
        format!("--service-account-issuer={API}"),
        format!("--service-account-jwks-uri={API}/openid/v1/jwks"),
        format!("--api-audiences={API}"),
        "--profiling=false".to_owned(),
    ];
    arguments.extend([
        file("client-ca-file", "ca", "crt"),
        file("tls-cert-file", "apiserver", "crt"),
        file("tls-private-key-file", "apiserver", "key"),
        file("kubelet-certificate-authority", "ca", "crt"),
        file("kubelet-client-certificate", "apiserver-kubelet", "crt"),
        file("kubelet-client-key", "apiserver-kubelet", "key"),
        file("service-account-key-file", "sa", "pub"),
        file("service-account-signing-key-file", "sa", "key"),
    ]);
    arguments
}

/// What controller manager and scheduler have in common.
fn client(authority: &Authority, name: &str) -> Vec<String> {
    let config = authority.at(name, "kubeconfig");
    let mut arguments: Vec<String> =
        ["kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig"]
            .iter()
            .map(|flag| format!("--{flag}={}", config.display()))
            .collect();
    arguments.extend(["--bind-address=127.0.0.1".to_owned(), "--leader-elect=false".to_owned()]);
    arguments
}

fn controller_manager(authority: &Authority) -> Vec<String> {
    let path = |name: &str, extension: &str| authority.at(name, extension).display().to_string();
    let mut arguments = client(authority, "controller-manager");
    arguments.extend([
        format!("--root-ca-file={}", path("ca", "crt")),
        format!("--service-account-private-key-file={}", path("sa", "key")),
        "--use-service-account-credentials=true".to_owned(),
    ]);
    arguments
}

fn scheduler(authority: &Authority) -> Vec<String> {
    client(authority, "scheduler")
}

fn snapshot_controller(authority: &Authority) -> Vec<String> {
    vec![format!("--kubeconfig={}", authority.at("admin", "kubeconfig").display())]
}
