//! The Node service for EFS volumes.
//!
//! A volume is mounted by mount(2) from a port of this node's loopback, where efs-tunnel relays it
//! to the mount target under the volume's identity. Nothing is forked, and no call waits for a
//! server longer than its deadline: [`joint`] keeps what hangs, and gives it to the next call.

pub mod context;
pub mod info;
pub mod joint;
pub mod options;
pub mod overrides;
pub mod ports;
pub mod publish;
pub mod queue;
pub mod records;
pub mod request;
pub mod rollback;
pub mod route;
pub mod service;
pub mod spares;
pub mod stats;
pub mod unpublish;

pub use service::{EfsNode, Settings};

#[cfg(test)]
mod tests;
