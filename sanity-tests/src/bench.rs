//! `make bench`: the real release binaries under the load of Kubernetes' sidecars, beside a peer
//! and beside the limit that AWS sets.

mod aws;
mod burst;
mod contestant;
mod efs;
mod limit;
mod load;
mod process;
mod rest;
mod stage;
mod table;
mod tls;

pub use aws::{LATENCY_MS, Times};
pub use burst::{Burst, class};
pub use contestant::Contestant;
pub use efs::EfsBurst;
pub use rest::{controller as controller_at_rest, node as node_at_rest};
pub use stage::{obstacle as stage_obstacle, stage};
pub use table::{Figure, Group, head};
