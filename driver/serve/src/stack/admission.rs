//! Turns calls away when too many are under way.
//!
//! A CO that has lost patience sends a call again while the first one still runs; without a limit
//! such a herd costs memory without end. UNAVAILABLE makes every sidecar come back later.

use std::sync::Arc;
use std::task::{Context, Poll};

use csi_proto::Rpc;
use futures_util::future::{BoxFuture, ready};
use http::{Request, Response};
use tokio::sync::Semaphore;
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use super::class::Class;

/// How many calls may be under way at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Calls that read from AWS or the kernel.
    pub reads: usize,
    /// Calls that change something.
    pub mutations: usize,
}

impl Default for Limits {
    /// Several times what four sidecars with a hundred workers each can ask for.
    fn default() -> Self {
        Self { reads: 500, mutations: 2_000 }
    }
}

/// Admits calls by [`Limits`]; clones share them.
#[derive(Debug, Clone)]
pub(crate) struct AdmissionLayer {
    reads: Arc<Semaphore>,
    mutations: Arc<Semaphore>,
}

impl AdmissionLayer {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            reads: Arc::new(Semaphore::new(limits.reads)),
            mutations: Arc::new(Semaphore::new(limits.mutations)),
        }
    }
}

impl<S> Layer<S> for AdmissionLayer {
    type Service = Admission<S>;

    fn layer(&self, inner: S) -> Admission<S> {
        Admission { inner, limits: self.clone() }
    }
}

/// The service of [`AdmissionLayer`].
#[derive(Debug, Clone)]
pub(crate) struct Admission<S> {
    inner: S,
    limits: AdmissionLayer,
}

impl<S, A> Service<Request<A>> for Admission<S>
where
    S: Service<Request<A>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<Body>, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let rpc = Rpc::from_path(request.uri().path());
        let limit = match rpc.map_or(Class::Question, Class::of) {
            Class::Question => return Box::pin(self.inner.call(request)),
            Class::Read => &self.limits.reads,
            Class::Mutation => &self.limits.mutations,
        };
        let Ok(permit) = Arc::clone(limit).try_acquire_owned() else {
            return Box::pin(ready(Ok(turned_away(rpc))));
        };
        let call = self.inner.call(request);
        Box::pin(async move {
            let _permit = permit;
            call.await
        })
    }
}

fn turned_away(rpc: Option<Rpc>) -> Response<Body> {
    let rpc = rpc.map_or("the call", Rpc::name);
    Status::unavailable(format!(
        "{rpc} was not begun: too many calls are under way; try again later"
    ))
    .into_http()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;
    use tonic::Code;
    use tower::{ServiceExt, service_fn};

    fn request(rpc: Rpc) -> Request<()> {
        Request::builder().uri(rpc.path()).body(()).unwrap()
    }

    fn code(response: &Response<Body>) -> Code {
        Status::from_header_map(response.headers()).map_or(Code::Ok, |status| status.code())
    }

    #[tokio::test]
    async fn what_exceeds_a_limit_is_turned_away_and_other_classes_are_not() {
        let slow = service_fn(|request: Request<()>| async move {
            if Rpc::from_path(request.uri().path()) == Some(Rpc::ControllerCreateVolume) {
                std::future::pending::<()>().await;
            }
            Ok::<_, Infallible>(Response::new(Body::default()))
        });
        let service = AdmissionLayer::new(Limits { reads: 1, mutations: 1 }).layer(slow);

        let mut first = Box::pin(service.clone().oneshot(request(Rpc::ControllerCreateVolume)));
        assert!(futures_util::poll!(&mut first).is_pending());
        let other = [
            (Rpc::ControllerDeleteVolume, Code::Unavailable),
            (Rpc::ControllerListVolumes, Code::Ok),
            (Rpc::IdentityProbe, Code::Ok),
        ];
        for (rpc, expected) in other {
            let response = service.clone().oneshot(request(rpc)).await.unwrap();
            assert_eq!(code(&response), expected, "{rpc}");
        }

        drop(first);
        let response = service.oneshot(request(Rpc::ControllerDeleteVolume)).await.unwrap();
        assert_eq!(code(&response), Code::Ok, "an abandoned call gives its place back");
    }
}
