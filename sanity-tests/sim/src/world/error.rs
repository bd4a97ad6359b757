//! AWS's errors as the world answers them: code, message, HTTP status.

use serde::{Deserialize, Serialize};

use super::action::Service;

/// An error answer. Codes: EC2 API reference, "Error codes for the Amazon EC2 API"; EFS and STS
/// API references, "Errors" of each action.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{code}: {message}")]
pub struct AwsError {
    /// AWS's code.
    pub code: String,
    /// AWS's message, or one like it.
    pub message: String,
    /// The HTTP status.
    pub status: u16,
    /// The id of an object that the answer names in a field of its own, as EFS does for one that
    /// exists already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
}

impl AwsError {
    pub(crate) fn new(code: &str, message: impl Into<String>) -> Self {
        let status = match code {
            "RequestLimitExceeded" | "ServiceUnavailable" | "Unavailable" => 503,
            "InternalError" | "InternalFailure" | "InternalServerError" => 500,
            "UnauthorizedOperation"
            | "AccessDenied"
            | "AccessDeniedException"
            | "AccessPointLimitExceeded"
            | "InvalidSignatureException"
            | "SignatureDoesNotMatch"
            | "UnrecognizedClientException" => 403,
            "AccessPointNotFound" | "FileSystemNotFound" | "MountTargetNotFound" => 404,
            "AccessPointAlreadyExists" | "IncorrectFileSystemLifeCycleState" => 409,
            "ThrottlingException" | "TooManyRequests" => 429,
            "AuthFailure" => 401,
            "DryRunOperation" => 412,
            _ => 400,
        };
        Self { code: code.to_owned(), message: message.into(), status, resource: None }
    }

    pub(crate) fn value(message: impl Into<String>) -> Self {
        Self::new("InvalidParameterValue", message)
    }

    pub(crate) fn combination(message: impl Into<String>) -> Self {
        Self::new("InvalidParameterCombination", message)
    }

    pub(crate) fn missing(parameter: &str) -> Self {
        let message = format!("The request must contain the parameter {parameter}");
        Self::new("MissingParameter", message)
    }

    pub(crate) fn incorrect_state(message: impl Into<String>) -> Self {
        Self::new("IncorrectState", message)
    }

    pub(crate) fn no_volume(id: &str) -> Self {
        Self::new("InvalidVolume.NotFound", format!("The volume '{id}' does not exist."))
    }

    pub(crate) fn no_snapshot(id: &str) -> Self {
        Self::new("InvalidSnapshot.NotFound", format!("The snapshot '{id}' does not exist."))
    }

    pub(crate) fn no_instance(id: &str) -> Self {
        Self::new("InvalidInstanceID.NotFound", format!("The instance ID '{id}' does not exist"))
    }

    pub(crate) fn dry_run() -> Self {
        Self::new("DryRunOperation", "Request would have succeeded, but DryRun flag is set.")
    }

    pub(crate) fn throttled(service: Service) -> Self {
        match service {
            Service::Ec2 => Self::new("RequestLimitExceeded", "Request limit exceeded."),
            Service::Efs => Self::new("ThrottlingException", "Rate exceeded"),
            Service::Sts => Self::new("Throttling", "Rate exceeded"),
        }
    }
}
