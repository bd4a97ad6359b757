//! What every call passes on its way to a handler, from the outside in.

mod admission;
mod class;
mod deadline;
mod metrics;
mod outcome;
mod panic;
mod request_id;
mod span;

use std::convert::Infallible;

use tonic::body::Body;
use tonic::service::Routes;
use tower::ServiceBuilder;
use tower::util::BoxCloneSyncService;

pub use admission::Limits;
pub use deadline::Deadline;
pub(crate) use metrics::RpcMetrics;
pub use request_id::RequestId;

use crate::metrics::Metrics;
use admission::AdmissionLayer;
use deadline::DeadlineLayer;
use metrics::MetricsLayer;
use request_id::RequestIdLayer;
use span::SpanLayer;

/// A plugin's services with the whole stack around them.
pub(crate) type Stack = BoxCloneSyncService<http::Request<Body>, http::Response<Body>, Infallible>;

/// Puts the stack around `routes`. Limits hold for all stacks that share `admission`.
pub(crate) fn around(routes: Routes, metrics: &Metrics, admission: AdmissionLayer) -> Stack {
    let stack = ServiceBuilder::new()
        .map_response(|response: http::Response<_>| response.map(Body::new))
        // A defect in any layer below is still an answer.
        .layer(panic::layer())
        // A short id, in everything that is logged on the call's behalf.
        .layer(RequestIdLayer::new())
        // One span for the call, and one line when it has ended.
        .layer(SpanLayer)
        // Duration by call and code.
        .layer(MetricsLayer::new(metrics.rpc().clone()))
        // A defect in a handler, as an answer that the line and the metrics above still see.
        .layer(panic::layer())
        // The time that the caller grants, minus what the answer needs.
        .layer(DeadlineLayer)
        // So many reads and mutations at once, and no more.
        .layer(admission)
        .service(routes);
    BoxCloneSyncService::new(stack)
}

/// The shared limits of one plugin.
pub(crate) fn admission(limits: Limits) -> AdmissionLayer {
    AdmissionLayer::new(limits)
}
