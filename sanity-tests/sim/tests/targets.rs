//! Mount targets: who is let in, and how they misbehave.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "what fails in a helper fails the test"
)]

mod targets {
    mod behaviour;
    pub(crate) mod bench;
    mod entry;
    mod guest;
    mod nfs;
    mod tunnel;
}
