//! The service on a kernel and a tunnel in memory.

use std::time::Duration;

use csi_proto::csi;
use csi_proto::csi::node_server::Node;
use csi_proto::csi::volume_capability::access_mode::Mode;
use csi_proto::csi::volume_capability::{AccessMode, AccessType, MountVolume};
use csi_serve::Deadline;
use tempfile::TempDir;
use tonic::{Request, Status};

use self::kernel::FakeNfs;
use self::tunnel::FakeTunnel;
use super::info::{Info, Names};
use super::ports::Ports;
use super::publish::MountSettings;
use super::records::Records;
use super::rollback::Rollback;
use super::{EfsNode, Settings};
use crate::metadata::{SourceName, SourceSettings, Sources};

pub(crate) mod kernel;
mod measuring;
mod ports;
mod publishing;
pub(crate) mod tunnel;
mod unpublishing;

const VOLUME: &str = "efs:fs-92107410::fsap-0123456789abcdef0";
const OTHER: &str = "efs:fs-92107411::fsap-0fedcba9876543210";
const PORT: u16 = 20_049;

/// A service with what it works on.
struct Stand {
    kernel: FakeNfs,
    tunnel: FakeTunnel,
    node: EfsNode<FakeNfs, FakeTunnel>,
    folder: TempDir,
}

impl Stand {
    async fn new() -> Self {
        Self::with(FakeNfs::default(), FakeTunnel::default(), None).await
    }

    async fn with(kernel: FakeNfs, tunnel: FakeTunnel, mount_limit: Option<usize>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let node = node(&kernel, &tunnel, &folder, mount_limit).await;
        Self { kernel, tunnel, node, folder }
    }

    /// The same machine after the plugin was killed and started again.
    async fn restarted(self) -> Self {
        let node = node(&self.kernel, &self.tunnel, &self.folder, None).await;
        Self { node, ..self }
    }

    async fn publish(&self, volume: &str, target: &str) -> Result<(), Status> {
        self.call_publish(publish(volume, target), Duration::from_mins(2)).await
    }

    async fn call_publish(
        &self,
        message: csi::NodePublishVolumeRequest,
        limit: Duration,
    ) -> Result<(), Status> {
        let mut request = Request::new(message);
        request.extensions_mut().insert(Deadline::after(limit));
        self.node.node_publish_volume(request).await.map(drop)
    }

    async fn unpublish(&self, target: &str) -> Result<(), Status> {
        self.call_unpublish(target, Duration::from_mins(2)).await
    }

    async fn call_unpublish(&self, target: &str, limit: Duration) -> Result<(), Status> {
        let mut request = Request::new(csi::NodeUnpublishVolumeRequest {
            volume_id: VOLUME.to_owned(),
            target_path: target.to_owned(),
        });
        request.extensions_mut().insert(Deadline::after(limit));
        self.node.node_unpublish_volume(request).await.map(drop)
    }

    /// The names in a folder of the plugin's.
    fn files(&self, folder: &str) -> Vec<String> {
        let files = std::fs::read_dir(self.folder.path().join(folder)).unwrap();
        files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// Nothing is mounted, no directory is left, no port is open, no record is kept.
    fn assert_clean(&self) {
        let state = self.kernel.state();
        assert_eq!((&state.mounts[..], state.folders.len()), (&[][..], 0));
        drop(state);
        assert_eq!(self.tunnel.ports(), [0; 0]);
        assert_eq!(self.files("records"), [""; 0]);
    }
}

async fn node(
    kernel: &FakeNfs,
    tunnel: &FakeTunnel,
    folder: &TempDir,
    mount_limit: Option<usize>,
) -> EfsNode<FakeNfs, FakeTunnel> {
    let sources = Sources::new(SourceSettings {
        order: vec![SourceName::Flags],
        imds: csi_imds::ImdsEndpoint::default(),
        imds_disabled: true,
        node_name: None,
        kubeconfig: None,
        instance: Some("i-0123456789abcdef0".parse().unwrap()),
        instance_type: Some("m5.large".to_owned()),
        zone: Some("us-east-1a".to_owned()),
        region: None,
    });
    let names = Names { suffix: None, check_name: true, ca_file: None };
    let info = Info::start(sources, names, 0).await.unwrap();
    let records = Records::open(folder.path().join("records")).unwrap();
    let rollback = Rollback::new(folder.path().to_owned(), "/k".into());
    let ports = Ports::new(tunnel.clone(), records, rollback);
    let settings = Settings {
        mount: MountSettings { retry_for: Duration::from_secs(45), read_ahead: true },
        unmount_timeout: Duration::from_secs(30),
        mount_limit,
    };
    EfsNode::new(kernel.clone(), ports, info, settings)
}

fn publish(volume: &str, target: &str) -> csi::NodePublishVolumeRequest {
    csi::NodePublishVolumeRequest {
        volume_id: volume.to_owned(),
        target_path: target.to_owned(),
        volume_capability: Some(csi::VolumeCapability {
            access_mode: Some(AccessMode { mode: Mode::MultiNodeMultiWriter.into() }),
            access_type: Some(AccessType::Mount(MountVolume::default())),
        }),
        ..csi::NodePublishVolumeRequest::default()
    }
}

#[tokio::test]
async fn the_node_says_who_it_is_where_it_is_and_what_it_can() {
    let stand = Stand::new().await;
    let info = stand.node.node_get_info(Request::new(csi::NodeGetInfoRequest {})).await;
    let info = info.unwrap().into_inner();
    assert_eq!((&*info.node_id, info.max_volumes_per_node), ("i-0123456789abcdef0", 0));
    let segments = info.accessible_topology.unwrap().segments;
    assert_eq!(segments.len(), 1);
    assert_eq!(segments["topology.kubernetes.io/zone"], "us-east-1a");

    let request = Request::new(csi::NodeGetCapabilitiesRequest {});
    let answer = stand.node.node_get_capabilities(request).await.unwrap().into_inner();
    assert_eq!(answer.capabilities.len(), 1);
    let group = csi::node_service_capability::rpc::Type::VolumeMountGroup;
    assert!(!super::service::CAPABILITIES.contains(&group));
}
