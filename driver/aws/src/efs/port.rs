//! The port, method by method: the request's fields, one call, the answer's fields.

use aws_sdk_efs::error::SdkError;
use aws_sdk_efs::operation::RequestId;
use aws_sdk_efs::operation::create_access_point::{
    CreateAccessPointError, CreateAccessPointOutput,
};
use aws_sdk_efs::types;
use csi_core::efs::{
    AccessPoint, AccessPointQuery, CreateAccessPoint, CreatedAccessPoint, CreationInfo,
    Efs as Port, FileSystem, MountTarget, Page, PosixUser, Role, Tags,
};
use csi_core::{AccessPointId, ApiError, ErrorKind, FileSystemId};

use super::parse::{access_point, access_point_from, file_system, mount_target};
use super::{Efs, Identity};
use crate::action::Action;
use crate::parse::{Odd, odd, parse_id};

/// Mount targets per page. Source: EFS API reference, `DescribeMountTargets.MaxItems`; without a
/// wish a page has ten.
const TARGETS: i32 = 100;

/// What EFS made of a creating call: an answer or the refusal that names what the token made.
enum Made {
    New(Box<CreateAccessPointOutput>),
    Existing { id: String, request_id: Option<String> },
}

impl RequestId for Made {
    fn request_id(&self) -> Option<&str> {
        match self {
            Self::New(answer) => answer.request_id(),
            Self::Existing { request_id, .. } => request_id.as_deref(),
        }
    }
}

#[expect(clippy::result_large_err, reason = "the error is the SDK's")]
fn made(
    answer: Result<CreateAccessPointOutput, SdkError<CreateAccessPointError>>,
) -> Result<Made, SdkError<CreateAccessPointError>> {
    match answer {
        Ok(answer) => Ok(Made::New(Box::new(answer))),
        Err(error) => match error.as_service_error() {
            Some(CreateAccessPointError::AccessPointAlreadyExists(known)) => Ok(Made::Existing {
                id: known.access_point_id().to_owned(),
                request_id: error.request_id().map(str::to_owned),
            }),
            _ => Err(error),
        },
    }
}

impl Port for Efs {
    fn as_role(&self, role: &Role) -> Self {
        Self { identity: Identity::new(Some(role.clone())), ..self.clone() }
    }

    async fn create_access_point(
        &self,
        call: CreateAccessPoint,
    ) -> Result<CreatedAccessPoint, ApiError> {
        const ACTION: Action = Action::CreateAccessPoint;
        let bad = |found: &Odd| odd(ACTION, found);
        let root = types::RootDirectory::builder()
            .path(&call.root.path)
            .set_creation_info(call.root.creation.as_ref().map(sdk_creation).transpose()?);
        let request = self
            .client()
            .await
            .create_access_point()
            .client_token(&call.client_token)
            .file_system_id(call.file_system.as_str())
            .posix_user(sdk_user(&call.posix_user)?)
            .root_directory(root.build())
            .set_tags(sdk_tags(&call.tags)?);
        let answer = self.call(ACTION, || {
            let send = request.clone().send();
            async { made(send.await) }
        });
        match answer.await? {
            Made::New(answer) => {
                access_point_from(*answer).map(CreatedAccessPoint::New).map_err(|found| bad(&found))
            }
            Made::Existing { id, .. } => parse_id("AccessPointId", &id)
                .map(CreatedAccessPoint::Existing)
                .map_err(|found| bad(&found)),
        }
    }

    async fn delete_access_point(&self, id: AccessPointId) -> Result<(), ApiError> {
        let request = self.client().await.delete_access_point().access_point_id(id.as_str());
        self.call(Action::DeleteAccessPoint, || request.clone().send()).await.map(drop)
    }

    async fn describe_access_points(
        &self,
        query: AccessPointQuery,
    ) -> Result<Page<AccessPoint>, ApiError> {
        const ACTION: Action = Action::DescribeAccessPoints;
        let request = self.client().await.describe_access_points();
        let request = match query {
            AccessPointQuery::Id(id) => request.access_point_id(id.as_str()),
            AccessPointQuery::FileSystem { file_system, max, token } => request
                .file_system_id(file_system.as_str())
                .max_results(i32::from(max))
                .set_next_token(token),
        };
        let answer = self.call(ACTION, || request.clone().send()).await?;
        let items = answer.access_points().iter().map(access_point).collect::<Result<_, _>>();
        let items = items.map_err(|found| odd(ACTION, &found))?;
        Ok(Page { items, next: answer.next_token.filter(|token| !token.is_empty()) })
    }

    async fn describe_file_system(&self, id: FileSystemId) -> Result<FileSystem, ApiError> {
        const ACTION: Action = Action::DescribeFileSystems;
        let request = self.client().await.describe_file_systems().file_system_id(id.as_str());
        let answer = self.call(ACTION, || request.clone().send()).await?;
        let found = answer.file_systems().first().ok_or(Odd::Missing("FileSystems"));
        found.and_then(file_system).map_err(|found| odd(ACTION, &found))
    }

    async fn describe_mount_targets(&self, id: FileSystemId) -> Result<Vec<MountTarget>, ApiError> {
        const ACTION: Action = Action::DescribeMountTargets;
        let mut all = Vec::new();
        let mut marker = None;
        loop {
            let request = self
                .client()
                .await
                .describe_mount_targets()
                .file_system_id(id.as_str())
                .max_items(TARGETS)
                .set_marker(marker);
            let answer = self.call(ACTION, || request.clone().send()).await?;
            for target in answer.mount_targets() {
                all.push(mount_target(target).map_err(|found| odd(ACTION, &found))?);
            }
            marker = answer.next_marker.filter(|marker| !marker.is_empty());
            if marker.is_none() {
                return Ok(all);
            }
        }
    }
}

fn sdk_user(user: &PosixUser) -> Result<types::PosixUser, ApiError> {
    let groups = user.secondary_gids.iter().map(|gid| i64::from(*gid)).collect::<Vec<_>>();
    types::PosixUser::builder()
        .uid(i64::from(user.uid))
        .gid(i64::from(user.gid))
        .set_secondary_gids((!groups.is_empty()).then_some(groups))
        .build()
        .map_err(|error| unbuilt(&error))
}

fn sdk_creation(creation: &CreationInfo) -> Result<types::CreationInfo, ApiError> {
    types::CreationInfo::builder()
        .owner_uid(i64::from(creation.owner_uid))
        .owner_gid(i64::from(creation.owner_gid))
        .permissions(&creation.permissions)
        .build()
        .map_err(|error| unbuilt(&error))
}

/// Tags in the order of their keys; `None` without any.
fn sdk_tags(tags: &Tags) -> Result<Option<Vec<types::Tag>>, ApiError> {
    let tag = |(key, value): (&String, &String)| {
        types::Tag::builder().key(key).value(value).build().map_err(|error| unbuilt(&error))
    };
    let tags = tags.iter().map(tag).collect::<Result<Vec<_>, _>>()?;
    Ok((!tags.is_empty()).then_some(tags))
}

/// The SDK wants a field that was not set.
fn unbuilt(error: &dyn std::error::Error) -> ApiError {
    ApiError {
        action: Action::CreateAccessPoint.name(),
        kind: ErrorKind::InvalidParameter,
        code: "RequestNotBuilt".to_owned(),
        message: error.to_string(),
        request_id: None,
    }
}
