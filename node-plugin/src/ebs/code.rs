//! The gRPC codes of what the parts of the verbs can fail with.

use csi_core::rpc_error::GrpcCode;
use nix::errno::Errno;
use tonic::Code;

use crate::apply::StepFailed;
use crate::identity::NoDevice;
use crate::kernel::KernelError;
use crate::observe::FindError;
use crate::plan::publish::PublishConflict;
use crate::plan::stage::StageConflict;
use crate::plan::unmount::IsSymlink;

impl GrpcCode for KernelError {
    fn code(&self) -> Code {
        match self {
            Self::Call { source, .. } => match source.raw_os_error().map(Errno::from_raw) {
                // A pod still has files open there; or the disk's owner is not us.
                Some(Errno::EBUSY) => Code::FailedPrecondition,
                _ => Code::Internal,
            },
            Self::Busy(_) | Self::Changed { .. } => Code::FailedPrecondition,
            Self::NoTool { .. } | Self::Tool { .. } => Code::Internal,
            Self::ToolTimedOut { .. } => Code::DeadlineExceeded,
        }
    }
}

impl GrpcCode for StepFailed {
    fn code(&self) -> Code {
        self.source.code()
    }
}

impl GrpcCode for NoDevice {
    fn code(&self) -> Code {
        match self {
            Self::NotFound { .. } => Code::NotFound,
            Self::Ambiguous { .. }
            | Self::WrongSerial { .. }
            | Self::UnreadableSerial { .. }
            | Self::RootDisk { .. }
            | Self::Smaller { .. }
            | Self::Held { .. } => Code::FailedPrecondition,
        }
    }
}

impl GrpcCode for FindError {
    fn code(&self) -> Code {
        match self {
            Self::NoDevice(why) => why.code(),
            Self::Kernel { source, .. } => source.code(),
        }
    }
}

impl GrpcCode for StageConflict {
    fn code(&self) -> Code {
        match self {
            Self::OtherDevice { .. } | Self::OtherOptions { .. } => Code::AlreadyExists,
            Self::NotADirectory
            | Self::Foreign { .. }
            | Self::UnknownData { .. }
            | Self::Unfinished { .. }
            | Self::OtherFileSystem { .. }
            | Self::TooNew { .. }
            | Self::BlankButReadOnly { .. }
            | Self::InUse { .. } => Code::FailedPrecondition,
        }
    }
}

impl GrpcCode for PublishConflict {
    fn code(&self) -> Code {
        match self {
            Self::OtherSource { .. } | Self::OtherFlags { .. } => Code::AlreadyExists,
            Self::NotStaged { .. } | Self::WrongKind(_) | Self::SecondTarget { .. } => {
                Code::FailedPrecondition
            }
        }
    }
}

impl GrpcCode for IsSymlink {
    fn code(&self) -> Code {
        Code::FailedPrecondition
    }
}
