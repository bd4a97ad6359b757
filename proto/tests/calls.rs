//! The generated calls: `Rpc` knows every one, and client and server speak to each other.

use std::collections::HashSet;

use csi_proto::csi::controller_client::ControllerClient;
use csi_proto::csi::controller_server::{Controller, ControllerServer};
use csi_proto::csi::{
    CreateVolumeRequest, CreateVolumeResponse, DeleteVolumeRequest, TopologyRequirement, Volume,
};
use csi_proto::{FILE_DESCRIPTOR_SET, Rpc};
use prost_reflect::{DescriptorPool, MethodDescriptor};
use tonic::{Code, Request, Response, Status};

#[test]
fn rpc_knows_every_method_of_every_service_and_no_other() {
    let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).expect("the embedded set is valid");
    let methods: Vec<MethodDescriptor> =
        pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()).collect();

    let mut seen = HashSet::new();
    for method in &methods {
        let service = method.parent_service();
        let path = format!("/{}/{}", service.full_name(), method.name());
        let rpc = Rpc::from_path(&path).unwrap_or_else(|| panic!("{path} is unknown"));
        assert_eq!(rpc.path(), path);
        assert_eq!(rpc.name(), method.name());
        assert_eq!(rpc.service(), service.full_name());
        assert_eq!(rpc.to_string(), method.name());
        assert!(seen.insert(rpc), "{path} shares {rpc:?} with another method");
    }
    assert_eq!(seen, Rpc::ALL.into_iter().collect());
    assert_eq!(methods.len(), Rpc::ALL.len());
}

#[test]
fn rpc_does_not_know_a_path_that_only_resembles_one() {
    for path in ["", "/", "csi.v1.Node/NodeGetInfo", "/csi.v1.Node/NodeGetInfo/", "/csi.v1.Node/"] {
        assert_eq!(Rpc::from_path(path), None, "{path:?}");
    }
    let known = Rpc::from_path("/csi.v1.Controller/ControllerPublishVolume");
    assert_eq!(known, Some(Rpc::ControllerPublishVolume));
    let known = Rpc::from_path("/csi.v1.Controller/CreateVolume");
    assert_eq!(known, Some(Rpc::ControllerCreateVolume));
}

/// Implements one call and leaves all others out.
struct OnlyCreates;

#[tonic::async_trait]
impl Controller for OnlyCreates {
    async fn create_volume(
        &self,
        request: Request<CreateVolumeRequest>,
    ) -> Result<Response<CreateVolumeResponse>, Status> {
        let request = request.into_inner();
        let volume = Volume {
            volume_id: request.name,
            volume_context: request.secrets,
            accessible_topology: request.accessibility_requirements.unwrap_or_default().requisite,
            ..Volume::default()
        };
        Ok(Response::new(CreateVolumeResponse { volume: Some(volume) }))
    }
}

#[tokio::test]
async fn a_request_reaches_the_server_whole_secrets_included() {
    let mut client = ControllerClient::new(ControllerServer::new(OnlyCreates));
    let secrets = [("token".to_owned(), "open-sesame".to_owned())];
    let requisite = vec![csi_proto::csi::Topology {
        segments: [("zone".to_owned(), "eu-west-1a".to_owned())].into(),
    }];
    let request = CreateVolumeRequest {
        name: "pvc-1".to_owned(),
        secrets: secrets.clone().into(),
        accessibility_requirements: Some(TopologyRequirement {
            requisite: requisite.clone(),
            preferred: Vec::new(),
        }),
        ..CreateVolumeRequest::default()
    };

    let answer = client.create_volume(request).await.expect("the call is implemented");
    let volume = answer.into_inner().volume.expect("the server sends a volume");
    assert_eq!(volume.volume_id, "pvc-1");
    assert_eq!(volume.volume_context, secrets.into());
    assert_eq!(volume.accessible_topology, requisite);
}

#[tokio::test]
async fn a_call_that_the_server_leaves_out_is_answered_unimplemented() {
    let mut client = ControllerClient::new(ControllerServer::new(OnlyCreates));

    let answer = client.delete_volume(DeleteVolumeRequest::default()).await;
    assert_eq!(answer.expect_err("nothing implements it").code(), Code::Unimplemented);
}
