//! STS. Source: STS API reference, `GetCallerIdentity`.

use super::credentials::Credential;
use super::shape::ACCOUNT;
use super::xml::Xml;
use crate::world::AwsError;

const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

/// `GetCallerIdentity`: who signed the call.
pub(super) fn caller_identity(credential: &Credential, request_id: &str) -> String {
    let result = Xml::default()
        .text("Arn", credential.principal())
        .text("UserId", &credential.access_key)
        .text("Account", ACCOUNT);
    Xml::default()
        .node("GetCallerIdentityResult", result)
        .node("ResponseMetadata", Xml::default().text("RequestId", request_id))
        .document("GetCallerIdentityResponse", NAMESPACE)
}

/// STS's error document.
pub(super) fn error(error: &AwsError, request_id: &str) -> String {
    let inner = Xml::default()
        .text("Type", if error.status < 500 { "Sender" } else { "Receiver" })
        .text("Code", &error.code)
        .text("Message", &error.message);
    Xml::default()
        .node("Error", inner)
        .text("RequestId", request_id)
        .document("ErrorResponse", NAMESPACE)
}
