//! The Controller service on the wire: a request is parsed, an operation is run under its claim,
//! the result becomes a message.

use std::sync::Arc;
use std::time::Duration;

use csi_core::efs::request::{CreateVolume, DeleteVolume, ValidateCapabilities};
use csi_core::efs::{AccessPointQuery, Efs, LifeCycleState, VolumeHandle};
use csi_core::topology::volume_topology;
use csi_core::{ApiError, ErrorKind, GrpcCode, RpcError};
use csi_proto::csi;
use csi_proto::csi::controller_server::Controller;
use csi_proto::csi::controller_service_capability::rpc;
use csi_serve::subject;
use tokio::time::Instant;
use tonic::{Code, Request, Response, Status};

use super::delete::Deletion;
use super::{EfsController, Key, Wholes, create};
use crate::call::repeat;
use crate::message;

/// What this controller can do.
pub const CAPABILITIES: [rpc::Type; 1] = [rpc::Type::CreateDeleteVolume];

/// How long the answer to a question may take.
const LOOK: Duration = Duration::from_secs(30);

type Reply<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl<C: Efs, W: Wholes> Controller for EfsController<C, W> {
    async fn create_volume(
        &self,
        request: Request<csi::CreateVolumeRequest>,
    ) -> Reply<csi::CreateVolumeResponse> {
        subject::name(&request.get_ref().name);
        Ok(Response::new(self.create(request.into_inner()).await?))
    }

    async fn delete_volume(
        &self,
        request: Request<csi::DeleteVolumeRequest>,
    ) -> Reply<csi::DeleteVolumeResponse> {
        subject::volume(&request.get_ref().volume_id);
        self.delete(request.into_inner()).await?;
        Ok(Response::new(csi::DeleteVolumeResponse {}))
    }

    async fn validate_volume_capabilities(
        &self,
        request: Request<csi::ValidateVolumeCapabilitiesRequest>,
    ) -> Reply<csi::ValidateVolumeCapabilitiesResponse> {
        subject::volume(&request.get_ref().volume_id);
        Ok(Response::new(self.validate(request.into_inner()).await?))
    }

    async fn controller_get_capabilities(
        &self,
        _request: Request<csi::ControllerGetCapabilitiesRequest>,
    ) -> Reply<csi::ControllerGetCapabilitiesResponse> {
        let capabilities = CAPABILITIES.map(message::capability).into();
        Ok(Response::new(csi::ControllerGetCapabilitiesResponse { capabilities }))
    }
}

/// Why a question about a volume has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum LookError {
    /// There is no such volume.
    #[error("volume_id: there is no such volume")]
    Absent,
    /// EFS did not say.
    #[error("cannot look at the volume")]
    Failed(#[source] ApiError),
}

impl GrpcCode for LookError {
    fn code(&self) -> Code {
        match self {
            Self::Absent => Code::NotFound,
            Self::Failed(error) => error.kind.grpc_code(),
        }
    }
}

impl<C: Efs, W: Wholes> EfsController<C, W> {
    async fn create(
        &self,
        message: csi::CreateVolumeRequest,
    ) -> Result<csi::CreateVolumeResponse, RpcError> {
        let request = CreateVolume::try_from(message)?;
        let key = Key::VolumeName(request.name.clone());
        let work = create::create(Arc::clone(&self.shared), request);
        let created = self.shared.operations.run(key, work).await?;
        subject::volume(&created.handle);
        let volume = csi::Volume {
            volume_id: created.handle.to_string(),
            capacity_bytes: created.required.to_csi(),
            volume_context: created.context,
            accessible_topology: created.zone.iter().map(volume_topology).collect(),
            ..csi::Volume::default()
        };
        Ok(csi::CreateVolumeResponse { volume: Some(volume) })
    }

    async fn delete(&self, message: csi::DeleteVolumeRequest) -> Result<(), RpcError> {
        let request = DeleteVolume::try_from(message)?;
        // What cannot exist is deleted, and what has no access point was not made by the driver.
        let Some(handle) = request.volume else { return Ok(()) };
        let Some(access_point) = handle.access_point().cloned() else { return Ok(()) };
        let key = Key::Delete(access_point.clone());
        let deletion = Deletion {
            shared: Arc::clone(&self.shared),
            remover: self.remover.clone(),
            secrets: request.secrets,
            file_system: handle.file_system().clone(),
            access_point,
        };
        let work = deletion.run();
        self.shared.operations.run(key, work).await?;
        Ok(())
    }

    async fn validate(
        &self,
        message: csi::ValidateVolumeCapabilitiesRequest,
    ) -> Result<csi::ValidateVolumeCapabilitiesResponse, RpcError> {
        let request = ValidateCapabilities::try_from(&message)?;
        let handle = request.volume.ok_or(LookError::Absent)?;
        exists(&self.shared.efs(&request.secrets), &handle).await?;
        Ok(message::validated(message, request.problem.as_ref()))
    }
}

/// Whether the volume exists.
async fn exists<C: Efs>(efs: &C, handle: &VolumeHandle) -> Result<(), LookError> {
    let until = Instant::now() + LOOK;
    let file_system = handle.file_system();
    let gone = |state| matches!(state, LifeCycleState::Deleting | LifeCycleState::Deleted);
    let there = if let Some(id) = handle.access_point() {
        let query = AccessPointQuery::Id(id.clone());
        let look = || efs.describe_access_points(query.clone());
        let shown = |found: &csi_core::efs::AccessPoint| {
            found.id == *id && found.file_system == *file_system && !gone(found.state)
        };
        repeat(until, look).await.map(|page| page.items.iter().any(shown))
    } else {
        let look = || efs.describe_file_system(file_system.clone());
        repeat(until, look).await.map(|found| !gone(found.state))
    };
    match there.map_err(|failed| failed.error) {
        Ok(true) => Ok(()),
        Ok(false) => Err(LookError::Absent),
        Err(error) => match error.kind {
            ErrorKind::AccessPointNotFound
            | ErrorKind::FileSystemNotFound
            // EFS takes fewer ids for well-formed than the driver's grammar.
            | ErrorKind::InvalidParameter => Err(LookError::Absent),
            _ => Err(LookError::Failed(error)),
        },
    }
}
