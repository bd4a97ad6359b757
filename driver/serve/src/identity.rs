//! The Identity service, the same for every plugin.

use std::fmt;
use std::sync::Arc;

use csi_proto::csi::identity_server::IdentityServer;
use csi_proto::csi::plugin_capability::{
    self, Service, VolumeExpansion, service, volume_expansion,
};
use csi_proto::csi::{
    GetPluginCapabilitiesRequest, GetPluginCapabilitiesResponse, GetPluginInfoRequest,
    GetPluginInfoResponse, PluginCapability, ProbeRequest, ProbeResponse, identity_server,
};
use tonic::{Request, Response, Status};

/// What a plugin says of its state when it is probed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// It serves.
    Ready,
    /// It is still starting; the CO asks again.
    Starting,
    /// It cannot serve, for this reason; the CO restarts it.
    Broken(String),
}

/// Name, version and abilities of a plugin.
#[derive(Clone)]
pub struct Identity {
    /// Name of the driver, `ebs.csi.aws.com`.
    pub name: &'static str,
    /// Version of the plugin.
    pub version: &'static str,
    /// Services besides Identity, as `PluginCapability.Service`.
    pub services: &'static [service::Type],
    /// Ways to expand, as `PluginCapability.VolumeExpansion`.
    pub expansion: &'static [volume_expansion::Type],
    /// Asked at each probe; must answer from memory.
    pub readiness: Arc<dyn Fn() -> Readiness + Send + Sync>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("name", &self.name)
            .field("version", &self.version)
            .field("services", &self.services)
            .field("expansion", &self.expansion)
            .finish_non_exhaustive()
    }
}

impl Identity {
    /// A plugin that is ready from the start.
    #[must_use]
    pub fn new(
        name: &'static str,
        version: &'static str,
        services: &'static [service::Type],
        expansion: &'static [volume_expansion::Type],
    ) -> Self {
        Self { name, version, services, expansion, readiness: Arc::new(|| Readiness::Ready) }
    }

    /// The same, with `readiness` asked at each probe.
    #[must_use]
    pub fn with_readiness(self, readiness: impl Fn() -> Readiness + Send + Sync + 'static) -> Self {
        Self { readiness: Arc::new(readiness), ..self }
    }

    /// The service, for `Routes`.
    #[must_use]
    pub fn into_service(self) -> IdentityServer<Self> {
        IdentityServer::new(self)
    }

    fn capabilities(&self) -> Vec<PluginCapability> {
        let services = self
            .services
            .iter()
            .map(|&kind| plugin_capability::Type::Service(Service { r#type: kind.into() }));
        let expansion = self.expansion.iter().map(|&kind| {
            plugin_capability::Type::VolumeExpansion(VolumeExpansion { r#type: kind.into() })
        });
        services.chain(expansion).map(|kind| PluginCapability { r#type: Some(kind) }).collect()
    }
}

#[tonic::async_trait]
impl identity_server::Identity for Identity {
    async fn get_plugin_info(
        &self,
        _request: Request<GetPluginInfoRequest>,
    ) -> Result<Response<GetPluginInfoResponse>, Status> {
        Ok(Response::new(GetPluginInfoResponse {
            name: self.name.to_owned(),
            vendor_version: self.version.to_owned(),
            ..GetPluginInfoResponse::default()
        }))
    }

    async fn get_plugin_capabilities(
        &self,
        _request: Request<GetPluginCapabilitiesRequest>,
    ) -> Result<Response<GetPluginCapabilitiesResponse>, Status> {
        let capabilities = self.capabilities();
        Ok(Response::new(GetPluginCapabilitiesResponse { capabilities }))
    }

    /// `FAILED_PRECONDITION` if the plugin cannot serve (CSI specification, "Probe Errors").
    async fn probe(
        &self,
        _request: Request<ProbeRequest>,
    ) -> Result<Response<ProbeResponse>, Status> {
        let ready = match (self.readiness)() {
            Readiness::Ready => true,
            Readiness::Starting => false,
            Readiness::Broken(reason) => return Err(Status::failed_precondition(reason)),
        };
        Ok(Response::new(ProbeResponse { ready: Some(ready) }))
    }
}
