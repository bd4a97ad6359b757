//! Serving a CSI plugin: the private socket, the tower stack every call passes, Identity, logs,
//! metrics, health and an orderly end. What the calls do is the business of the plugins.
//!
//! A plugin reads [`ServeArgs`], calls [`telemetry::init`], makes its [`Metrics`], puts its services
//! into tonic's `Routes` and gives them to a [`Server`], all inside [`runtime::run`]. Its handlers
//! read the call's [`Deadline`] and say in [`subject`] what the call is about.

pub mod args;
pub mod endpoint;
pub mod health;
mod http;
pub mod identity;
pub mod metrics;
pub mod runtime;
pub mod server;
pub mod shutdown;
mod socket;
pub mod stack;
pub mod subject;
pub mod telemetry;

pub use args::{ServeArgs, parse_duration};
pub use endpoint::Endpoint;
pub use http::HttpAddress;
pub use identity::{Identity, Readiness};
pub use metrics::Metrics;
pub use server::{ServeError, Server};
pub use socket::BindError;
pub use stack::{Deadline, Limits, RequestId};
