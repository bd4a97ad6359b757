//! `efs-tunnel`, the data plane of EFS. Each identity (a file system seen through one access point
//! with one set of TLS options) has a listener on the node's loopback; what the kernel's NFS client
//! sends there is relayed over TLS, under that identity's client certificate, to a mount target.
//!
//! It is a process of its own, so that a crash or an upgrade of the node plugin cuts no mount. It
//! never touches a mount, and no resource of it grows with traffic.

pub mod args;
pub mod certificate;
pub mod control;
pub mod credentials;
mod descriptor;
pub mod identity;
mod kernel;
pub mod key;
mod memory;
mod passport;
mod private_file;
mod relay;
mod state;
pub mod supervisor;
pub mod telemetry;
mod tls;
pub mod upstream;
pub mod worker;

pub use identity::Identity;

/// An error with its causes, `a: b: c`.
#[must_use]
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        // Libraries like to print their cause themselves.
        if !text.ends_with(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = error.source();
    }
    text
}
