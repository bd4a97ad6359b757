//! What can go wrong in a call to AWS, by what it means to us. The one table from AWS's codes to
//! meanings is here, so that the SDK adapter and the simulator cannot differ in it.

use std::fmt;

use tonic::Code;

/// A failed AWS call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ApiError {
    /// The API action, `CreateVolume`.
    pub action: &'static str,
    /// What the failure means.
    pub kind: ErrorKind,
    /// AWS's error code, or a word of ours where no answer came.
    pub code: String,
    /// AWS's message.
    pub message: String,
    /// AWS's request id, for a support case.
    pub request_id: Option<String>,
}

/// The meaning of a failed AWS call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// No such volume. Also said of one that is too young to be seen.
    VolumeNotFound,
    /// No such snapshot. Also said of one that is too young to be seen.
    SnapshotNotFound,
    /// No such instance.
    InstanceNotFound,
    /// The volume is not attached to that instance.
    AttachmentNotFound,
    /// No such file system.
    FileSystemNotFound,
    /// No such access point. Also said of one that is too young to be seen.
    AccessPointNotFound,
    /// The client token made an access point before.
    AccessPointExists,
    /// The client token was used before with other parameters, or by a volume that then failed.
    TokenMismatch,
    /// The volume is attached.
    VolumeInUse,
    /// The object's state does not allow the action.
    IncorrectState,
    /// The snapshot is used by an image, or locked.
    SnapshotInUse,
    /// The device name is taken on the instance.
    DeviceNameInUse,
    /// The instance has as many volumes as it can.
    AttachmentLimit,
    /// The volume and the instance are in different zones.
    ZoneMismatch,
    /// A quota of the account is exhausted.
    Quota,
    /// The zone has no capacity for such a volume.
    ZoneCapacity,
    /// A modification is in progress.
    ModificationInProgress,
    /// The volume was modified too often.
    ModificationRate,
    /// A parameter is wrong; the same call can never succeed.
    InvalidParameter,
    /// Too many calls; nothing happened.
    Throttled,
    /// The credentials do not allow the action.
    Denied,
    /// The credentials are missing, expired or wrong.
    Credentials,
    /// The pagination token is wrong.
    BadPageToken,
    /// AWS failed on its side; the effect is unknown.
    Unavailable,
    /// No answer, or not a whole one; the effect is unknown.
    NoAnswer,
    /// A code we do not know.
    Unexpected,
}

impl ErrorKind {
    /// The meaning of an AWS error code. Sources: EC2 API reference, "Error codes for the Amazon
    /// EC2 API", EFS API reference, "Errors" of each action, and what both were seen to answer.
    #[must_use]
    pub fn from_code(code: &str, message: &str) -> Self {
        match code {
            "InvalidVolume.NotFound" | "InvalidVolumeID.NotFound" => Self::VolumeNotFound,
            "InvalidSnapshot.NotFound" => Self::SnapshotNotFound,
            "InvalidInstanceID.NotFound" => Self::InstanceNotFound,
            "InvalidAttachment.NotFound" => Self::AttachmentNotFound,
            "FileSystemNotFound" => Self::FileSystemNotFound,
            "AccessPointNotFound" => Self::AccessPointNotFound,
            "AccessPointAlreadyExists" => Self::AccessPointExists,
            "IdempotentParameterMismatch" => Self::TokenMismatch,
            "VolumeInUse" => Self::VolumeInUse,
            "IncorrectState" | "IncorrectInstanceState" | "IncorrectFileSystemLifeCycleState" => {
                Self::IncorrectState
            }
            "InvalidSnapshot.InUse" | "SnapshotLocked" => Self::SnapshotInUse,
            "AttachmentLimitExceeded" => Self::AttachmentLimit,
            "InvalidVolume.ZoneMismatch" => Self::ZoneMismatch,
            "VolumeLimitExceeded"
            | "MaxIOPSLimitExceeded"
            | "SnapshotLimitExceeded"
            | "ConcurrentSnapshotLimitExceeded"
            | "PendingSnapshotLimitExceeded"
            | "VolumeModificationSizeLimitExceeded"
            | "TagLimitExceeded"
            | "AccessPointLimitExceeded" => Self::Quota,
            "InsufficientVolumeCapacity" => Self::ZoneCapacity,
            "IncorrectModificationState" => Self::ModificationInProgress,
            "VolumeModificationRateExceeded" => Self::ModificationRate,
            "InvalidPaginationToken" | "InvalidNextToken" => Self::BadPageToken,
            // "Attachment point /dev/xvdaa is already in use"; the code alone does not tell.
            "InvalidParameterValue" if message.contains("is already in use") => {
                Self::DeviceNameInUse
            }
            "InvalidDevice.InUse" => Self::DeviceNameInUse,
            "RequestLimitExceeded"
            | "Throttling"
            | "ThrottlingException"
            | "SnapshotCreationPerVolumeRateExceeded"
            | "TooManyRequests"
            | "TooManyRequestsException" => Self::Throttled,
            "UnauthorizedOperation" | "AccessDenied" | "AccessDeniedException" => Self::Denied,
            "AuthFailure"
            | "ExpiredToken"
            | "ExpiredTokenException"
            | "InvalidClientTokenId"
            | "InvalidIdentityToken"
            | "InvalidSignatureException"
            | "MissingAuthenticationTokenException"
            | "RequestExpired"
            | "SignatureDoesNotMatch"
            | "UnrecognizedClientException" => Self::Credentials,
            "InternalError"
            | "InternalFailure"
            | "InternalServerError"
            | "DependencyTimeout"
            | "ServiceUnavailable"
            | "Unavailable" => Self::Unavailable,
            other if is_parameter_code(other) => Self::InvalidParameter,
            _ => Self::Unexpected,
        }
    }

    /// Whether the call certainly changed nothing, so that a final answer loses nothing.
    #[must_use]
    pub fn is_effect_free(self) -> bool {
        !matches!(self, Self::Unavailable | Self::NoAnswer | Self::Unexpected)
    }

    /// The code for a call that failed like this and left no effect in doubt, where the verb has
    /// no better one.
    #[must_use]
    pub fn grpc_code(self) -> Code {
        match self {
            Self::VolumeNotFound
            | Self::SnapshotNotFound
            | Self::InstanceNotFound
            | Self::AttachmentNotFound
            | Self::FileSystemNotFound
            | Self::AccessPointNotFound => Code::NotFound,
            Self::TokenMismatch | Self::AccessPointExists => Code::AlreadyExists,
            Self::VolumeInUse | Self::IncorrectState | Self::SnapshotInUse | Self::ZoneMismatch => {
                Code::FailedPrecondition
            }
            Self::AttachmentLimit | Self::Quota | Self::ZoneCapacity => Code::ResourceExhausted,
            Self::InvalidParameter => Code::InvalidArgument,
            Self::Denied => Code::PermissionDenied,
            Self::Credentials => Code::Unauthenticated,
            Self::BadPageToken => Code::Aborted,
            Self::ModificationInProgress
            | Self::ModificationRate
            | Self::DeviceNameInUse
            | Self::Throttled
            | Self::Unavailable
            | Self::NoAnswer => Code::Unavailable,
            Self::Unexpected => Code::Internal,
        }
    }
}

/// The prefix of an action in IAM policies.
fn service(action: &str) -> &'static str {
    match action {
        "CreateAccessPoint"
        | "DeleteAccessPoint"
        | "DescribeAccessPoints"
        | "DescribeFileSystems"
        | "DescribeMountTargets" => "elasticfilesystem",
        "AssumeRole" => "sts",
        _ => "ec2",
    }
}

fn is_parameter_code(code: &str) -> bool {
    const CODES: [&str; 14] = [
        "BadRequest",
        "InvalidParameter",
        "InvalidParameterValue",
        "InvalidParameterCombination",
        "InvalidParameterDependency",
        "InvalidZone.NotFound",
        "MissingParameter",
        "UnknownParameter",
        "UnknownVolumeType",
        "UnsupportedOperation",
        "ValidationError",
        "ValidationException",
        "InvalidKey.Format",
        "InvalidTagKey.Malformed",
    ];
    CODES.contains(&code) || code.ends_with(".Malformed")
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} answered {}: {}", self.action, self.code, self.message)?;
        if let Some(id) = &self.request_id {
            write!(f, " (request id {id})")?;
        }
        match self.kind {
            ErrorKind::Denied => {
                let service = service(self.action);
                write!(f, "; grant {service}:{} to the driver's role", self.action)
            }
            ErrorKind::Credentials => write!(f, "; check the driver's service account and role"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_action_code_reason_request_and_what_to_do() {
        let error = ApiError {
            action: "CreateVolume",
            kind: ErrorKind::from_code("UnauthorizedOperation", ""),
            code: "UnauthorizedOperation".to_owned(),
            message: "You are not authorized.".to_owned(),
            request_id: Some("r-1".to_owned()),
        };
        assert_eq!(
            error.to_string(),
            "CreateVolume answered UnauthorizedOperation: You are not authorized. \
             (request id r-1); grant ec2:CreateVolume to the driver's role"
        );
        assert_eq!(error.kind.grpc_code(), Code::PermissionDenied);
    }

    #[test]
    fn a_taken_device_name_is_told_from_other_wrong_values_by_its_text() {
        let taken = "Invalid value '/dev/xvdaa' for unixDevice. Attachment point /dev/xvdaa is already in use";
        assert_eq!(
            ErrorKind::from_code("InvalidParameterValue", taken),
            ErrorKind::DeviceNameInUse
        );
        assert_eq!(ErrorKind::from_code("InvalidParameterValue", "x"), ErrorKind::InvalidParameter);
        assert_eq!(
            ErrorKind::from_code("InvalidVolumeID.Malformed", ""),
            ErrorKind::InvalidParameter
        );
    }
}
