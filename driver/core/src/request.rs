//! Requests of the Controller service, parsed once. After this the driver sees no message of the
//! wire, and every field holds what its type says.

mod create_volume;
mod listing;
mod local;
mod snapshot;
mod volume;

use std::str::FromStr;

use tonic::Code;

use crate::id::InvalidId;
use crate::rpc_error::{GrpcCode, Invalid};

pub use create_volume::CreateVolume;
pub use listing::{ListSnapshots, ListVolumes, PageRequest, SnapshotFilter};
pub use local::{PublishLocal, ValidateLocal};
pub use snapshot::{CreateSnapshot, SnapshotOnly};
pub use volume::{
    ExpandVolume, ModifyVolume, PublishContext, PublishVolume, UnpublishFrom, UnpublishVolume,
    ValidateCapabilities, VolumeOnly,
};

/// A request that no work is started for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// A field breaks a rule.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// An id that no object can have. It is a well-formed request for something that does not
    /// exist (so conformance tests have it), and AWS is not asked, since there a malformed id is
    /// another error than an unknown one.
    #[error("{0}; so there is no such object")]
    NoSuch(#[from] InvalidId),
}

impl GrpcCode for BadRequest {
    fn code(&self) -> Code {
        match self {
            Self::Invalid(_) => Code::InvalidArgument,
            Self::NoSuch(_) => Code::NotFound,
        }
    }
}

/// Refuses an empty field.
fn present<'a>(field: &str, text: &'a str) -> Result<&'a str, Invalid> {
    if text.is_empty() { Err(Invalid::new(field, "must not be empty")) } else { Ok(text) }
}

/// Refuses the handle of a node-local volume, with which this driver does nothing of the kind.
fn not_local(field: &str, handle: &str, done: &str) -> Result<(), Invalid> {
    if crate::LocalDevice::is_meant(handle) {
        return Err(Invalid::new(field, format!("a node-local volume cannot be {done}")));
    }
    Ok(())
}

/// Reads a name.
fn name<N: FromStr<Err = InvalidId>>(text: &str) -> Result<N, Invalid> {
    text.parse().map_err(|error: InvalidId| Invalid::new("name", error.rule))
}
