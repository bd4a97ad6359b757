//! The ports to EBS and EFS over the AWS SDK: the only crate that sees the SDK.
//!
//! One method is one API call with exactly the port's fields; the SDK repeats nothing. Above the
//! SDK there are only credentials whose broken link is named, pacing by the account's quotas,
//! errors with a meaning, and metrics.

mod action;
mod caller;
mod classify;
mod connect;
mod credentials;
mod ec2;
mod efs;
mod metrics;
mod pace;
mod parse;

pub use connect::{Config, ConnectError};
pub use credentials::{CredentialsError, Link};
pub use ec2::Ec2;
pub use efs::Efs;
pub use pace::{InvalidRate, Rate};
