//! The controller plugin: makes, attaches, modifies and snapshots volumes.
//!
//! It knows EC2 only as the port [`csi_core::ebs::Ebs`], so that everything here is tested
//! against the simulated world in paused time.

pub mod args;
mod call;
pub mod ebs;
pub mod efs;
mod message;
