//! How every call is made, timed, counted and logged, whatever the service.

use std::error::Error;

use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_ec2::operation::RequestId;
use csi_core::{ApiError, ErrorKind};
use prometheus_client::registry::Registry;
use tokio::time::Instant;

use crate::action::{Action, Service};
use crate::classify::classify;
use crate::metrics::Metrics;
use crate::pace::{Pacers, Rate};

/// The queues and the metrics of one service's actions.
#[derive(Debug)]
pub(crate) struct Caller {
    pacers: Pacers,
    metrics: Metrics,
}

impl Caller {
    pub(crate) fn new(service: Service, rates: &[Rate], registry: &mut Registry) -> Self {
        Self { pacers: Pacers::new(rates), metrics: Metrics::register(registry, service) }
    }

    /// Makes a call when its turn has come, again while the service refuses it for its rate.
    pub(crate) async fn call<T, E, F>(
        &self,
        action: Action,
        send: impl Fn() -> F + Send + Sync,
    ) -> Result<T, ApiError>
    where
        T: RequestId + Send,
        E: Error + ProvideErrorMetadata + Send + Sync + 'static,
        F: Future<Output = Result<T, SdkError<E>>> + Send,
    {
        // The SDK's futures are several KiB, and pacing waits around them.
        self.pacers.of(action).run(|| Box::pin(self.once(action, send()))).await
    }

    async fn once<T, E>(
        &self,
        action: Action,
        call: impl Future<Output = Result<T, SdkError<E>>> + Send,
    ) -> Result<T, ApiError>
    where
        T: RequestId + Send,
        E: Error + ProvideErrorMetadata + Send + Sync + 'static,
    {
        let started = Instant::now();
        let answer = call.await;
        let latency = started.elapsed();
        let latency_ms = u64::try_from(latency.as_millis()).unwrap_or(u64::MAX);
        let name = action.name();
        match answer {
            Ok(answer) => {
                self.metrics.succeeded(action, latency);
                let request_id = answer.request_id();
                tracing::debug!(action = name, latency_ms, request_id, outcome = "ok", "AWS call");
                Ok(answer)
            }
            Err(error) => {
                let error = classify(action, &error);
                let throttled = error.kind == ErrorKind::Throttled;
                self.metrics.failed(action, &error.code, throttled);
                let request_id = error.request_id.as_deref();
                let outcome = error.code.as_str();
                let message = error.message.as_str();
                tracing::debug!(
                    action = name,
                    latency_ms,
                    request_id,
                    outcome,
                    message,
                    "AWS call"
                );
                Err(error)
            }
        }
    }
}
