//! The controller against the simulated world, in paused time: what it answers, what EC2 was
//! asked, and what the world holds afterwards.

#![expect(clippy::unwrap_used, reason = "a failed step of a test is a panic")]
#![expect(clippy::panic, reason = "so is one that never ends")]
#![expect(clippy::print_stdout, reason = "figures that the budgets bound")]

mod budget;
mod create;
mod faults;
mod harness;
mod initialize;
mod iops;
mod listing;
mod local;
mod modify;
mod pace;
mod protection;
mod publish;
mod races;
mod snapshot;
