//! Measures each call: how long, which call, which code.

use std::task::{Context, Poll};

use csi_proto::Rpc;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use tokio::time::Instant;
use tower::{Layer, Service};

use super::outcome::{Outcome, code_name, watch};

/// From an answer out of memory to an attachment that takes its time.
const BUCKETS: [f64; 15] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0];

/// Labels of a call. Both values come from fixed lists, so a client cannot make series.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Labels {
    rpc: &'static str,
    code: &'static str,
}

/// Duration of calls in seconds, by call and code.
#[derive(Debug, Clone)]
pub(crate) struct RpcMetrics {
    durations: Family<Labels, Histogram, fn() -> Histogram>,
}

impl RpcMetrics {
    pub(crate) fn new() -> Self {
        Self { durations: Family::new_with_constructor(|| Histogram::new(BUCKETS)) }
    }

    /// The metric itself, to be registered.
    pub(crate) fn durations(&self) -> Family<Labels, Histogram, fn() -> Histogram> {
        self.durations.clone()
    }

    fn observe(&self, rpc: Option<Rpc>, outcome: Outcome<'_>, seconds: f64) {
        let rpc = rpc.map_or("unknown", Rpc::name);
        let labels = Labels { rpc, code: code_name(outcome.code()) };
        self.durations.get_or_create(&labels).observe(seconds);
    }
}

/// Measures into [`RpcMetrics`].
#[derive(Debug, Clone)]
pub(crate) struct MetricsLayer {
    metrics: RpcMetrics,
}

impl MetricsLayer {
    pub(crate) fn new(metrics: RpcMetrics) -> Self {
        Self { metrics }
    }
}

impl<S> Layer<S> for MetricsLayer {
    type Service = Measured<S>;

    fn layer(&self, inner: S) -> Measured<S> {
        Measured { inner, metrics: self.metrics.clone() }
    }
}

/// The service of [`MetricsLayer`].
#[derive(Debug, Clone)]
pub(crate) struct Measured<S> {
    inner: S,
    metrics: RpcMetrics,
}

impl<S, A, B> Service<Request<A>> for Measured<S>
where
    S: Service<Request<A>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    B: Send + 'static,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<B>, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let rpc = Rpc::from_path(request.uri().path());
        let metrics = self.metrics.clone();
        let started = Instant::now();
        let ended = move |outcome: Outcome<'_>| {
            metrics.observe(rpc, outcome, started.elapsed().as_secs_f64());
        };
        Box::pin(watch(self.inner.call(request), ended))
    }
}
