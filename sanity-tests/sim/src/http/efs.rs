//! EFS's REST API. Source: EFS API reference, version 2015-02-01.

mod shape;

use http::{HeaderValue, Method, Response, StatusCode};
use http_body_util::Full;
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Call, body};
use crate::world::efs::{CreateAccessPoint, DescribeEfs, PosixUser, RootDirectory};
use crate::world::{Action, AwsError, Millis, World};

/// Where the API lies.
pub(super) const PREFIX: &str = "/2015-02-01/";
/// The service in a signature's scope.
pub(crate) const SERVICE: &str = "elasticfilesystem";

/// A call that is understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Question {
    Create(CreateAccessPoint),
    Delete(String),
    AccessPoints(DescribeEfs),
    FileSystems(DescribeEfs),
    MountTargets(DescribeEfs),
}

/// What an answer says besides the world.
pub(super) struct Context<'a> {
    pub(super) region: &'a str,
}

/// The body of `CreateAccessPoint`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Creation {
    client_token: String,
    file_system_id: String,
    posix_user: Option<PosixUser>,
    root_directory: Option<RootDirectory>,
    #[serde(default)]
    tags: Vec<Tag>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Tag {
    key: String,
    value: String,
}

impl Question {
    pub(super) fn parse(call: &Call) -> Result<Self, AwsError> {
        let path = call.uri().path().strip_prefix(PREFIX).unwrap_or_default();
        let parts: Vec<&str> = path.trim_end_matches('/').split('/').collect();
        let query = call.uri().query().unwrap_or_default();
        match (call.method(), parts.as_slice()) {
            (&Method::POST, ["access-points"]) => creation(call.body()).map(Self::Create),
            (&Method::DELETE, ["access-points", id]) => Ok(Self::Delete(decoded(id)?)),
            (&Method::GET, ["access-points"]) => describe(query).map(Self::AccessPoints),
            (&Method::GET, ["file-systems"]) => describe(query).map(Self::FileSystems),
            (&Method::GET, ["mount-targets"]) => describe(query).map(Self::MountTargets),
            _ => Err(AwsError::new("UnknownOperationException", "No such operation.")),
        }
    }

    pub(super) fn action(&self) -> Action {
        match self {
            Self::Create(_) => Action::CreateAccessPoint,
            Self::Delete(_) => Action::DeleteAccessPoint,
            Self::AccessPoints(_) => Action::DescribeAccessPoints,
            Self::FileSystems(_) => Action::DescribeFileSystems,
            Self::MountTargets(_) => Action::DescribeMountTargets,
        }
    }

    /// What the call is about, in a few words for the history.
    pub(super) fn subject(&self) -> String {
        match self {
            Self::Create(call) => format!("{} {}", call.file_system, call.root.path),
            Self::Delete(id) => id.clone(),
            Self::AccessPoints(call) | Self::FileSystems(call) | Self::MountTargets(call) => {
                call.subject()
            }
        }
    }

    /// Asks the world: the answer's body, if it has one.
    pub(super) fn act(
        &self,
        context: &Context<'_>,
        world: &mut World,
        now: Millis,
    ) -> Result<Option<Value>, AwsError> {
        let answer = match self {
            Self::Create(call) => {
                shape::access_point(context, &world.create_access_point(call, now)?)
            }
            Self::Delete(id) => {
                world.delete_access_point(id, now)?;
                return Ok(None);
            }
            Self::AccessPoints(call) => {
                let page = world.describe_access_points(call, now)?;
                let items = page.items.iter().map(|record| shape::access_point(context, record));
                json!({"AccessPoints": items.collect::<Vec<_>>(), "NextToken": page.next_token})
            }
            Self::FileSystems(call) => {
                let page = world.describe_file_systems(call, now)?;
                let items = page.items.iter().map(|record| shape::file_system(world, record));
                json!({"FileSystems": items.collect::<Vec<_>>(), "NextMarker": page.next_token})
            }
            Self::MountTargets(call) => {
                let page = world.describe_mount_targets(call, now)?;
                let items = page.items.iter().map(|record| shape::mount_target(world, record));
                json!({"MountTargets": items.collect::<Vec<_>>(), "NextMarker": page.next_token})
            }
        };
        Ok(Some(without_nulls(answer)))
    }
}

fn invalid(message: impl Into<String>) -> AwsError {
    AwsError::new("ValidationException", message)
}

fn creation(text: &[u8]) -> Result<CreateAccessPoint, AwsError> {
    let call: Creation =
        serde_json::from_slice(text).map_err(|error| invalid(error.to_string()))?;
    Ok(CreateAccessPoint {
        client_token: call.client_token,
        file_system: call.file_system_id,
        posix_user: call.posix_user,
        root: call.root_directory.unwrap_or_default(),
        tags: call.tags.into_iter().map(|tag| (tag.key, tag.value)).collect(),
    })
}

fn decoded(text: &str) -> Result<String, AwsError> {
    let decoded = percent_decode_str(text).decode_utf8();
    Ok(decoded.map_err(|_not_text| invalid("The request is not UTF-8."))?.into_owned())
}

fn describe(query: &str) -> Result<DescribeEfs, AwsError> {
    let mut call = DescribeEfs::default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = decoded(value)?;
        match name {
            "AccessPointId" => call.access_point = Some(value),
            "FileSystemId" => call.file_system = Some(value),
            "MountTargetId" => call.mount_target = Some(value),
            "CreationToken" => call.creation_token = Some(value),
            "NextToken" | "Marker" => call.next_token = Some(value),
            "MaxResults" | "MaxItems" => {
                let number =
                    value.parse().map_err(|_not_one| invalid(format!("{name}={value}")))?;
                call.max_results = Some(number);
            }
            _ => return Err(invalid(format!("unknown parameter {name}"))),
        }
    }
    Ok(call)
}

/// EFS leaves absent members out.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(members) => members
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name, without_nulls(value)))
            .collect(),
        Value::Array(items) => items.into_iter().map(without_nulls).collect(),
        other => other,
    }
}

/// A successful answer.
pub(super) fn answer(content: Option<&Value>, request_id: &str) -> Response<Full<bytes::Bytes>> {
    let response = match content {
        Some(content) => body(StatusCode::OK, "application/json", content.to_string()),
        None => body(StatusCode::NO_CONTENT, "application/json", String::new()),
    };
    named(response, request_id)
}

/// An error answer.
pub(super) fn error(error: &AwsError, request_id: &str) -> Response<Full<bytes::Bytes>> {
    let code = in_rest(&error.code);
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let content = without_nulls(json!({
        "ErrorCode": code,
        "Message": error.message,
        "AccessPointId": error.resource,
    }));
    let mut response = body(status, "application/json", content.to_string());
    if let Ok(code) = HeaderValue::from_str(code) {
        response.headers_mut().insert("x-amzn-errortype", code);
    }
    named(response, request_id)
}

/// REST services have names of their own for what EC2 says of a bad signature.
/// Source: EFS API reference, "Common errors".
fn in_rest(code: &str) -> &str {
    match code {
        "AuthFailure" => "UnrecognizedClientException",
        "SignatureDoesNotMatch" | "RequestExpired" => "InvalidSignatureException",
        "ExpiredToken" => "ExpiredTokenException",
        other => other,
    }
}

fn named(
    mut response: Response<Full<bytes::Bytes>>,
    request_id: &str,
) -> Response<Full<bytes::Bytes>> {
    if let Ok(id) = HeaderValue::from_str(request_id) {
        response.headers_mut().insert("x-amzn-requestid", id);
    }
    response
}
