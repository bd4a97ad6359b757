//! Turns a panic into an answer. The panic hook has logged it by then (see `telemetry`).

use std::any::Any;

use http::Response;
use tonic::Status;
use tonic::body::Body;
use tower_http::catch_panic::CatchPanicLayer;

type Answer = fn(Box<dyn Any + Send + 'static>) -> Response<Body>;

/// INTERNAL for every panic below. What a panic says is for the log, not for the client.
pub(crate) fn layer() -> CatchPanicLayer<Answer> {
    CatchPanicLayer::custom(internal as Answer)
}

fn internal(_payload: Box<dyn Any + Send + 'static>) -> Response<Body> {
    Status::internal("the call broke off by a defect of the driver; see its log").into_http()
}
