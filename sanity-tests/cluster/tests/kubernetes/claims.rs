//! From a claim to its end.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use csi_cluster::{Cluster, Driver};
use serde_json::Value;

use crate::shared::{IDLE, claim, on_cluster, pod};

const READY: Duration = Duration::from_mins(3);

#[test]
fn a_claim_of_gp3_is_bound_written_to_and_taken_back() -> Result<()> {
    on_cluster(Driver::Ebs, "gp3.yaml", async |cluster| {
        let kubectl = cluster.kubectl();
        kubectl.apply(&claim("data", "gp3", "ReadWriteOnce", "10Gi").to_string())?;
        kubectl.apply(&pod("writer", &["data"], IDLE).to_string())?;
        kubectl.wait(&["pod/writer"], "condition=Ready", READY)?;
        kubectl.exec("writer", "echo hello >/data/f && sync && cat /data/f")?;
        let mount = kubectl.exec("writer", "grep ' /data ' /proc/mounts")?;
        ensure!(mount.contains(" ext4 "), "{mount}");

        let state = cluster.admin().state().await?;
        let volume = state.volumes.values().find(|volume| !volume.root).context("no volume")?;
        ensure!(
            (volume.size_gib, volume.iops, volume.throughput) == (10, Some(4000), Some(400)),
            "{volume:?}"
        );
        ensure!(volume.zone == sanity_tests::stand::ZONE, "{volume:?}");
        let named = volume.tags.get("kubernetes.io/created-for/pvc/name");
        ensure!(named.map(String::as_str) == Some("data"), "{:?}", volume.tags);

        kubectl.run(&["delete", "pod/writer", "pvc/data"])?;
        Ok(())
    })
}

#[test]
fn a_claim_of_efs_sc_is_bound_written_to_and_taken_back() -> Result<()> {
    on_cluster(Driver::Efs, "efs-sc.yaml", async |cluster| {
        let kubectl = cluster.kubectl();
        kubectl.apply(&claim("files", "efs-sc", "ReadWriteMany", "5Gi").to_string())?;
        kubectl.apply(&pod("writer", &["files"], IDLE).to_string())?;
        kubectl.wait(&["pod/writer"], "condition=Ready", READY)?;
        kubectl.exec("writer", "echo hello >/files/f && sync && cat /files/f")?;
        let owner = kubectl.exec("writer", "stat -c '%a %g' /files")?;
        let (mode, gid) = owner.trim().split_once(' ').context("no owner")?;
        ensure!(mode == "700" && (1000..=2000).contains(&gid.parse::<u32>()?), "{owner}");
        bound_to(cluster, "files", "efs.csi.aws.com")?;
        kubectl.run(&["delete", "pod/writer", "pvc/files"])?;
        Ok(())
    })
}

fn bound_to(cluster: &Cluster, claim: &str, driver: &str) -> Result<()> {
    let kubectl = cluster.kubectl();
    let claim = kubectl.get(&["pvc", claim])?;
    let volume = claim.pointer("/spec/volumeName").and_then(Value::as_str).context("not bound")?;
    let volume = kubectl.get(&["pv", volume])?;
    let by = volume.pointer("/spec/csi/driver").and_then(Value::as_str);
    ensure!(by == Some(driver), "{volume}");
    Ok(())
}
