//! `efs-tunnel`, the data plane of EFS. Each identity (a file system seen through one access point
//! with one set of TLS options) has a listener on the node's loopback; what the kernel's NFS client
//! sends there is relayed over TLS, under that identity's client certificate, to a mount target.
//!
//! It is a process of its own, so that a crash or an upgrade of the node plugin cuts no mount. It
//! never touches a mount, and no resource of it grows with traffic.

pub mod certificate;
pub mod control;
pub mod credentials;
pub mod identity;

pub use identity::Identity;
