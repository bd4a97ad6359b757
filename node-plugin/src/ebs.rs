//! The Node service for EBS volumes.

pub mod code;
pub mod expand;
pub mod info;
pub mod limits;
pub mod publish;
pub mod request;
pub mod service;
pub mod stage;
pub mod stats;
pub mod unmount;

pub use service::{EbsNode, Settings};

#[cfg(test)]
mod tests;
