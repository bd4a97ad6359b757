//! The instance's facts from its metadata service, by IMDSv2 alone: a token first, then questions.
//!
//! The SDK has a client too, but it cannot say which link of the chain is broken, and the node
//! plugin has no other use for the SDK. Source of paths and rules: EC2 user guide, "Use the
//! Instance Metadata Service to access instance metadata" and "Instance metadata categories".

mod client;
mod endpoint;
mod error;
mod facts;

pub use client::Imds;
pub use endpoint::{ImdsEndpoint, InvalidImdsEndpoint};
pub use error::ImdsError;
pub use facts::fetch;
