//! The project's charts on a cluster, installed by helm with the values that a user without IMDS-based
//! credentials and with AWS at another address would set, and no others.

use std::time::Duration;

use anyhow::{Context, Result};
use sanity_tests::chart::project;
use serde_json::{Value, json};

use crate::{Cluster, REGION, kubectl, role};

const NAMESPACE: &str = "kube-system";
/// Pods start slowly under emulation.
const PATIENCE: &str = "--timeout=5m";
/// The taint goes once kubelet has registered the plugin.
const REGISTERED: Duration = Duration::from_mins(3);

/// One of the two drivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// Amazon EBS.
    Ebs,
    /// Amazon EFS.
    Efs,
}

impl Driver {
    /// `ebs` or `efs`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ebs => "ebs",
            Self::Efs => "efs",
        }
    }

    /// The chart's and the release's name.
    #[must_use]
    pub fn chart(self) -> String {
        format!("aws-{}-csi-driver", self.name())
    }

    /// What the chart runs.
    #[must_use]
    pub fn workloads(self) -> &'static [&'static str] {
        match self {
            Self::Ebs => &["daemonset/ebs-csi-node", "deployment/ebs-csi-controller"],
            Self::Efs => &[
                "daemonset/efs-csi-tunnel",
                "daemonset/efs-csi-node",
                "deployment/efs-csi-controller",
            ],
        }
    }

    /// What a user sets: the role, the region, and where AWS is.
    fn values(self, endpoint: &str) -> Value {
        let annotations = json!({"eks.amazonaws.com/role-arn": role(self.name())});
        let variable = |name: &str, value: &str| json!({"name": name, "value": value});
        let mut env = vec![variable("AWS_ENDPOINT_URL_STS", endpoint)];
        let web_identity = json!({"render": true, "expirationSeconds": 3600});
        match self {
            Self::Ebs => json!({
                "webIdentity": web_identity,
                "controller": {
                    "replicaCount": 1, "region": REGION, "env": env,
                    "serviceAccount": {"annotations": annotations},
                },
            }),
            Self::Efs => {
                env.push(variable("AWS_EFS_ENDPOINT", endpoint));
                env.push(variable("AWS_REGION", REGION));
                json!({
                    "webIdentity": web_identity,
                    "controller": {
                        "replicaCount": 1, "env": env,
                        "serviceAccount": {"annotations": annotations},
                    },
                    "node": {
                        "efsUtilsConfOverrides": "mount:stunnel_cafile=/var/run/efs/ca.pem",
                    },
                })
            }
        }
    }
}

impl Cluster {
    /// helm in the cluster; what it printed.
    pub fn helm(&self, arguments: &[&str], values: &str) -> Result<String> {
        kubectl::run(&self.bed, &self.parts.helm, arguments, self.kubeconfig(), values)
    }

    /// Installs a driver's chart, or upgrades it, and waits until all of it is ready; `more` are
    /// values beside those of every installation.
    pub async fn install(&self, driver: Driver, more: &Value) -> Result<()> {
        self.prepare_aws(driver)?;
        let mut values = driver.values(&self.aws.endpoint);
        merge(&mut values, more);
        let chart = project().join("deploy/charts").join(driver.chart());
        let chart = chart.to_str().context("a path that is no text")?;
        let release = driver.chart();
        let arguments =
            ["upgrade", "--install", &release, chart, "--namespace", NAMESPACE, "--values", "-"];
        self.helm(&arguments, &values.to_string()).map(drop)?;
        self.await_rollout(driver).await
    }

    /// Waits until all pods of a driver are ready and the node has no start-up taint of it. helm's
    /// own `--wait` is content with as many pods as a rolling update must leave: none of one.
    async fn await_rollout(&self, driver: Driver) -> Result<()> {
        for workload in driver.workloads() {
            let status = ["-n", NAMESPACE, "rollout", "status", workload, PATIENCE];
            self.kubectl().run(&status)?;
        }
        let taint = format!("{}.csi.aws.com/agent-not-ready", driver.name());
        let untainted = || {
            let node = self.kubectl().get(&["node", crate::NODE])?;
            let taints = node.pointer("/spec/taints").map(Value::to_string).unwrap_or_default();
            anyhow::ensure!(!taints.contains(&taint), "the node has still {taints}");
            Ok(())
        };
        self.kubectl().until_holds(REGISTERED, untainted).await
    }

    /// Uninstalls a driver's chart, with what the chart keeps for the pods that may be there.
    pub fn uninstall(&self, driver: Driver) -> Result<()> {
        let release = driver.chart();
        self.helm(&["uninstall", &release, "--namespace", NAMESPACE, "--wait"], "")?;
        let kept = format!("csidriver/{}.csi.aws.com", driver.name());
        self.kubectl().run(&["delete", "--ignore-not-found", &kept])?;
        if driver == Driver::Efs {
            let tunnel = "daemonset/efs-csi-tunnel";
            self.kubectl().run(&["-n", NAMESPACE, "delete", "--ignore-not-found", tunnel])?;
        }
        Ok(())
    }

    /// Where EC2 is, and by what mount targets are trusted: on EKS neither has to be said.
    fn prepare_aws(&self, driver: Driver) -> Result<()> {
        match driver {
            Driver::Ebs => self.kubectl().apply(
                &json!({
                    "apiVersion": "v1", "kind": "ConfigMap",
                    "metadata": {"name": "aws-meta", "namespace": NAMESPACE},
                    "data": {"endpoint": self.aws.endpoint},
                })
                .to_string(),
            ),
            Driver::Efs => {
                let authority = std::fs::read(self.bed.run_dir().join("efs/ca.pem"))?;
                Ok(self.bed.guest().write("/run/efs/ca.pem", &authority)?)
            }
        }
    }
}

/// Puts `more` over `values`, map by map.
fn merge(values: &mut Value, more: &Value) {
    match (values, more) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from.clone(),
    }
}
