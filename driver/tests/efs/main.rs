//! The EFS controller against the simulated world, in paused time: what it answers, what EFS was
//! asked, and what the world holds afterwards.

#![expect(clippy::unwrap_used, reason = "a failed step of a test is a panic")]

mod accounts;
mod create;
mod directories;
mod faults;
mod gids;
mod harness;
mod objects;
mod races;
