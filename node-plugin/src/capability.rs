//! What a node plugin can do, as a message.

use csi_proto::csi;
use csi_proto::csi::node_service_capability::{Rpc, Type, rpc};

pub(crate) fn capability(kind: rpc::Type) -> csi::NodeServiceCapability {
    csi::NodeServiceCapability { r#type: Some(Type::Rpc(Rpc { r#type: kind.into() })) }
}
