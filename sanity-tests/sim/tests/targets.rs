//! Mount targets: who is let in, and how they misbehave.
#![expect(clippy::unwrap_used, reason = "what fails in a helper fails the test")]

mod targets {
    mod behaviour;
    pub(crate) mod bench;
    mod entry;
    mod nfs;
}
