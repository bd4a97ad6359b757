//! The node plugin: finds, formats, mounts, grows and measures volumes.
//!
//! Every mutation goes the same way: [`request`](ebs::request) parses it, the [`kernel`] is
//! observed, a pure function of [`plan`] turns wish and observation into steps, and the kernel
//! takes the steps one by one. Cut anywhere, the next call observes again and goes on.

pub mod format;
pub mod identity;
pub mod kernel;
pub mod mount_options;
pub mod plan;
pub mod probe;
