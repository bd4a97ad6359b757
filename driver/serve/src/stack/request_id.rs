//! Gives each call a short id.
//!
//! The id stands in every log line of the call. The caller sees it only if the fault is the
//! driver's own, as the thing to look for in the log: a text that differs from try to try would
//! keep Kubernetes from counting equal events of a claim as one.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use http::{Request, Response};
use tonic::{Code, Status};
use tower::{Layer, Service};

/// The id of a call, `3f9a-1c`: the process, by chance, and the call's number in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId {
    process: u16,
    number: u64,
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}-{:x}", self.process, self.number)
    }
}

/// Inserts a [`RequestId`] into the request's extensions.
#[derive(Debug, Clone)]
pub(crate) struct RequestIdLayer {
    process: u16,
    calls: Arc<AtomicU64>,
}

impl RequestIdLayer {
    pub(crate) fn new() -> Self {
        // RandomState is the standard library's only source of chance; uniqueness is not vital.
        let [high, low, ..] = RandomState::new().hash_one(()).to_be_bytes();
        Self { process: u16::from_be_bytes([high, low]), calls: Arc::default() }
    }
}

impl<S> Layer<S> for RequestIdLayer {
    type Service = WithRequestId<S>;

    fn layer(&self, inner: S) -> WithRequestId<S> {
        WithRequestId { inner, ids: self.clone() }
    }
}

/// The service of [`RequestIdLayer`].
#[derive(Debug, Clone)]
pub(crate) struct WithRequestId<S> {
    inner: S,
    ids: RequestIdLayer,
}

impl<S, A, B> Service<Request<A>> for WithRequestId<S>
where
    S: Service<Request<A>, Response = Response<B>>,
    S::Future: Send + 'static,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<B>, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<A>) -> Self::Future {
        let number = self.ids.calls.fetch_add(1, Ordering::Relaxed);
        let id = RequestId { process: self.ids.process, number };
        request.extensions_mut().insert(id);
        let call = self.inner.call(request);
        Box::pin(async move {
            let mut response = call.await?;
            name_in_fault(&mut response, id);
            Ok(response)
        })
    }
}

fn name_in_fault<B>(response: &mut Response<B>, id: RequestId) {
    let Some(status) = response.extensions().get::<Status>() else { return };
    if !matches!(status.code(), Code::Internal | Code::Unknown | Code::DataLoss) {
        return;
    }
    let named = Status::new(status.code(), format!("{} (request {id})", status.message()));
    // Fails only for metadata that is no header, and there is none.
    if named.add_header(response.headers_mut()).is_ok() {
        response.extensions_mut().insert(named);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;
    use tower::{ServiceExt, service_fn};

    async fn answer(status: Status) -> (Status, RequestId) {
        let handler = service_fn(move |request: Request<()>| {
            let mut response = status.clone().into_http::<()>();
            response.extensions_mut().insert(*request.extensions().get::<RequestId>().unwrap());
            async { Ok::<_, Infallible>(response) }
        });
        let service = RequestIdLayer::new().layer(handler);
        let response = service.oneshot(Request::new(())).await.unwrap();
        let status = Status::from_header_map(response.headers()).unwrap();
        (status, *response.extensions().get().unwrap())
    }

    #[tokio::test]
    async fn a_fault_of_the_driver_names_the_request_to_look_for() {
        let (status, id) = answer(Status::internal("it broke")).await;
        assert_eq!(status.code(), Code::Internal);
        assert_eq!(status.message(), format!("it broke (request {id})"));
    }

    #[tokio::test]
    async fn a_fault_of_the_caller_keeps_one_text_for_all_tries() {
        let (status, _) = answer(Status::invalid_argument("iops: must be a number")).await;
        assert_eq!(status.message(), "iops: must be a number");
    }

    #[tokio::test]
    async fn ids_of_a_process_differ_and_share_its_prefix() {
        let layer = RequestIdLayer::new();
        let service = layer.layer(service_fn(|request: Request<()>| async move {
            Ok::<_, Infallible>(Response::new(*request.extensions().get::<RequestId>().unwrap()))
        }));
        let first = service.clone().oneshot(Request::new(())).await.unwrap().into_body();
        let second = service.oneshot(Request::new(())).await.unwrap().into_body();
        assert_ne!(first, second);
        assert_eq!(first.process, second.process);
    }
}
