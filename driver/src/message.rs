//! Answers that both drivers give in the same words.

use csi_core::Invalid;
use csi_proto::csi;
use csi_proto::csi::controller_service_capability::{Rpc, Type, rpc};

pub(crate) fn capability(capability: rpc::Type) -> csi::ControllerServiceCapability {
    let rpc = Rpc { r#type: capability.into() };
    csi::ControllerServiceCapability { r#type: Some(Type::Rpc(rpc)) }
}

pub(crate) fn validated(
    message: csi::ValidateVolumeCapabilitiesRequest,
    problem: Option<&Invalid>,
) -> csi::ValidateVolumeCapabilitiesResponse {
    use csi::validate_volume_capabilities_response::Confirmed;
    match problem {
        Some(problem) => csi::ValidateVolumeCapabilitiesResponse {
            confirmed: None,
            message: problem.to_string(),
        },
        None => csi::ValidateVolumeCapabilitiesResponse {
            confirmed: Some(Confirmed {
                volume_context: message.volume_context,
                volume_capabilities: message.volume_capabilities,
                parameters: message.parameters,
                mutable_parameters: message.mutable_parameters,
            }),
            message: String::new(),
        },
    }
}
