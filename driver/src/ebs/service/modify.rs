//! The older volume modification service, for clusters whose claims carry annotations.

use csi_core::ebs::Ebs;
use csi_proto::modify;
use csi_proto::modify::modify_server::Modify;
use csi_serve::subject;
use tonic::{Request, Response, Status};

use super::EbsController;

#[tonic::async_trait]
impl<C: Ebs> Modify for EbsController<C> {
    async fn get_csi_driver_modification_capability(
        &self,
        _request: Request<modify::GetCsiDriverModificationCapabilityRequest>,
    ) -> Result<Response<modify::GetCsiDriverModificationCapabilityResponse>, Status> {
        Ok(Response::new(modify::GetCsiDriverModificationCapabilityResponse {}))
    }

    async fn modify_volume_properties(
        &self,
        request: Request<modify::ModifyVolumePropertiesRequest>,
    ) -> Result<Response<modify::ModifyVolumePropertiesResponse>, Status> {
        subject::volume(&request.get_ref().name);
        self.modify(request.into_inner()).await?;
        Ok(Response::new(modify::ModifyVolumePropertiesResponse {}))
    }
}
