//! From the SDK's errors to ours: what failed, what AWS said, what it means.
//!
//! AWS's codes are given their meaning in `csi_core::ErrorKind::from_code`; here is what has no
//! code: no connection, no answer in time, an answer that is not one, no credentials.

use std::error::Error;
use std::io;

use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_ec2::operation::RequestId;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::DispatchFailure;
use csi_core::{ApiError, Chain, ErrorKind};

use crate::action::Action;
use crate::credentials::CredentialsError;

/// What a failed call to `action` means.
pub(crate) fn classify<E>(action: Action, error: &SdkError<E, HttpResponse>) -> ApiError
where
    E: Error + ProvideErrorMetadata + 'static,
{
    let service = action.service().name();
    let (kind, code, message) = match error {
        SdkError::ServiceError(answer) => {
            service_error(service, answer.err(), answer.raw().status().as_u16())
        }
        SdkError::ResponseError(answer) => {
            let status = answer.raw().status().as_u16();
            let text = format!("the answer is none of {service}'s: {}", causes(error));
            (no_code_kind(status, ErrorKind::NoAnswer), format!("HTTP {status}"), text)
        }
        SdkError::TimeoutError(_) => {
            let text =
                format!("{service} gave no answer in time; check the network and the endpoint");
            (ErrorKind::NoAnswer, "Timeout".to_owned(), text)
        }
        SdkError::DispatchFailure(failure) => dispatch_failure(service, failure, error),
        _ => (ErrorKind::Unexpected, "RequestNotBuilt".to_owned(), causes(error)),
    };
    let request_id = error.request_id().map(str::to_owned);
    let request_id = request_id.or_else(|| error.raw_response().and_then(id_in_body));
    ApiError { action: action.name(), kind, code, message, request_id }
}

/// The request id as EC2's errors carry it in the body; the SDK looks at the header only.
fn id_in_body(answer: &HttpResponse) -> Option<String> {
    let body = std::str::from_utf8(answer.body().bytes()?).ok()?;
    let (_, rest) = body.split_once("<RequestID>")?;
    let (id, _) = rest.split_once("</RequestID>")?;
    let is_id = id.len() <= 64 && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    is_id.then(|| id.to_owned())
}

fn service_error(
    service: &str,
    error: &impl ProvideErrorMetadata,
    status: u16,
) -> (ErrorKind, String, String) {
    let Some(code) = error.code().filter(|code| !code.is_empty()) else {
        let text = format!("the answer is none of {service}'s; is a proxy in between?");
        return (no_code_kind(status, ErrorKind::Unexpected), format!("HTTP {status}"), text);
    };
    let message = error.message().unwrap_or_default().to_owned();
    let kind = match ErrorKind::from_code(code, &message) {
        ErrorKind::Unexpected => no_code_kind(status, ErrorKind::Unexpected),
        known => known,
    };
    (kind, code.to_owned(), message)
}

/// What an HTTP status alone says.
fn no_code_kind(status: u16, otherwise: ErrorKind) -> ErrorKind {
    match status {
        500.. => ErrorKind::Unavailable,
        // A success that cannot be read: EC2 may have done it.
        200..300 => ErrorKind::NoAnswer,
        _ => otherwise,
    }
}

fn dispatch_failure(
    service: &str,
    failure: &DispatchFailure,
    error: &(dyn Error + 'static),
) -> (ErrorKind, String, String) {
    if let Some(broken) = find::<CredentialsError>(error) {
        return (ErrorKind::Credentials, "NoCredentials".to_owned(), Chain(broken).to_string());
    }
    let refused =
        find::<io::Error>(error).is_some_and(|io| io.kind() == io::ErrorKind::ConnectionRefused);
    let code = if refused {
        "ConnectionRefused"
    } else if failure.is_timeout() {
        "ConnectTimeout"
    } else {
        "ConnectionFailed"
    };
    let text = format!("no connection to {service}, or it broke: {}", causes(error));
    (ErrorKind::NoAnswer, code.to_owned(), text)
}

/// The causes below the SDK's own "dispatch failure", which says nothing.
fn causes(error: &(dyn Error + 'static)) -> String {
    error.source().map_or_else(|| error.to_string(), |cause| Chain(cause).to_string())
}

/// The first cause of that type.
pub(crate) fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}
