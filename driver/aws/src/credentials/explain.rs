//! From a provider's error, whose type hides what happened, to ours, which says it.

use std::error::Error;
use std::io;

use aws_credential_types::provider::error::CredentialsError as ProviderError;
use aws_sdk_sts::error::ProvideErrorMetadata;
use aws_sdk_sts::operation::RequestId;
use aws_sdk_sts::operation::assume_role_with_web_identity::AssumeRoleWithWebIdentityError;
use csi_core::Chain;

use super::{CredentialsError, Link};
use crate::classify::find;

/// Why a link that is set up gave no credentials.
pub(super) fn broken(link: Link, region: &str, error: &ProviderError) -> CredentialsError {
    if link != Link::WebIdentity {
        return CredentialsError::Broken { link, reason: causes(error) };
    }
    if let Some(answer) = find::<AssumeRoleWithWebIdentityError>(error) {
        return CredentialsError::Sts {
            role: setting("AWS_ROLE_ARN"),
            code: answer.code().unwrap_or("an error without code").to_owned(),
            message: answer.message().unwrap_or_default().to_owned(),
            request_id: answer.meta().request_id().map(str::to_owned),
        };
    }
    // The provider wraps the file's error directly, a connection's more deeply.
    let direct = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    if let Some(io) = direct {
        let path = setting("AWS_WEB_IDENTITY_TOKEN_FILE");
        return CredentialsError::TokenFile { path, reason: io.to_string() };
    }
    CredentialsError::StsUnreachable { region: region.to_owned(), reason: causes(error) }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the SDK reads these settings of the EKS webhook itself; here they only make an error exact"
)]
fn setting(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_unset| format!("${name}"))
}

/// The causes below the provider's own words, which only say that it failed.
fn causes(error: &ProviderError) -> String {
    error.source().map_or_else(|| error.to_string(), |cause| Chain(cause).to_string())
}

/// The last cause, which says what setting is missing.
pub(super) fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut last = error;
    while let Some(cause) = last.source() {
        last = cause;
    }
    last.to_string()
}
