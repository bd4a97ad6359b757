//! A client of the admin interface, for tests and the demo.

mod connector;

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use self::connector::{Connector, client};
use crate::http::admin::{KeyChange, Latency, PREFIX};
use crate::http::credentials::Credential;
use crate::http::web_identity::Issuer;
use crate::seed::Seed;
use crate::targets::{TargetReport, TargetScript};
use crate::world::efs::FileSystemSeed;
use crate::world::role::RoleSeed;
use crate::world::{
    Action, CallRecord, Change, Count, Dump, Fault, FaultReport, Settings, Trouble, TroubleReport,
};

/// A client of one simulated AWS's admin interface.
#[derive(Debug, Clone)]
pub struct AdminClient {
    endpoint: String,
    client: Client<Connector, Full<Bytes>>,
}

/// An admin request that failed.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The request could not be made.
    #[error("the admin request {request} is malformed")]
    Malformed {
        /// Method and path.
        request: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No answer came.
    #[error("no answer to the admin request {request}; is aws-sim running?")]
    NoAnswer {
        /// Method and path.
        request: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The request was refused.
    #[error("the admin request {request} was refused with {status}: {reason}")]
    Refused {
        /// Method and path.
        request: String,
        /// The status.
        status: StatusCode,
        /// Why.
        reason: String,
    },
    /// The answer is not what was expected.
    #[error("the answer to the admin request {request} is not understood")]
    NotUnderstood {
        /// Method and path.
        request: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

impl AdminClient {
    /// A client for `aws-sim` at `endpoint`, `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn new(endpoint: &str) -> Self {
        Self { endpoint: endpoint.trim_end_matches('/').to_owned(), client: client(Connector::Tcp) }
    }

    /// A client for `aws-sim --admin-socket`; it need not be in the same network namespace.
    #[must_use]
    pub fn at_socket(socket: &Path) -> Self {
        let connector = Connector::Unix(socket.to_path_buf());
        Self { endpoint: "http://localhost".to_owned(), client: client(connector) }
    }

    /// The whole state, in truth.
    pub async fn state(&self) -> Result<Dump, AdminError> {
        self.get("state").await
    }

    /// Adds zones, instances, keys, settings: the instances' ids in their order.
    pub async fn seed(&self, seed: &Seed) -> Result<Vec<String>, AdminError> {
        let answer: Value = self.send(Method::POST, "seed", Some(seed)).await?;
        let ids = answer.get("instances").cloned().unwrap_or_default();
        serde_json::from_value(ids)
            .map_err(|source| AdminError::NotUnderstood { request: "POST seed".to_owned(), source })
    }

    /// The settings.
    pub async fn settings(&self) -> Result<Settings, AdminError> {
        self.get("settings").await
    }

    /// Replaces all settings.
    pub async fn set_settings(&self, settings: &Settings) -> Result<(), AdminError> {
        self.put("settings", settings).await
    }

    /// Changes single settings, `json!({"read_lag": {"fixed_ms": 500}})`.
    pub async fn change_settings(&self, changes: &Value) -> Result<(), AdminError> {
        self.put("settings", changes).await
    }

    /// Scripts a fault.
    pub async fn add_fault(&self, fault: &Fault) -> Result<(), AdminError> {
        self.put("faults", fault).await
    }

    /// The script, and what became of each fault.
    pub async fn faults(&self) -> Result<Vec<FaultReport>, AdminError> {
        self.get("faults").await
    }

    /// Forgets faults, troubles and unusable keys.
    pub async fn clear_faults(&self) -> Result<(), AdminError> {
        self.delete("faults").await
    }

    /// Lets something misbehave.
    pub async fn add_trouble(&self, trouble: &Trouble) -> Result<(), AdminError> {
        self.put("troubles", trouble).await
    }

    /// What misbehaves, and how often it did.
    pub async fn troubles(&self) -> Result<Vec<TroubleReport>, AdminError> {
        self.get("troubles").await
    }

    /// Makes a KMS key unusable or usable again.
    pub async fn set_key_unusable(&self, key: &str, unusable: bool) -> Result<(), AdminError> {
        self.put("keys", &KeyChange { key: key.to_owned(), unusable }).await
    }

    /// Sets token buckets: burst and refill per second.
    pub async fn set_buckets(
        &self,
        buckets: &BTreeMap<Action, (u32, u32)>,
    ) -> Result<(), AdminError> {
        self.put("buckets", buckets).await
    }

    /// Sets how long a call takes.
    pub async fn set_latency(&self, ms: u64) -> Result<(), AdminError> {
        self.put("latency", &Latency { ms }).await
    }

    /// Adds an access key.
    pub async fn set_credential(&self, credential: &Credential) -> Result<(), AdminError> {
        self.put("credentials", credential).await
    }

    /// Adds an issuer of web identity tokens.
    pub async fn set_issuer(&self, issuer: &Issuer) -> Result<(), AdminError> {
        self.put("issuers", issuer).await
    }

    /// The mount targets that run.
    pub async fn targets(&self) -> Result<Vec<TargetReport>, AdminError> {
        self.get("targets").await
    }

    /// Lets mount targets behave in some way.
    pub async fn script_targets(&self, script: &TargetScript) -> Result<(), AdminError> {
        self.put("targets", script).await
    }

    /// Makes or replaces a role.
    pub async fn set_role(&self, role: &RoleSeed) -> Result<(), AdminError> {
        self.put("roles", role).await
    }

    /// Makes or changes a file system.
    pub async fn set_file_system(&self, seed: &FileSystemSeed) -> Result<(), AdminError> {
        self.put("file-systems", seed).await
    }

    /// Forgets an access key.
    pub async fn remove_credential(&self, access_key: &str) -> Result<(), AdminError> {
        self.delete(&format!("credentials/{access_key}")).await
    }

    /// Reboots an instance as its metadata service sees it: what is attached now is listed.
    pub async fn reboot(&self, instance: &str) -> Result<(), AdminError> {
        self.put(&format!("instances/{instance}/reboot"), &json!({})).await
    }

    /// Calls so far, by action.
    pub async fn counts(&self) -> Result<BTreeMap<Action, Count>, AdminError> {
        self.get("counts").await
    }

    /// Calls so far, oldest first, of one action or all.
    pub async fn history(&self, action: Option<Action>) -> Result<Vec<CallRecord>, AdminError> {
        match action {
            Some(action) => self.get(&format!("history?action={}", action.name())).await,
            None => self.get("history").await,
        }
    }

    /// Creations, attachments and detachments that are done, and how long AWS itself took.
    pub async fn changes(&self) -> Result<Vec<Change>, AdminError> {
        self.get("changes").await
    }

    /// Forgets the calls so far.
    pub async fn reset_history(&self) -> Result<(), AdminError> {
        self.delete("history").await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, AdminError> {
        self.send(Method::GET, path, None::<&()>).await
    }

    async fn put(&self, path: &str, value: &impl Serialize) -> Result<(), AdminError> {
        self.send::<Value>(Method::PUT, path, Some(value)).await.map(|_answer| ())
    }

    async fn delete(&self, path: &str) -> Result<(), AdminError> {
        self.send::<Value>(Method::DELETE, path, None::<&()>).await.map(|_answer| ())
    }

    async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        value: Option<&impl Serialize>,
    ) -> Result<T, AdminError> {
        let request = format!("{method} {path}");
        let malformed = |source| AdminError::Malformed { request: request.clone(), source };
        let body = match value {
            Some(value) => serde_json::to_vec(value).map_err(|error| malformed(error.into()))?,
            None => Vec::new(),
        };
        let call = Request::builder()
            .method(method)
            .uri(format!("{}{PREFIX}{path}", self.endpoint))
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| malformed(error.into()))?;
        let no_answer = |source| AdminError::NoAnswer { request: request.clone(), source };
        let answer = self.client.request(call).await.map_err(|error| no_answer(error.into()))?;
        let status = answer.status();
        let text = answer.into_body().collect().await;
        let text = text.map_err(|error| no_answer(error.into()))?.to_bytes();
        if !status.is_success() {
            let reason = String::from_utf8_lossy(&text).trim().to_owned();
            return Err(AdminError::Refused { request, status, reason });
        }
        serde_json::from_slice(&text)
            .map_err(|source| AdminError::NotUnderstood { request, source })
    }
}
