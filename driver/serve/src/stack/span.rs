//! One span around each call, and exactly one line when it has ended.

use std::task::{Context, Poll};

use csi_proto::Rpc;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use tokio::time::Instant;
use tonic::Code;
use tower::{Layer, Service};
use tracing::field::Empty;
use tracing::{Instrument, Level, Span, debug, error, error_span, info, warn};

use super::class::Class;
use super::outcome::{Outcome, code_name, watch};
use super::request_id::RequestId;

/// Opens the span and writes the line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SpanLayer;

impl<S> Layer<S> for SpanLayer {
    type Service = InSpan<S>;

    fn layer(&self, inner: S) -> InSpan<S> {
        InSpan { inner }
    }
}

/// The service of [`SpanLayer`].
#[derive(Debug, Clone)]
pub(crate) struct InSpan<S> {
    inner: S,
}

impl<S, A, B> Service<Request<A>> for InSpan<S>
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
        let span = open(rpc, request.extensions().get());
        let started = Instant::now();
        let call = span.in_scope(|| self.inner.call(request)).instrument(span.clone());
        let ended = move |outcome: Outcome<'_>| {
            // A future that is dropped is not inside its span.
            span.in_scope(|| write_line(rpc, outcome, started.elapsed().as_secs_f64()));
        };
        Box::pin(watch(call, ended))
    }
}

/// Of the highest level, so that no log level hides whose line another line is. The empty fields
/// are what `subject` fills.
fn open(rpc: Option<Rpc>, id: Option<&RequestId>) -> Span {
    let rpc = rpc.map_or("unknown", Rpc::name);
    let span = error_span!(
        "rpc",
        rpc,
        request = Empty,
        volume = Empty,
        csi_name = Empty,
        node = Empty,
        snapshot = Empty,
        path = Empty,
    );
    if let Some(id) = id {
        span.record("request", id.to_string().as_str());
    }
    span
}

fn write_line(rpc: Option<Rpc>, outcome: Outcome<'_>, seconds: f64) {
    let code = code_name(outcome.code());
    let error = match outcome {
        Outcome::Ok => None,
        Outcome::Failed(status) => Some(status.message()),
        Outcome::Broken => Some("a layer of the server failed"),
        Outcome::Abandoned => Some("the caller did not wait for the answer"),
    };
    let level = level(rpc.map_or(Class::Question, Class::of), rpc, outcome.code());
    // The level of an event must be a constant.
    if level == Level::ERROR {
        error!(code, seconds, error, "call ended");
    } else if level == Level::WARN {
        warn!(code, seconds, error, "call ended");
    } else if level == Level::INFO {
        info!(code, seconds, error, "call ended");
    } else {
        debug!(code, seconds, error, "call ended");
    }
}

fn level(class: Class, rpc: Option<Rpc>, code: Code) -> Level {
    match code {
        // Asked again and again: by kubelet for each volume, by sidecars for each start.
        Code::Ok if class == Class::Question || rpc == Some(Rpc::NodeGetVolumeStats) => {
            Level::DEBUG
        }
        // The caller's affair, or the normal course of a CO that retries.
        Code::Ok
        | Code::Cancelled
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unimplemented => Level::INFO,
        // The surroundings: AWS, its quotas and permissions, load.
        Code::DeadlineExceeded
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::Unavailable
        | Code::Unauthenticated => Level::WARN,
        // Ours.
        Code::Unknown | Code::Internal | Code::DataLoss => Level::ERROR,
    }
}
