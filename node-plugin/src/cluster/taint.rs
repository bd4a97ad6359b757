//! Takes the start-up taint off the node.
//!
//! *Why.* An administrator lets nodes come up with `ebs.csi.aws.com/agent-not-ready`, so that no pod
//! with a volume is placed there before this plugin serves it. It serves when the node's `CSINode`
//! has an entry of the driver with a number of volumes, by which the scheduler counts.
//!
//! *How.* The own Node is watched for the life of the process, for the taint may be put on late.
//! The list of taints is shared with others who change it at the same time, and JSON has no name
//! for one of its entries, so it is replaced on condition that it is still the list that was read
//! (RFC 6902, `test`); if it is not, it is read again.

use std::pin::pin;
use std::time::Duration;

use csi_core::Chain;
use futures_util::TryStreamExt;
use http::{Request, header};
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::storage::v1::CSINode;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use super::status;

/// Key of the taint that the EBS driver takes away, whatever its value and effect.
pub const EBS_TAINT: &str = "ebs.csi.aws.com/agent-not-ready";
/// Key of the taint that the EFS driver takes away, whatever its value and effect.
pub const EFS_TAINT: &str = "efs.csi.aws.com/agent-not-ready";

/// Shortest and longest pause before something is asked again. kubelet writes the `CSINode` within
/// seconds after the plugin's registration.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// The API server ends a watch after the 290 s that the client asks for; a watch that lasts longer
/// has lost its connection.
const WATCH_LIMIT: Duration = Duration::from_mins(5);

/// What is taken away, and when.
#[derive(Debug, Clone)]
pub struct StartupTaint {
    /// The node's name.
    pub node: String,
    /// The driver whose entry in the `CSINode` is waited for.
    pub driver: &'static str,
    /// Key of the taint.
    pub key: &'static str,
    /// Whether the entry must have a number of volumes; a driver without limit gives none.
    pub limited: bool,
}

/// Why the taint is not taken away now.
#[derive(Debug, thiserror::Error)]
enum TaintError {
    #[error("cannot {what} {name}")]
    Call { what: &'static str, name: String, source: Box<kube::Error> },
    #[error("cannot make the request")]
    Request(#[from] http::Error),
    #[error("the list of taints changed while it was read")]
    Changed,
}

impl TaintError {
    fn is_denied(&self) -> bool {
        matches!(self, Self::Call { source, .. } if status(source) == Some(403))
    }
}

fn call(what: &'static str, name: &str) -> impl Fn(kube::Error) -> TaintError {
    move |source| TaintError::Call { what, name: name.to_owned(), source: Box::new(source) }
}

/// Pauses that grow by half each time.
struct Pause(Duration);

impl Pause {
    fn new() -> Self {
        Self(FIRST_PAUSE)
    }

    async fn wait(&mut self) {
        sleep(self.0).await;
        self.0 = (self.0 * 3 / 2).min(LONGEST_PAUSE);
    }
}

impl StartupTaint {
    /// Takes the taint away whenever it is there, for ever, or until the API server says that this
    /// plugin may not: an administrator who gives no such right has no such taint.
    pub async fn keep_away(&self, client: Client) {
        let mut pause = Pause::new();
        loop {
            match self.watch(&client).await {
                Ok(()) => {
                    // A server that ends each watch at once is not asked in a tight loop.
                    pause = Pause::new();
                    pause.wait().await;
                }
                Err(error) if error.is_denied() => {
                    info!(taint = self.key, reason = %Chain(&error), "start-up taints are not watched");
                    return;
                }
                Err(error) => {
                    warn!(taint = self.key, error = %Chain(&error), "start-up taint not watched");
                    pause.wait().await;
                }
            }
        }
    }

    /// Looks at the node, and then at each of its changes until the watch ends.
    async fn watch(&self, client: &Client) -> Result<(), TaintError> {
        let nodes: Api<Node> = Api::all(client.clone());
        let own = format!("metadata.name={}", self.node);
        let failed = call("watch node", &self.node);
        let list = nodes.list(&ListParams::default().fields(&own)).await.map_err(&failed)?;
        if list.items.iter().any(|node| self.is_on(node)) {
            self.take_away(client).await?;
        }
        let from = list.metadata.resource_version.unwrap_or_default();
        let parameters = WatchParams::default().fields(&own);
        let mut changes = pin!(nodes.watch(&parameters, &from).await.map_err(&failed)?);
        while let Ok(change) = timeout(WATCH_LIMIT, changes.try_next()).await {
            match change.map_err(&failed)? {
                Some(WatchEvent::Added(node) | WatchEvent::Modified(node)) if self.is_on(&node) => {
                    self.take_away(client).await?;
                }
                Some(WatchEvent::Error(status)) => {
                    // The version is too old: the next look begins with a new one.
                    return if status.code == 410 {
                        Ok(())
                    } else {
                        Err(failed(kube::Error::Api(status)))
                    };
                }
                Some(_) => {}
                None => break,
            }
        }
        Ok(())
    }

    fn is_on(&self, node: &Node) -> bool {
        let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_deref());
        taints.unwrap_or_default().iter().any(|taint| taint.key == self.key)
    }

    /// Waits until the driver is registered, then takes the taint away.
    async fn take_away(&self, client: &Client) -> Result<(), TaintError> {
        let mut pause = Pause::new();
        while !self.is_registered(client).await? {
            debug!(node = self.node, "the driver is not registered yet; the start-up taint stays");
            pause.wait().await;
        }
        let mut pause = Pause::new();
        loop {
            match self.replace(client).await {
                Err(TaintError::Changed) => pause.wait().await,
                result => return result,
            }
        }
    }

    async fn is_registered(&self, client: &Client) -> Result<bool, TaintError> {
        let found = Api::<CSINode>::all(client.clone()).get_opt(&self.node).await;
        let found = found.map_err(call("read CSINode", &self.node))?;
        Ok(found.is_some_and(|node| {
            let own = node.spec.drivers.into_iter().find(|driver| driver.name == self.driver);
            own.is_some_and(|driver| {
                let count = driver.allocatable.and_then(|limits| limits.count);
                count.is_some() || !self.limited
            })
        }))
    }

    /// Reads the list of taints as it is and replaces it by one without ours, unless somebody else
    /// has changed it meanwhile.
    async fn replace(&self, client: &Client) -> Result<(), TaintError> {
        // Not as the types that we know: a field that they lack would make the test fail for ever.
        let object = format!("/api/v1/nodes/{}", self.node);
        let read = Request::get(&object).body(Vec::new())?;
        let failed = call("read node", &self.node);
        let node = client.request::<Value>(read).await.map_err(failed)?;
        let Some(taints) = node.pointer("/spec/taints").and_then(Value::as_array) else {
            return Ok(());
        };
        let ours = |taint: &&Value| taint["key"] == self.key;
        let rest: Vec<&Value> = taints.iter().filter(|taint| !ours(taint)).collect();
        if rest.len() == taints.len() {
            return Ok(());
        }
        let patch = json!([
            { "op": "test", "path": "/spec/taints", "value": taints },
            { "op": "replace", "path": "/spec/taints", "value": rest },
        ]);
        let write = Request::patch(&object)
            .header(header::CONTENT_TYPE, "application/json-patch+json")
            .body(patch.to_string().into_bytes())?;
        match client.request::<Value>(write).await {
            Ok(_node) => {
                info!(node = self.node, taint = self.key, "start-up taint removed");
                Ok(())
            }
            // How the API server says that a test failed, and that it saw two writers at once.
            Err(error) if matches!(status(&error), Some(422 | 409)) => Err(TaintError::Changed),
            Err(error) => Err(call("remove the start-up taint of node", &self.node)(error)),
        }
    }
}
