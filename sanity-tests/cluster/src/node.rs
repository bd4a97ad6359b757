//! The guest as a node: containerd and kubelet, with the images of the disk that `node-disk.sh` made.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use csi_bed::{Bed, HOST_ADDRESS};
use sanity_tests::stand::{NODE_ID, ZONE};
use serde_json::json;
use tokio::task::block_in_place;

use crate::REGION;
use crate::pki::Authority;

/// The node's name.
pub const NODE: &str = "node-1";
/// The node's address, within QEMU's user network and, for the API server, on the namespace's `lo`.
pub(crate) const ADDRESS: &str = "10.0.2.15";
const KUBELET_PORT: u16 = 10_250;
const SETUP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/guest/node");
const DISK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/node-disk.sh");

const KUBELET: &str = "kubelet";
const CONTAINERD: &str = "containerd";

/// Makes the disk with the images: those of `prepared`, and the driver's from `archive`.
pub(crate) fn make_disk(bed: &Bed, prepared: &Path, archive: &Path) -> Result<PathBuf> {
    let disk = bed.run_dir().join("node.raw");
    let mut command = csi_bed::command(DISK);
    command.arg(prepared).arg(archive).arg(&disk).stdout(Stdio::null());
    let status = block_in_place(|| bed.spawn(command)?.wait().context("node-disk.sh"))?;
    ensure!(status.success(), "{DISK} failed with {status}; its messages are above");
    Ok(disk)
}

/// Starts containerd and kubelet in the guest.
pub(crate) fn start(
    bed: &Bed,
    disk: &Path,
    authority: &Authority,
    metadata: &str,
    hosts: &str,
) -> Result<()> {
    route_to_kubelet(bed)?;
    let guest = bed.guest();
    let device = guest.disks().attach_virtio("node", disk)?;
    guest.write("/usr/local/sbin/node", &fs::read(SETUP)?)?;
    for (name, extension) in [("ca", "crt"), ("kubelet", "crt"), ("kubelet", "key")] {
        let file = format!("/etc/node/{name}.{extension}");
        guest.write(&file, &fs::read(authority.at(name, extension))?)?;
    }
    guest.write("/etc/node/kubeconfig", &fs::read(authority.at("kubelet", "kubeconfig"))?)?;
    guest.write("/etc/node/kubelet.yaml", kubelet_configuration().as_bytes())?;
    guest.run(&format!(
        "chmod 755 /usr/local/sbin/node; echo '{hosts}' >>/etc/hosts; \
         node {device} {HOST_ADDRESS}:6443 {metadata}"
    ))?;
    start_containerd(bed)?;
    start_kubelet(bed)
}

/// Starts containerd and waits for its socket.
fn start_containerd(bed: &Bed) -> Result<()> {
    bed.guest().start(CONTAINERD, "containerd -c /etc/node/containerd.toml")?;
    bed.guest().run("until ctr version >/dev/null 2>&1; do sleep 0.1; done")?;
    Ok(())
}

/// Starts kubelet.
fn start_kubelet(bed: &Bed) -> Result<()> {
    let command = format!(
        "/node/bin/kubelet --config=/etc/node/kubelet.yaml --kubeconfig=/etc/node/kubeconfig \
         --hostname-override={NODE} --node-ip={ADDRESS} --v=2 \
         --node-labels=topology.kubernetes.io/zone={ZONE},topology.kubernetes.io/region={REGION},\
         node.kubernetes.io/instance-type=m5.large"
    );
    Ok(bed.guest().start(KUBELET, &command)?)
}

/// The API server reaches kubelet at the node's address. From that address itself it would not: the
/// guest drops packets that claim to come from it, so they come from 127.0.0.1.
fn route_to_kubelet(bed: &Bed) -> Result<()> {
    let local = format!("{ADDRESS}/32");
    let commands: [&[&str]; 2] = [
        &["address", "add", &local, "dev", "lo"],
        &[
            "route",
            "replace",
            "local",
            ADDRESS,
            "dev",
            "lo",
            "table",
            "local",
            "proto",
            "kernel",
            "scope",
            "host",
            "src",
            "127.0.0.1",
        ],
    ];
    for arguments in commands {
        let mut command = csi_bed::command("ip");
        command.args(arguments);
        let status = bed.spawn(command)?.wait()?;
        ensure!(status.success(), "ip {arguments:?} failed with {status}");
    }
    let address: SocketAddr = format!("{ADDRESS}:{KUBELET_PORT}").parse()?;
    Ok(bed.forward_port(address, KUBELET_PORT)?)
}

fn kubelet_configuration() -> String {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": false}, "webhook": {"enabled": true},
            "x509": {"clientCAFile": "/etc/node/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": "/etc/node/kubelet.crt",
        "tlsPrivateKeyFile": "/etc/node/kubelet.key",
        "cgroupDriver": "cgroupfs",
        "enforceNodeAllocatable": [],
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "resolvConf": "/etc/resolv.conf",
        "clusterDomain": "cluster.local",
        "providerID": format!("aws:///{ZONE}/{NODE_ID}"),
        "nodeStatusUpdateFrequency": "10s",
        "syncFrequency": "10s",
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {
            "memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%",
            "nodefs.inodesFree": "1%",
        },
        "maxPods": 50,
        "registerWithTaints": [
            {"key": "ebs.csi.aws.com/agent-not-ready", "effect": "NoExecute", "value": "NoExecute"},
            {"key": "efs.csi.aws.com/agent-not-ready", "effect": "NoExecute", "value": "NoExecute"},
        ],
    })
    .to_string()
}
