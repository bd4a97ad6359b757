//! Reads the Node service's messages into domain types. After this no message of the protocol is
//! seen, and nothing that breaks a rule has started anything.

use std::path::{Component, Path, PathBuf};

use csi_core::Invalid;
use csi_core::efs::{EfsCapability, InvalidHandle, VolumeHandle};
use csi_core::rpc_error::GrpcCode;
use csi_proto::csi;
use nix::mount::MsFlags;
use tonic::Code;

use super::context::VolumeContext;
use super::options::{Helper, NfsOptions, Options};

/// Why a request is not even tried.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// A field breaks a rule.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The volume id is no handle of EFS.
    #[error("volume_id")]
    Handle(#[from] InvalidHandle),
    /// No volume can have this id, so none is there.
    #[error("no such volume")]
    NoSuchVolume(#[source] InvalidHandle),
    /// The path is relative, so nothing of ours is there.
    #[error("{path:?}: no volume is at a relative path")]
    NotThere {
        /// The path as it came.
        path: String,
    },
}

impl GrpcCode for RequestError {
    fn code(&self) -> Code {
        match self {
            Self::Invalid(_) | Self::Handle(_) => Code::InvalidArgument,
            Self::NoSuchVolume(_) | Self::NotThere { .. } => Code::NotFound,
        }
    }
}

/// `NodePublishVolume`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// The volume.
    pub handle: VolumeHandle,
    /// Where.
    pub target: PathBuf,
    /// How its file system is reached.
    pub context: VolumeContext,
    /// The same, as mount flags say it.
    pub helper: Helper,
    /// How it is mounted.
    pub nfs: NfsOptions,
}

/// `NodeUnpublishVolume`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpublish {
    /// Where.
    pub target: PathBuf,
}

/// `NodeGetVolumeStats`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stats {
    /// The volume.
    pub handle: VolumeHandle,
    /// Where it is published.
    pub path: PathBuf,
}

impl Publish {
    /// Reads the message.
    ///
    /// # Errors
    /// The first field that breaks a rule.
    pub fn parse(message: &csi::NodePublishVolumeRequest) -> Result<Self, RequestError> {
        present("volume_id", &message.volume_id)?;
        let target = absolute("target_path", &message.target_path)?;
        let capability = EfsCapability::parse(message.volume_capability.as_ref())?;
        let context = VolumeContext::parse(&message.volume_context)?;
        let handle: VolumeHandle = message.volume_id.parse()?;
        let Options { helper, mut nfs } = Options::parse(&capability.flags)?;
        if message.readonly || capability.is_read_only() {
            nfs.flags |= MsFlags::MS_RDONLY;
        }
        Ok(Self { handle, target, context, helper, nfs })
    }
}

impl Unpublish {
    /// Reads the message. The volume id is not looked at: whatever is mounted for a pod must be
    /// taken away, whoever published it.
    ///
    /// # Errors
    /// The first field that breaks a rule.
    pub fn parse(message: &csi::NodeUnpublishVolumeRequest) -> Result<Self, RequestError> {
        present("volume_id", &message.volume_id)?;
        Ok(Self { target: absolute("target_path", &message.target_path)? })
    }
}

impl Stats {
    /// Reads the message.
    ///
    /// # Errors
    /// The first field that breaks a rule.
    pub fn parse(message: &csi::NodeGetVolumeStatsRequest) -> Result<Self, RequestError> {
        present("volume_id", &message.volume_id)?;
        present("volume_path", &message.volume_path)?;
        let path = absolute("volume_path", &message.volume_path).map_err(|_not_absolute| {
            RequestError::NotThere { path: message.volume_path.clone() }
        })?;
        let handle = message.volume_id.parse().map_err(RequestError::NoSuchVolume)?;
        Ok(Self { handle, path })
    }
}

fn present(field: &'static str, text: &str) -> Result<(), Invalid> {
    if text.is_empty() { Err(Invalid::new(field, "must be set")) } else { Ok(()) }
}

fn absolute(field: &'static str, text: &str) -> Result<PathBuf, Invalid> {
    present(field, text)?;
    let path = Path::new(text);
    let plain = |part| matches!(part, Component::RootDir | Component::Normal(_));
    let is_clean = path.is_absolute() && path.components().all(plain) && !text.contains('\0');
    if is_clean && path.file_name().is_some() {
        Ok(path.components().collect())
    } else {
        Err(Invalid::new(field, format!("must be an absolute path without `..`, got {text:?}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use csi_proto::csi::volume_capability::access_mode::Mode;
    use csi_proto::csi::volume_capability::{AccessMode, AccessType, MountVolume};

    type Change = fn(&mut csi::NodePublishVolumeRequest);

    fn message() -> csi::NodePublishVolumeRequest {
        csi::NodePublishVolumeRequest {
            volume_id: "efs:fs-92107410::fsap-0123456789abcdef0".to_owned(),
            target_path: "/k/pods/1/mount".to_owned(),
            volume_capability: Some(csi::VolumeCapability {
                access_mode: Some(AccessMode { mode: Mode::MultiNodeMultiWriter.into() }),
                access_type: Some(AccessType::Mount(MountVolume::default())),
            }),
            ..csi::NodePublishVolumeRequest::default()
        }
    }

    fn set_mode(message: &mut csi::NodePublishVolumeRequest, mode: Mode) {
        if let Some(capability) = &mut message.volume_capability {
            capability.access_mode = Some(AccessMode { mode: mode.into() });
        }
    }

    #[test]
    fn reading_alone_can_be_asked_for_in_two_ways() {
        assert!(!Publish::parse(&message()).unwrap().nfs.is_read_only());
        let readonly = csi::NodePublishVolumeRequest { readonly: true, ..message() };
        assert!(Publish::parse(&readonly).unwrap().nfs.is_read_only());
        let mut reader = message();
        set_mode(&mut reader, Mode::MultiNodeReaderOnly);
        assert!(Publish::parse(&reader).unwrap().nfs.is_read_only());
    }

    #[test]
    fn a_field_that_breaks_a_rule_is_named() {
        let code = |message: &csi::NodePublishVolumeRequest| {
            let error = Publish::parse(message).unwrap_err();
            (error.code(), csi_core::Chain(&error).to_string())
        };
        let changes: [(Change, &str); 7] = [
            (|m| m.volume_id.clear(), "volume_id"),
            (|m| m.target_path.clear(), "target_path"),
            (|m| m.target_path = "a/b".to_owned(), "target_path"),
            (|m| m.target_path = "/a/../b".to_owned(), "target_path"),
            (|m| m.volume_capability = None, "volume_capability"),
            (|m| m.volume_id.push_str(",tls"), "volume_id"),
            (
                |m| drop(m.volume_context.insert("path".to_owned(), "/".to_owned())),
                "volume_context",
            ),
        ];
        for (change, field) in changes {
            let mut broken = message();
            change(&mut broken);
            let (code, text) = code(&broken);
            assert_eq!(code, Code::InvalidArgument, "{text}");
            assert!(text.starts_with(field), "{text}");
        }
    }

    #[test]
    fn measuring_what_cannot_exist_finds_nothing() {
        let stats = |volume: &str, path: &str| {
            let (volume_id, volume_path) = (volume.to_owned(), path.to_owned());
            let message = csi::NodeGetVolumeStatsRequest {
                volume_id,
                volume_path,
                ..csi::NodeGetVolumeStatsRequest::default()
            };
            Stats::parse(&message).map_err(|error| error.code())
        };
        assert_eq!(stats("", "/k"), Err(Code::InvalidArgument));
        assert_eq!(stats("fs-92107410", ""), Err(Code::InvalidArgument));
        assert_eq!(stats("pvc-1", "/k"), Err(Code::NotFound));
        assert_eq!(stats("fs-92107410", "k"), Err(Code::NotFound));
    }
}
