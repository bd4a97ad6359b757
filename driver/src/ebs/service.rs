//! The Controller service on the wire: a request is parsed, an operation is run under its claim,
//! the result becomes a message.

mod message;
mod modify;

use std::sync::Arc;

use csi_core::ebs::Ebs;
use csi_core::request::{
    BadRequest, CreateSnapshot, CreateVolume, ExpandVolume, ListSnapshots, ListVolumes,
    ModifyVolume, PublishLocal, PublishVolume, SnapshotOnly, UnpublishVolume, ValidateCapabilities,
    ValidateLocal, VolumeOnly,
};
use csi_core::{Capability, Invalid, RpcError};
use csi_proto::csi;
use csi_proto::csi::controller_server::Controller;
use csi_serve::subject;
use tonic::{Request, Response, Status};

use super::{
    EbsController, Key, create, delete, initialize, list, local, modify as change, publish,
    snapshot,
};
use crate::message as shared;

/// Key of the publish context: the device name that EC2 has for the attachment.
pub const DEVICE_PATH: &str = "devicePath";
/// Key of the publish context: the volume's size in bytes when it was attached. The device has
/// this size or, if the volume was expanded since, a larger one.
pub const VOLUME_SIZE: &str = "volumeSizeBytes";
/// Key of the publish context: the volume behind a node-local handle.
pub const VOLUME_ID: &str = "volumeID";
/// Key of the publish context: release of the oldest kernel that a new file system must suit.
pub const OLDEST_KERNEL: &str = "oldestKernel";

/// What this controller can do.
pub const CAPABILITIES: [csi::controller_service_capability::rpc::Type; 9] = {
    use csi::controller_service_capability::rpc::Type;
    [
        Type::CreateDeleteVolume,
        Type::PublishUnpublishVolume,
        Type::GetVolume,
        Type::CreateDeleteSnapshot,
        Type::ListSnapshots,
        Type::GetSnapshot,
        Type::CloneVolume,
        Type::ExpandVolume,
        Type::ModifyVolume,
    ]
};

/// What it can do beside that if [`Settings::list_volumes`](super::Settings::list_volumes) is set.
pub const LISTING_CAPABILITIES: [csi::controller_service_capability::rpc::Type; 2] = {
    use csi::controller_service_capability::rpc::Type;
    [Type::ListVolumes, Type::ListVolumesPublishedNodes]
};

type Reply<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl<C: Ebs> Controller for EbsController<C> {
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
        Ok(Response::new(self.delete(request.into_inner()).await?))
    }

    async fn controller_publish_volume(
        &self,
        request: Request<csi::ControllerPublishVolumeRequest>,
    ) -> Reply<csi::ControllerPublishVolumeResponse> {
        subject::volume(&request.get_ref().volume_id);
        subject::node(&request.get_ref().node_id);
        Ok(Response::new(self.publish(request.into_inner()).await?))
    }

    async fn controller_unpublish_volume(
        &self,
        request: Request<csi::ControllerUnpublishVolumeRequest>,
    ) -> Reply<csi::ControllerUnpublishVolumeResponse> {
        subject::volume(&request.get_ref().volume_id);
        subject::node(&request.get_ref().node_id);
        Ok(Response::new(self.unpublish(request.into_inner()).await?))
    }

    async fn validate_volume_capabilities(
        &self,
        request: Request<csi::ValidateVolumeCapabilitiesRequest>,
    ) -> Reply<csi::ValidateVolumeCapabilitiesResponse> {
        subject::volume(&request.get_ref().volume_id);
        Ok(Response::new(self.validate(request.into_inner()).await?))
    }

    async fn list_volumes(
        &self,
        request: Request<csi::ListVolumesRequest>,
    ) -> Reply<csi::ListVolumesResponse> {
        if !self.shared.settings.list_volumes {
            return Err(Status::unimplemented("ListVolumes is served with --list-volumes only"));
        }
        Ok(Response::new(self.list_volumes(request.into_inner()).await?))
    }

    async fn controller_get_volume(
        &self,
        request: Request<csi::ControllerGetVolumeRequest>,
    ) -> Reply<csi::ControllerGetVolumeResponse> {
        subject::volume(&request.get_ref().volume_id);
        Ok(Response::new(self.get_volume(request.into_inner()).await?))
    }

    async fn controller_get_capabilities(
        &self,
        _request: Request<csi::ControllerGetCapabilitiesRequest>,
    ) -> Reply<csi::ControllerGetCapabilitiesResponse> {
        let listing = LISTING_CAPABILITIES.iter().filter(|_| self.shared.settings.list_volumes);
        let all = CAPABILITIES.iter().chain(listing);
        let capabilities = all.map(|capability| shared::capability(*capability)).collect();
        Ok(Response::new(csi::ControllerGetCapabilitiesResponse { capabilities }))
    }

    async fn create_snapshot(
        &self,
        request: Request<csi::CreateSnapshotRequest>,
    ) -> Reply<csi::CreateSnapshotResponse> {
        subject::name(&request.get_ref().name);
        subject::volume(&request.get_ref().source_volume_id);
        Ok(Response::new(self.create_snapshot(request.into_inner()).await?))
    }

    async fn delete_snapshot(
        &self,
        request: Request<csi::DeleteSnapshotRequest>,
    ) -> Reply<csi::DeleteSnapshotResponse> {
        subject::snapshot(&request.get_ref().snapshot_id);
        Ok(Response::new(self.delete_snapshot(request.into_inner()).await?))
    }

    async fn list_snapshots(
        &self,
        request: Request<csi::ListSnapshotsRequest>,
    ) -> Reply<csi::ListSnapshotsResponse> {
        subject::snapshot(&request.get_ref().snapshot_id);
        subject::volume(&request.get_ref().source_volume_id);
        Ok(Response::new(self.list_snapshots(request.into_inner()).await?))
    }

    async fn get_snapshot(
        &self,
        request: Request<csi::GetSnapshotRequest>,
    ) -> Reply<csi::GetSnapshotResponse> {
        subject::snapshot(&request.get_ref().snapshot_id);
        Ok(Response::new(self.get_snapshot(request.into_inner()).await?))
    }

    async fn controller_expand_volume(
        &self,
        request: Request<csi::ControllerExpandVolumeRequest>,
    ) -> Reply<csi::ControllerExpandVolumeResponse> {
        subject::volume(&request.get_ref().volume_id);
        Ok(Response::new(self.expand(request.into_inner()).await?))
    }

    async fn controller_modify_volume(
        &self,
        request: Request<csi::ControllerModifyVolumeRequest>,
    ) -> Reply<csi::ControllerModifyVolumeResponse> {
        subject::volume(&request.get_ref().volume_id);
        self.modify(request.into_inner()).await?;
        Ok(Response::new(csi::ControllerModifyVolumeResponse {}))
    }
}

impl<C: Ebs> EbsController<C> {
    async fn create(
        &self,
        message: csi::CreateVolumeRequest,
    ) -> Result<csi::CreateVolumeResponse, RpcError> {
        let source = message.volume_content_source.clone();
        let request = CreateVolume::parse(message, self.shared.settings.invalid_tags)?;
        let key = Key::VolumeName(request.name.clone());
        let work = create::create(Arc::clone(&self.shared), request);
        let created = self.shared.operations.run(key, work).await?;
        subject::volume(&created.volume.id);
        let volume = csi::Volume {
            volume_context: created.spec.context,
            content_source: source,
            ..message::volume(&created.volume)
        };
        Ok(csi::CreateVolumeResponse { volume: Some(volume) })
    }

    async fn delete(
        &self,
        message: csi::DeleteVolumeRequest,
    ) -> Result<csi::DeleteVolumeResponse, RpcError> {
        match VolumeOnly::try_from(message) {
            // What cannot exist is deleted.
            Err(BadRequest::NoSuch(_)) => {}
            Err(BadRequest::Invalid(invalid)) => return Err(invalid.into()),
            Ok(VolumeOnly { volume }) => {
                let key = Key::Delete(volume.clone());
                let work = delete::delete(Arc::clone(&self.shared), volume);
                self.shared.operations.run(key, work).await?;
            }
        }
        Ok(csi::DeleteVolumeResponse {})
    }

    async fn publish(
        &self,
        message: csi::ControllerPublishVolumeRequest,
    ) -> Result<csi::ControllerPublishVolumeResponse, RpcError> {
        if let Some(request) = PublishLocal::parse(&message) {
            let request = request?;
            let volume = local::find(&self.shared, &request).await?;
            return Ok(message::published_locally(&request, &volume, &self.shared.settings));
        }
        let request = PublishVolume::try_from(message)?;
        let context = request.context.clone();
        let key = Key::Attachment(request.volume.clone(), request.instance.clone());
        let work = publish::publish(Arc::clone(&self.shared), request);
        let published = self.shared.operations.run(key, work).await?;
        if context.until_initialized {
            initialize::wait(&self.shared, &published.volume.id).await?;
        }
        Ok(message::published(published, &context, &self.shared.settings))
    }

    async fn unpublish(
        &self,
        message: csi::ControllerUnpublishVolumeRequest,
    ) -> Result<csi::ControllerUnpublishVolumeResponse, RpcError> {
        match UnpublishVolume::try_from(message) {
            // What cannot exist is not attached.
            Err(BadRequest::NoSuch(_)) => {}
            Err(BadRequest::Invalid(invalid)) => return Err(invalid.into()),
            Ok(request) => super::unpublish::unpublish(&self.shared, request).await?,
        }
        Ok(csi::ControllerUnpublishVolumeResponse {})
    }

    async fn validate(
        &self,
        message: csi::ValidateVolumeCapabilitiesRequest,
    ) -> Result<csi::ValidateVolumeCapabilitiesResponse, RpcError> {
        if let Some(request) = ValidateLocal::parse(&message) {
            let request = request?;
            local::enabled(&self.shared)?;
            let unfit = |capability: &Capability| capability.check_node_local().err();
            let problem = request.capabilities.iter().find_map(unfit);
            return Ok(shared::validated(message, problem.as_ref()));
        }
        let request = ValidateCapabilities::try_from(&message)?;
        let volume = list::volume(&self.shared, request.volume).await?;
        let problem = request.capabilities.iter().find_map(|capability| {
            let many = capability.is_multi_attach() && !volume.multi_attach;
            let one_node = || Invalid::new("volume_capability", "the volume attaches to one node");
            capability.check_ebs().err().or_else(|| many.then(one_node))
        });
        Ok(shared::validated(message, problem.as_ref()))
    }

    async fn list_volumes(
        &self,
        message: csi::ListVolumesRequest,
    ) -> Result<csi::ListVolumesResponse, RpcError> {
        let page = list::volumes(&self.shared, ListVolumes::try_from(message)?).await?;
        Ok(csi::ListVolumesResponse {
            entries: page.rows.iter().map(message::volume_entry).collect(),
            next_token: page.next,
        })
    }

    async fn get_volume(
        &self,
        message: csi::ControllerGetVolumeRequest,
    ) -> Result<csi::ControllerGetVolumeResponse, RpcError> {
        let VolumeOnly { volume } = VolumeOnly::try_from(message)?;
        let volume = list::volume(&self.shared, volume).await?;
        Ok(message::got_volume(&volume))
    }

    async fn create_snapshot(
        &self,
        message: csi::CreateSnapshotRequest,
    ) -> Result<csi::CreateSnapshotResponse, RpcError> {
        let request = CreateSnapshot::parse(&message, self.shared.settings.invalid_tags)?;
        let key = Key::SnapshotName(request.name.clone());
        let work = snapshot::create(Arc::clone(&self.shared), request);
        let made = self.shared.operations.run(key, work).await?;
        subject::snapshot(&made.id);
        Ok(csi::CreateSnapshotResponse { snapshot: Some(message::snapshot(&made)) })
    }

    async fn delete_snapshot(
        &self,
        message: csi::DeleteSnapshotRequest,
    ) -> Result<csi::DeleteSnapshotResponse, RpcError> {
        match SnapshotOnly::try_from(message) {
            // What cannot exist is deleted.
            Err(BadRequest::NoSuch(_)) => {}
            Err(BadRequest::Invalid(invalid)) => return Err(invalid.into()),
            Ok(SnapshotOnly { snapshot }) => {
                let key = Key::DeleteSnapshot(snapshot.clone());
                let work = snapshot::delete(Arc::clone(&self.shared), snapshot);
                self.shared.operations.run(key, work).await?;
            }
        }
        Ok(csi::DeleteSnapshotResponse {})
    }

    async fn list_snapshots(
        &self,
        message: csi::ListSnapshotsRequest,
    ) -> Result<csi::ListSnapshotsResponse, RpcError> {
        let request = match ListSnapshots::try_from(message) {
            Ok(request) => request,
            // What cannot exist has no snapshots.
            Err(BadRequest::NoSuch(_)) => return Ok(csi::ListSnapshotsResponse::default()),
            Err(BadRequest::Invalid(invalid)) => return Err(invalid.into()),
        };
        let page = list::snapshots(&self.shared, request).await?;
        Ok(csi::ListSnapshotsResponse {
            entries: page.rows.iter().map(message::snapshot_entry).collect(),
            next_token: page.next,
        })
    }

    async fn get_snapshot(
        &self,
        message: csi::GetSnapshotRequest,
    ) -> Result<csi::GetSnapshotResponse, RpcError> {
        let SnapshotOnly { snapshot } = SnapshotOnly::try_from(message)?;
        let found = list::snapshot(&self.shared, snapshot).await?;
        Ok(csi::GetSnapshotResponse { snapshot: Some(message::snapshot(&found)) })
    }

    async fn expand(
        &self,
        message: csi::ControllerExpandVolumeRequest,
    ) -> Result<csi::ControllerExpandVolumeResponse, RpcError> {
        let request = ExpandVolume::try_from(message)?;
        let is_block = request.is_block;
        let size = change::expand(Arc::clone(&self.shared), request).await?;
        Ok(csi::ControllerExpandVolumeResponse {
            capacity_bytes: size.bytes().to_csi(),
            node_expansion_required: !is_block,
        })
    }

    /// Both services for modification come here.
    async fn modify<M>(&self, message: M) -> Result<(), RpcError>
    where
        ModifyVolume: TryFrom<M, Error = BadRequest>,
    {
        let request = ModifyVolume::try_from(message)?;
        change::modify(Arc::clone(&self.shared), request).await?;
        Ok(())
    }
}
