//! The wire: CSI, the older volume modification service and the kubelet's plugin registration, as
//! messages, clients and servers generated from the `.proto` files of this crate.
//!
//! Two things come from the same descriptors, so that they follow the specification by
//! construction: a message with a field marked `csi_secret` has a `Debug` that counts its secrets
//! instead of printing them, and [`Rpc`] names every call.
//!
//! A server trait answers `UNIMPLEMENTED` to every call that its implementation leaves out.

mod rpc;

pub use generated::{csi, modify, registration};
pub use rpc::Rpc;

/// The descriptors of all `.proto` files here and of those they import, as an encoded
/// `google.protobuf.FileDescriptorSet`, options included and comments left out.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

mod generated {
    #![allow(
        missing_docs,
        unused_qualifications,
        clippy::pedantic,
        clippy::allow_attributes_without_reason,
        clippy::clone_on_ref_ptr,
        reason = "written by prost and tonic; what the names mean, the specifications say"
    )]

    /// Container Storage Interface 1.13, package `csi.v1`.
    pub mod csi {
        tonic::include_proto!("csi.v1");

        include!(concat!(env!("OUT_DIR"), "/redact.rs"));
    }

    /// Volume modification as `volume-modifier-for-k8s` calls it, package `modify.v1`.
    pub mod modify {
        tonic::include_proto!("modify.v1");
    }

    /// The kubelet's plugin registration, package `pluginregistration`.
    pub mod registration {
        tonic::include_proto!("pluginregistration");
    }
}
