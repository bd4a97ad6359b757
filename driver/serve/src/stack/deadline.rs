//! Ends a call before its caller does.
//!
//! tonic obeys `grpc-timeout` by dropping the handler and answering CANCELLED "Timeout expired",
//! outside of every layer. That tells a CO nothing. So handlers get a [`Deadline`] that lies half a
//! second earlier, by which they stop waiting and say what they were waiting for; and a handler
//! that does not is answered for, still before tonic would, with `DEADLINE_EXCEEDED`.

use std::task::{Context, Poll};
use std::time::Duration;

use csi_proto::Rpc;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Request, Response};
use tokio::time::{Instant, timeout_at};
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

/// Longest time a call may wait, also if its caller sets no limit. kubelet allows two minutes,
/// sidecars less.
const CAP: Duration = Duration::from_mins(5);
/// What a handler leaves of the caller's time for its answer.
const HANDLER_MARGIN: Duration = Duration::from_millis(500);
/// What this layer leaves of it.
const LAYER_MARGIN: Duration = Duration::from_millis(100);

/// When a handler must stop waiting and say how far it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline {
    at: Instant,
}

impl Deadline {
    /// A deadline after `time` from now.
    #[must_use]
    pub fn after(time: Duration) -> Self {
        Self { at: Instant::now() + time }
    }

    /// The deadline of a call. A request that did not come through the stack gets the longest.
    #[must_use]
    pub fn of<T>(request: &tonic::Request<T>) -> Self {
        request.extensions().get().copied().unwrap_or_else(|| Self::after(CAP))
    }

    /// The moment, for `tokio::time::timeout_at`.
    #[must_use]
    pub fn instant(self) -> Instant {
        self.at
    }

    /// The time that is left; zero once it has passed.
    #[must_use]
    pub fn remaining(self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }
}

/// Inserts the [`Deadline`] and answers in a late handler's place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DeadlineLayer;

impl<S> Layer<S> for DeadlineLayer {
    type Service = WithDeadline<S>;

    fn layer(&self, inner: S) -> WithDeadline<S> {
        WithDeadline { inner }
    }
}

/// The service of [`DeadlineLayer`].
#[derive(Debug, Clone)]
pub(crate) struct WithDeadline<S> {
    inner: S,
}

impl<S, A> Service<Request<A>> for WithDeadline<S>
where
    S: Service<Request<A>, Response = Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<Body>, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<A>) -> Self::Future {
        let now = Instant::now();
        let granted = grpc_timeout(request.headers()).map_or(CAP, |granted| granted.min(CAP));
        let at = now + before(granted, HANDLER_MARGIN, 2);
        request.extensions_mut().insert(Deadline { at });
        let rpc = Rpc::from_path(request.uri().path()).map_or("the call", Rpc::name);
        let call = self.inner.call(request);
        Box::pin(async move {
            match timeout_at(now + before(granted, LAYER_MARGIN, 4), call).await {
                Ok(result) => result,
                Err(_elapsed) => Ok(too_late(rpc, granted)),
            }
        })
    }
}

/// `granted` less `margin`, or less `1/part` of itself where it is short.
fn before(granted: Duration, margin: Duration, part: u32) -> Duration {
    granted.saturating_sub(margin.min(granted / part))
}

fn too_late(rpc: &str, granted: Duration) -> Response<Body> {
    Status::deadline_exceeded(format!(
        "{rpc} did not end within the {} s that the caller granted; what was begun goes on, and \
         the next try will find its result",
        granted.as_secs_f64()
    ))
    .into_http()
}

/// `grpc-timeout`: at most eight digits and a unit (gRPC over HTTP/2, "Requests"). What cannot be
/// read counts as absent, as it does to tonic.
fn grpc_timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let value: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_hours(value),
        "M" => Duration::from_mins(value),
        "S" => Duration::from_secs(value),
        "m" => Duration::from_millis(value),
        "u" => Duration::from_micros(value),
        "n" => Duration::from_nanos(value),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;
    use tonic::Code;
    use tower::{ServiceExt, service_fn};

    fn request(timeout: Option<&str>) -> Request<()> {
        let mut request = Request::new(());
        if let Some(timeout) = timeout {
            request.headers_mut().insert("grpc-timeout", timeout.parse().unwrap());
        }
        request
    }

    async fn deadline_seen(timeout: Option<&str>) -> Duration {
        let handler = service_fn(|request: Request<()>| async move {
            let left = request.extensions().get::<Deadline>().unwrap().remaining();
            let mut response = Response::new(Body::default());
            response.extensions_mut().insert(left);
            Ok::<_, Infallible>(response)
        });
        let response = DeadlineLayer.layer(handler).oneshot(request(timeout)).await.unwrap();
        *response.extensions().get().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_handler_gets_the_callers_time_less_half_a_second_and_never_more_than_the_cap() {
        assert_eq!(deadline_seen(Some("15S")).await, Duration::from_millis(14_500));
        assert_eq!(deadline_seen(Some("10000m")).await, Duration::from_millis(9_500));
        assert_eq!(deadline_seen(Some("400m")).await, Duration::from_millis(200));
        let capped = CAP.checked_sub(HANDLER_MARGIN).unwrap();
        for unlimited in [None, Some("99999999H"), Some("1x"), Some("S"), Some("123456789S")] {
            assert_eq!(deadline_seen(unlimited).await, capped, "{unlimited:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_handler_that_waits_too_long_is_answered_for_before_tonic_would_cancel() {
        let handler = service_fn(|_: Request<()>| std::future::pending::<Result<_, Infallible>>());
        let started = Instant::now();
        let response = DeadlineLayer.layer(handler).oneshot(request(Some("10S"))).await.unwrap();
        assert_eq!(started.elapsed().as_millis(), 9_900);
        let status = Status::from_header_map(response.headers()).unwrap();
        assert_eq!(status.code(), Code::DeadlineExceeded);
        assert!(status.message().contains("within the 10 s"), "{status}");
    }
}
