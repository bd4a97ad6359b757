//! The node plugin: finds, formats, mounts, grows and measures volumes.
//!
//! Every mutation goes the same way: [`ebs::request`] parses it, [`observe`] looks at disks and
//! mounts, a pure function of [`plan`] turns wish and observation into steps, and [`apply`] takes
//! them one by one through the [`kernel`] port. Cut anywhere, the next call observes again and goes
//! on.

pub mod apply;
pub mod args;
mod capability;
pub mod cluster;
pub mod ebs;
pub mod efs;
pub mod features;
pub mod format;
pub mod identity;
pub mod kernel;
pub mod metadata;
pub mod mount_options;
pub mod observe;
mod patience;
pub mod plan;
pub mod probe;
pub mod registration;
