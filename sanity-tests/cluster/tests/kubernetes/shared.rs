//! The cluster that the tests share, and the manifests that they have in common.

use std::path::PathBuf;

use anyhow::{Context, Result};
use csi_cluster::{Cluster, Driver};
use sanity_tests::chart::project;
use sanity_tests::stand::{Settings, runtime};
use serde_json::{Value, json};
use tokio::sync::Mutex;

/// The image of the examples.
const BUSYBOX: &str = "public.ecr.aws/docker/library/busybox:1.36";

/// It ends with the process: a bed's processes and files do not outlive that.
static CLUSTER: Mutex<Option<Cluster>> = Mutex::const_new(None);

/// Runs one test at a time on the cluster, with one driver's chart and the `StorageClass` of its
/// example; checks that the test leaves nothing behind, and takes class and chart away again. The
/// node's one emulated CPU does not carry both charts' pods at once within the probes' patience.
/// After a test that failed the next one gets a new cluster.
pub(crate) fn on_cluster(
    driver: Driver,
    class: &str,
    test: impl AsyncFnOnce(&mut Cluster) -> Result<()>,
) -> Result<()> {
    runtime().block_on(async {
        let mut shared = CLUSTER.lock().await;
        let mut cluster = match shared.take() {
            Some(cluster) => cluster,
            None => Cluster::start(Settings::quick().world).await?,
        };
        let class = example(class);
        let outcome = async {
            cluster.install(driver, &json!({})).await?;
            cluster.kubectl().apply_file(&class)?;
            test(&mut cluster).await?;
            cluster.check_nothing_is_left().await?;
            cluster.kubectl().delete_file(&class)?;
            cluster.uninstall(driver)
        };
        outcome.await.with_context(|| cluster.last_words())?;
        *shared = Some(cluster);
        drop(shared);
        Ok(())
    })
}

/// A file of `deploy/examples`.
pub(crate) fn example(name: &str) -> PathBuf {
    project().join("deploy/examples").join(name)
}

/// A claim.
pub(crate) fn claim(name: &str, class: &str, mode: &str, size: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name},
        "spec": {
            "accessModes": [mode], "storageClassName": class,
            "resources": {"requests": {"storage": size}},
        },
    })
}

/// A pod that has claims at `/CLAIM` and runs a shell script.
pub(crate) fn pod(name: &str, claims: &[&str], script: &str) -> Value {
    let volumes: Vec<Value> = claims
        .iter()
        .map(|claim| json!({"name": claim, "persistentVolumeClaim": {"claimName": claim}}))
        .collect();
    let mounts: Vec<Value> = claims
        .iter()
        .map(|claim| json!({"name": claim, "mountPath": format!("/{claim}")}))
        .collect();
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{
                "name": "c", "image": BUSYBOX, "command": ["/bin/sh", "-c", script],
                "volumeMounts": mounts,
            }],
            "volumes": volumes,
        },
    })
}

/// Goes on until the pod is deleted.
pub(crate) const IDLE: &str = "trap 'exit 0' TERM; while :; do sleep 1; done";
