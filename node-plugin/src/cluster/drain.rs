//! The pre-stop hook: on a node that is being drained, the plugin must outlive the volumes.
//!
//! *Why.* A drain ends the pods with volumes and this plugin's pod together. If the plugin ends
//! first, nobody unmounts, Kubernetes waits six minutes before it detaches by force, and the pods
//! stand still elsewhere as long.
//!
//! *Flow.* Look at the node; if it goes away, wait until no `VolumeAttachment` of the driver names
//! it. All attachments are listed once, in pages; after that only changes are read. *Limits.* The
//! caller's budget; without one, kubelet ends the hook with the grace period of the pod.

use std::collections::BTreeSet;
use std::pin::pin;
use std::time::Duration;

use csi_core::Chain;
use futures_util::TryStreamExt;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::storage::v1::VolumeAttachment;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::{Api, Client, ResourceExt};
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::status;

/// Taints that say that the node's pods are being sent away: `kubectl drain`, the cluster
/// autoscaler, Karpenter before and after its version 1.
const DRAIN_TAINTS: [&str; 4] = [
    "node.kubernetes.io/unschedulable",
    "ToBeDeletedByClusterAutoscaler",
    "karpenter.sh/disruption",
    "karpenter.sh/disrupted",
];

/// Attachments in one page of the list.
const PAGE: u32 = 500;
/// Pause before the API server is asked again.
const RETRY: Duration = Duration::from_secs(1);
/// Longest that a watch may be silent; it is then begun anew.
const WATCH_LIMIT: Duration = Duration::from_mins(5);

/// Whose attachments are waited for.
#[derive(Debug, Clone)]
pub struct Drain {
    /// The node's name.
    pub node: String,
    /// The driver, as `spec.attacher` of the attachments names it.
    pub driver: String,
}

/// How the wait ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Drained {
    /// The node stays, so there is nothing to wait for.
    NodeStays,
    /// No volume is attached any more.
    Clear,
}

/// Why it was not waited until the volumes are detached.
#[derive(Debug, thiserror::Error)]
pub enum Undrained {
    /// The budget is over and volumes are attached still.
    #[error(
        "node {node} is drained but {left} after {} s; \
         a longer terminationGracePeriodSeconds of this pod gives its volumes more time",
        budget.as_secs()
    )]
    OutOfTime {
        /// The node.
        node: String,
        /// What was seen last.
        left: String,
        /// How long it was waited.
        budget: Duration,
    },
    /// The plugin may not read nodes or attachments. Asking again would only delay the end.
    #[error("cannot see whether node {node} is drained; its ClusterRole lacks a right")]
    Denied {
        /// The node.
        node: String,
        /// What the API server said.
        source: Box<kube::Error>,
    },
}

/// The attachments of the driver to the node, by name, with their volumes.
#[derive(Debug, Default)]
struct Attached(BTreeSet<(String, String)>);

impl Attached {
    /// Takes a change over; whether it changed anything.
    fn note(&mut self, attachment: &VolumeAttachment, is_there: bool) -> bool {
        let source = &attachment.spec.source;
        let volume = source.persistent_volume_name.clone();
        let entry = (attachment.name_any(), volume.unwrap_or_else(|| "an inline one".to_owned()));
        if is_there { self.0.insert(entry) } else { self.0.remove(&entry) }
    }

    fn describe(&self) -> String {
        let volumes: Vec<&str> = self.0.iter().map(|(_, volume)| volume.as_str()).collect();
        let (are, volumes) = (if volumes.len() == 1 { "is" } else { "are" }, volumes.join(", "));
        format!("{} of its volumes {are} attached ({volumes})", self.0.len())
    }
}

impl Drain {
    /// Waits until the node's volumes are detached, if the node is being drained or gone. An API
    /// server that fails is asked again. Without a budget, waits for ever.
    ///
    /// # Errors
    /// [`Undrained`].
    pub async fn wait(
        &self,
        client: Client,
        budget: Option<Duration>,
    ) -> Result<Drained, Undrained> {
        let mut left = "it is not known which of its volumes are attached".to_owned();
        let waiting = self.until_clear(client, &mut left);
        let Some(budget) = budget else { return waiting.await };
        match timeout(budget, waiting).await {
            Ok(result) => result,
            Err(_elapsed) => Err(Undrained::OutOfTime { node: self.node.clone(), left, budget }),
        }
    }

    async fn until_clear(&self, client: Client, left: &mut String) -> Result<Drained, Undrained> {
        loop {
            match self.look(&client, left).await {
                Ok(Some(drained)) => return Ok(drained),
                Ok(None) => {}
                Err(error) if status(&error) == Some(403) => {
                    let (node, source) = (self.node.clone(), Box::new(error));
                    return Err(Undrained::Denied { node, source });
                }
                Err(error) => {
                    warn!(node = self.node, error = %Chain(&error), "cannot see the node's volumes");
                }
            }
            sleep(RETRY).await;
        }
    }

    async fn look(
        &self,
        client: &Client,
        left: &mut String,
    ) -> Result<Option<Drained>, kube::Error> {
        if !self.goes_away(client).await? {
            return Ok(Some(Drained::NodeStays));
        }
        let clear = self.watch(client, left).await?;
        Ok(clear.then_some(Drained::Clear))
    }

    /// Whether the node is being drained or deleted, or gone already.
    async fn goes_away(&self, client: &Client) -> Result<bool, kube::Error> {
        let Some(node) = Api::<Node>::all(client.clone()).get_opt(&self.node).await? else {
            return Ok(true);
        };
        let taints = node.spec.and_then(|spec| spec.taints).unwrap_or_default();
        let drained = taints.iter().any(|taint| DRAIN_TAINTS.contains(&taint.key.as_str()));
        Ok(drained || node.metadata.deletion_timestamp.is_some())
    }

    /// Lists the attachments, then follows their changes; `true` when none is left, `false` when
    /// the watch ended before.
    async fn watch(&self, client: &Client, left: &mut String) -> Result<bool, kube::Error> {
        let api: Api<VolumeAttachment> = Api::all(client.clone());
        let (mut attached, from) = self.list(&api).await?;
        if self.is_clear(&attached, left) {
            return Ok(true);
        }
        let parameters = WatchParams::default();
        let mut changes = pin!(api.watch(&parameters, &from).await?);
        while let Ok(change) = timeout(WATCH_LIMIT, changes.try_next()).await {
            let (attachment, is_there) = match change? {
                Some(WatchEvent::Added(found) | WatchEvent::Modified(found)) => (found, true),
                Some(WatchEvent::Deleted(found)) => (found, false),
                Some(WatchEvent::Bookmark(_)) => continue,
                // The version is too old: the next look begins with a new one.
                Some(WatchEvent::Error(status)) if status.code == 410 => break,
                Some(WatchEvent::Error(status)) => return Err(kube::Error::Api(status)),
                None => break,
            };
            let is_news = self.is_ours(&attachment) && attached.note(&attachment, is_there);
            if is_news && self.is_clear(&attached, left) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The driver's attachments to the node, and the version of the list. No field selector names
    /// a node or a driver, so all are read, in pages, of which one is in memory at a time.
    async fn list(&self, api: &Api<VolumeAttachment>) -> Result<(Attached, String), kube::Error> {
        let mut attached = Attached::default();
        let mut parameters = ListParams::default().limit(PAGE);
        loop {
            let page = api.list(&parameters).await?;
            for attachment in page.items.iter().filter(|found| self.is_ours(found)) {
                attached.note(attachment, true);
            }
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => parameters = parameters.continue_token(&token),
                None => return Ok((attached, page.metadata.resource_version.unwrap_or_default())),
            }
        }
    }

    fn is_ours(&self, attachment: &VolumeAttachment) -> bool {
        attachment.spec.attacher == self.driver && attachment.spec.node_name == self.node
    }

    fn is_clear(&self, attached: &Attached, left: &mut String) -> bool {
        *left = attached.describe();
        if !attached.0.is_empty() {
            info!(node = self.node, "{left}; waiting");
        }
        attached.0.is_empty()
    }
}
