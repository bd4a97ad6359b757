//! What the node's own object in Kubernetes says: the cloud provider has written instance, type and
//! zone into it. This works where pods cannot reach the metadata service.

use std::path::Path;

use csi_core::id::InvalidId;
use csi_core::instance::InstanceFacts;
use csi_core::{InstanceId, Zone, topology};
use k8s_openapi::api::core::v1::Node;
use kube::Api;

use crate::cluster::{self, NoCluster};

const TYPE_LABEL: &str = "node.kubernetes.io/instance-type";
const REGION_LABEL: &str = "topology.kubernetes.io/region";

/// Why the node's object does not help.
#[derive(Debug, thiserror::Error)]
pub enum NodeObjectError {
    /// Which object it is, is not known.
    #[error("CSI_NODE_NAME is not set, so the node's own object is not known")]
    NoName,
    /// There is no way to the API server.
    #[error(transparent)]
    NoCluster(#[from] NoCluster),
    /// The API server did not give the object.
    #[error("node {name} cannot be read")]
    NotRead {
        /// The node.
        name: String,
        /// What the API server said.
        source: Box<kube::Error>,
    },
    /// The object lacks something.
    #[error("node {name} has no {what}; is a cloud controller manager running?")]
    Lacks {
        /// The node.
        name: String,
        /// What.
        what: &'static str,
    },
    /// The object names no EC2 instance.
    #[error("node {name} has providerID {provider_id:?}")]
    NoInstance {
        /// The node.
        name: String,
        /// Its provider id.
        provider_id: String,
        /// What is wrong with it.
        source: InvalidId,
    },
}

/// Reads the object.
///
/// # Errors
/// [`NodeObjectError`].
pub async fn fetch(
    name: Option<&str>,
    kubeconfig: Option<&Path>,
) -> Result<InstanceFacts, NodeObjectError> {
    let name = name.filter(|name| !name.is_empty()).ok_or(NodeObjectError::NoName)?;
    let not_read =
        |source| NodeObjectError::NotRead { name: name.to_owned(), source: Box::new(source) };
    let client = cluster::client(kubeconfig).await?;
    let node = Api::<Node>::all(client).get(name).await.map_err(not_read)?;
    facts(name, node)
}

fn facts(name: &str, node: Node) -> Result<InstanceFacts, NodeObjectError> {
    let lacks = |what| NodeObjectError::Lacks { name: name.to_owned(), what };
    let labels = node.metadata.labels.unwrap_or_default();
    let label = |key: &'static str| labels.get(key).cloned().ok_or_else(|| lacks(key));
    let provider_id =
        node.spec.and_then(|spec| spec.provider_id).ok_or_else(|| lacks("providerID"))?;
    Ok(InstanceFacts {
        instance: instance(name, &provider_id)?,
        instance_type: label(TYPE_LABEL)?,
        zone: Zone(label(topology::ZONE_KEY)?),
        region: label(REGION_LABEL)?,
        network_interfaces: None,
        block_devices: None,
    })
}

/// The last part of `aws:///us-east-1a/i-0123456789abcdef0`.
fn instance(name: &str, provider_id: &str) -> Result<InstanceId, NodeObjectError> {
    let id = provider_id.rsplit('/').next().unwrap_or(provider_id);
    id.parse().map_err(|source| NodeObjectError::NoInstance {
        name: name.to_owned(),
        provider_id: provider_id.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::NodeSpec;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    fn node(provider_id: &str, labels: &[(&str, &str)]) -> Node {
        let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Node {
            metadata: ObjectMeta { labels: Some(labels), ..ObjectMeta::default() },
            spec: Some(NodeSpec {
                provider_id: Some(provider_id.to_owned()),
                ..NodeSpec::default()
            }),
            ..Node::default()
        }
    }

    const LABELS: [(&str, &str); 3] =
        [(TYPE_LABEL, "m5.large"), (REGION_LABEL, "us-east-1"), (topology::ZONE_KEY, "us-east-1a")];

    #[test]
    fn instance_type_and_zone_are_read_from_the_object() {
        let facts = facts("n1", node("aws:///us-east-1a/i-0123456789abcdef0", &LABELS)).unwrap();
        assert_eq!(facts.instance.as_str(), "i-0123456789abcdef0");
        assert_eq!((&*facts.instance_type, &*facts.zone.0), ("m5.large", "us-east-1a"));
    }

    #[test]
    fn a_missing_label_and_a_foreign_provider_are_named() {
        let error = facts("n1", node("aws:///z/i-0123456789abcdef0", &LABELS[..1])).unwrap_err();
        assert!(error.to_string().contains(topology::ZONE_KEY), "{error}");
        let error = facts("n1", node("kind://docker/kind/n1", &LABELS)).unwrap_err();
        assert_eq!(error.to_string(), "node n1 has providerID \"kind://docker/kind/n1\"");
    }

    #[tokio::test]
    async fn outside_of_a_cluster_the_missing_account_is_named() {
        let error = fetch(Some("n1"), None).await.unwrap_err();
        assert!(matches!(error, NodeObjectError::NoCluster(NoCluster::NoAccount(_))), "{error}");
    }
}
