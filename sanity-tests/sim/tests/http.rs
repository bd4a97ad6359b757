//! The world through HTTP: signed calls, lost answers, metadata, the admin interface.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "what fails in a helper fails the test"
)]

mod http {
    pub(crate) mod bench;
    mod binary;
    mod ec2;
    mod efs;
    mod guest;
    mod imds;
    mod loop_device;
    mod sts;
}
