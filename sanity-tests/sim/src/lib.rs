//! A simulated AWS that is as hard as AWS: one [`World`], a pure state machine in which time is
//! an argument, seen through the ports (fast, in paused time) and through HTTP (by the real SDK).
//!
//! The world breaks the same promises that AWS breaks: reads lag, one unknown id fails a whole
//! Describe, replies are lost, attachments stick. A driver that looks good here has met them.

pub mod args;
pub mod client;
pub mod devices;
pub mod http;
pub mod port;
pub mod seed;
pub mod server;
pub mod sim;
pub mod targets;
pub mod world;

pub use client::AdminClient;
pub use port::{SimEbs, SimEfs};
pub use seed::Seed;
pub use sim::Sim;
pub use targets::MountTarget;
pub use world::World;
