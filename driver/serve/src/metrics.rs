//! The plugin's metrics: one registry, no global.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

use crate::stack::RpcMetrics;

/// `Content-Type` of [`Metrics::encode`]'s text.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The registry that all parts of a plugin share, and the metrics of its calls.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
    rpc: RpcMetrics,
}

impl Metrics {
    /// A registry that holds `{prefix}_rpc_duration_seconds`; the prefix is, say, `aws_ebs_csi`.
    #[must_use]
    pub fn new(prefix: &str) -> Self {
        let rpc = RpcMetrics::new();
        let mut registry = Registry::default();
        registry.register(
            format!("{prefix}_rpc_duration_seconds"),
            "Time from the arrival of a call to its answer, by call and gRPC code",
            rpc.durations(),
        );
        Self { registry: Arc::new(Mutex::new(registry)), rpc }
    }

    /// Lets another part register its metrics, under their full names.
    pub fn register<T>(&self, register: impl FnOnce(&mut Registry) -> T) -> T {
        register(&mut self.registry.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// All metrics in the `OpenMetrics` text format.
    ///
    /// # Errors
    /// If a metric cannot print itself.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry.lock().unwrap_or_else(PoisonError::into_inner))?;
        Ok(text)
    }

    pub(crate) fn rpc(&self) -> &RpcMetrics {
        &self.rpc
    }
}
