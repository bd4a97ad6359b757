//! The world as the port [`Efs`].

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use csi_core::efs::{
    AccessPoint, AccessPointQuery, CreateAccessPoint, CreatedAccessPoint, CreationInfo, Efs,
    FileSystem, LifeCycleState, MountTarget, Page, PosixUser, Role, RootDirectory,
};
use csi_core::{AccessPointId, ApiError, ErrorKind, FileSystemId, Zone};
use tokio::sync::OnceCell;

use super::call;
use crate::sim::Sim;
use crate::world::efs::{self, DescribeEfs, LifeCycle};
use crate::world::role::Caller;
use crate::world::{Action, AwsError, Millis, World};

/// The port to a simulated EFS.
#[derive(Debug, Clone)]
pub struct SimEfs {
    sim: Sim,
    latency: Duration,
    acting_as: Option<ActingAs>,
}

/// A role, and whether it was granted; the first call asks.
#[derive(Debug, Clone)]
struct ActingAs {
    role: Role,
    granted: Arc<OnceCell<()>>,
}

impl SimEfs {
    /// Calls take 15 ms, about what AWS's answers take within a region.
    #[must_use]
    pub fn new(sim: Sim) -> Self {
        Self { sim, latency: Duration::from_millis(15), acting_as: None }
    }

    /// Lets calls take that long.
    #[must_use]
    pub fn with_latency(self, latency: Duration) -> Self {
        Self { latency, ..self }
    }

    /// The world behind.
    #[must_use]
    pub fn sim(&self) -> &Sim {
        &self.sim
    }

    /// One call, after the role's if there is one. A refusal comes with the object it names.
    async fn call<T>(
        &self,
        action: Action,
        subject: String,
        act: impl FnOnce(&mut World, Millis) -> Result<T, AwsError>,
    ) -> Result<T, (ApiError, Option<String>)> {
        let Some(acting_as) = &self.acting_as else {
            return call(&self.sim, self.latency, action, subject, act).await;
        };
        acting_as.granted.get_or_try_init(|| self.assume(&acting_as.role)).await?;
        let subject = format!("{subject} as {}", acting_as.role.arn);
        call(&self.sim, self.latency, action, subject, act).await
    }

    async fn assume(&self, role: &Role) -> Result<(), (ApiError, Option<String>)> {
        let act = |world: &mut World, _| {
            world.assume(&role.arn, &Caller::Signed { external_id: role.external_id.as_deref() })
        };
        let asked = call(&self.sim, self.latency, Action::AssumeRole, role.arn.clone(), act);
        asked.await.map(drop)
    }
}

impl Efs for SimEfs {
    fn as_role(&self, role: &Role) -> Self {
        let acting_as = ActingAs { role: role.clone(), granted: Arc::default() };
        Self { acting_as: Some(acting_as), ..self.clone() }
    }

    async fn create_access_point(
        &self,
        call: CreateAccessPoint,
    ) -> Result<CreatedAccessPoint, ApiError> {
        let call = create(call);
        let subject = format!("{} {}", call.file_system, call.root.path);
        let act = |world: &mut World, now| world.create_access_point(&call, now);
        match self.call(Action::CreateAccessPoint, subject, act).await {
            Ok(record) => Ok(CreatedAccessPoint::New(access_point(record)?)),
            Err((error, Some(id))) if error.kind == ErrorKind::AccessPointExists => {
                Ok(CreatedAccessPoint::Existing(parsed(&id)?))
            }
            Err((error, _)) => Err(error),
        }
    }

    async fn delete_access_point(&self, id: AccessPointId) -> Result<(), ApiError> {
        let act = |world: &mut World, now| world.delete_access_point(id.as_str(), now);
        self.call(Action::DeleteAccessPoint, id.to_string(), act).await.map_err(|(error, _)| error)
    }

    async fn describe_access_points(
        &self,
        query: AccessPointQuery,
    ) -> Result<Page<AccessPoint>, ApiError> {
        let call = match query {
            AccessPointQuery::Id(id) => {
                DescribeEfs { access_point: Some(id.to_string()), ..DescribeEfs::default() }
            }
            AccessPointQuery::FileSystem { file_system, max, token } => {
                DescribeEfs { max_results: Some(max.into()), next_token: token, ..of(&file_system) }
            }
        };
        let act = |world: &mut World, now| world.describe_access_points(&call, now);
        let asked = self.call(Action::DescribeAccessPoints, call.subject(), act);
        let listing = asked.await.map_err(|(error, _)| error)?;
        let items = listing.items.into_iter().map(access_point).collect::<Result<_, _>>()?;
        Ok(Page { items, next: listing.next_token })
    }

    async fn describe_file_system(&self, id: FileSystemId) -> Result<FileSystem, ApiError> {
        let call = of(&id);
        let act = |world: &mut World, now| {
            let mut items = world.describe_file_systems(&call, now)?.items;
            items.pop().ok_or_else(|| AwsError::new("FileSystemNotFound", id.to_string()))
        };
        let asked = self.call(Action::DescribeFileSystems, call.subject(), act);
        let record = asked.await.map_err(|(error, _)| error)?;
        Ok(FileSystem {
            id: parsed(&record.id)?,
            state: state(record.state),
            zone: record.one_zone.map(Zone),
        })
    }

    async fn describe_mount_targets(&self, id: FileSystemId) -> Result<Vec<MountTarget>, ApiError> {
        let call = of(&id);
        let act = |world: &mut World, now| {
            let zones = world.zones();
            let zone_id = |name: &str| {
                let zone = zones.iter().find(|zone| zone.name == name);
                zone.map(|zone| zone.id.clone()).unwrap_or_default()
            };
            let targets = world.describe_mount_targets(&call, now)?.items.into_iter();
            Ok(targets.map(|target| (zone_id(&target.zone), target)).collect::<Vec<_>>())
        };
        let asked = self.call(Action::DescribeMountTargets, call.subject(), act);
        let found = asked.await.map_err(|(error, _)| error)?;
        let shown = found.into_iter().map(|(zone_id, target)| {
            Ok(MountTarget {
                id: target.id,
                file_system: parsed(&target.file_system)?,
                state: state(target.state),
                zone: Zone(target.zone),
                zone_id,
                ipv4: match target.address {
                    IpAddr::V4(address) => Some(address),
                    IpAddr::V6(_) => None,
                },
                ipv6: match target.address {
                    IpAddr::V4(_) => None,
                    IpAddr::V6(address) => Some(address),
                },
            })
        });
        shown.collect()
    }
}

fn of(file_system: &FileSystemId) -> DescribeEfs {
    DescribeEfs { file_system: Some(file_system.to_string()), ..DescribeEfs::default() }
}

fn create(call: CreateAccessPoint) -> efs::CreateAccessPoint {
    efs::CreateAccessPoint {
        client_token: call.client_token,
        file_system: call.file_system.to_string(),
        posix_user: Some(efs::PosixUser {
            uid: call.posix_user.uid,
            gid: call.posix_user.gid,
            secondary_gids: call.posix_user.secondary_gids,
        }),
        root: efs::RootDirectory {
            path: call.root.path,
            creation_info: call.root.creation.map(|info| efs::CreationInfo {
                owner_uid: info.owner_uid,
                owner_gid: info.owner_gid,
                permissions: info.permissions,
            }),
        },
        tags: call.tags,
    }
}

fn access_point(record: efs::AccessPointRecord) -> Result<AccessPoint, ApiError> {
    Ok(AccessPoint {
        id: parsed(&record.id)?,
        client_token: record.client_token,
        file_system: parsed(&record.file_system)?,
        state: state(record.state),
        posix_user: record.posix_user.map(|user| PosixUser {
            uid: user.uid,
            gid: user.gid,
            secondary_gids: user.secondary_gids,
        }),
        root: RootDirectory {
            path: record.root.path,
            creation: record.root.creation_info.map(|info| CreationInfo {
                owner_uid: info.owner_uid,
                owner_gid: info.owner_gid,
                permissions: info.permissions,
            }),
        },
        tags: record.tags,
    })
}

fn state(state: LifeCycle) -> LifeCycleState {
    match state {
        LifeCycle::Creating => LifeCycleState::Creating,
        LifeCycle::Available => LifeCycleState::Available,
        LifeCycle::Deleting => LifeCycleState::Deleting,
        LifeCycle::Error => LifeCycleState::Error,
    }
}

/// The world's ids are well-formed: it made or checked them.
fn parsed<T: std::str::FromStr>(id: &str) -> Result<T, ApiError> {
    id.parse().map_err(|_malformed| ApiError {
        action: "an EFS call",
        kind: ErrorKind::Unexpected,
        code: "MalformedAnswer".to_owned(),
        message: format!("the simulator made the malformed id {id:?}"),
        request_id: None,
    })
}
