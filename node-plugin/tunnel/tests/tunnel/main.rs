//! The program as it runs: supervisor, worker, control socket and listeners, against mount targets
//! that ask for the client certificate and misbehave on demand.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on ends; helpers outside of test functions are not recognised"
)]

mod adopt;
mod control;
mod crash;
mod credentials;
mod loss;
mod memory;
mod stand;
mod target;
mod trust;
