//! The real binary over its real socket, killed in the middle of its work.

use std::process::Child;
use std::time::Duration;

use csi_proto::csi;
use csi_proto::csi::node_client::NodeClient;
use csi_serve::{Endpoint, health};
use tokio::time::{Instant, sleep};
use tonic::Status;
use tonic::transport::Channel;

use crate::bed::{Bed, GIB, SERIAL, VOLUME, capability, command, in_namespace, mounts};

/// A running plugin; dropped, it is killed as by `kill -9`.
struct Plugin(Child, NodeClient<Channel>);

impl Plugin {
    async fn start(bed: &Bed) -> Self {
        let socket = bed.path("csi.sock");
        let child = command(env!("CARGO_BIN_EXE_csi-node"))
            .args(["ebs", "--metadata-sources=flags", "--instance-type=m5.large"])
            .args(["--instance-id=i-0123456789abcdef0", "--zone=us-east-1a"])
            .args(["--device-timeout=300ms", "--sysfs", &bed.text("sys")])
            .args(["--endpoint", &bed.text("csi.sock")])
            .spawn()
            .unwrap();
        let endpoint = Endpoint::Unix(socket);
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            match health::connect(&endpoint).await {
                Ok(channel) => return Self(child, NodeClient::new(channel)),
                Err(error) => assert!(Instant::now() < until, "the plugin does not serve: {error}"),
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn stage(&self, bed: &Bed, fs: &str) -> Result<(), Status> {
        let request = csi::NodeStageVolumeRequest {
            volume_id: VOLUME.to_owned(),
            staging_target_path: bed.text("staging"),
            volume_capability: Some(capability(Some(fs), &[])),
            ..csi::NodeStageVolumeRequest::default()
        };
        self.1.clone().node_stage_volume(request).await.map(drop)
    }
}

impl Drop for Plugin {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until a tool has run so often.
async fn ran(bed: &Bed, tool: &str, times: usize) {
    let until = Instant::now() + Duration::from_secs(20);
    while bed.runs(tool) < times {
        assert!(Instant::now() < until, "{tool} did not run");
        sleep(Duration::from_millis(5)).await;
    }
}

/// Kills the plugin while mkfs runs. The mkfs lives on and holds the disk; the next plugin must
/// neither start a second one beside it nor a second one after it.
#[test]
fn a_plugin_killed_during_mkfs_finds_the_file_system_that_its_orphan_finished() {
    in_namespace(
        "restart::a_plugin_killed_during_mkfs_finds_the_file_system_that_its_orphan_finished",
        async |bed| {
            let _disk = bed.disk(GIB, Some(SERIAL));
            // Long before it has opened the disk for itself.
            bed.hook("mkfs.ext4", "sleep 0.7\n");
            let first = Plugin::start(&bed).await;
            let killed = async {
                ran(&bed, "mkfs.ext4", 1).await;
                sleep(Duration::from_millis(300)).await;
            };
            tokio::select! {
                result = first.stage(&bed, "ext4") => panic!("staged too early: {result:?}"),
                () = killed => {}
            }
            drop(first);

            let second = Plugin::start(&bed).await;
            let until = Instant::now() + Duration::from_secs(20);
            while let Err(error) = second.stage(&bed, "ext4").await {
                assert!(Instant::now() < until, "{error}");
                sleep(Duration::from_millis(50)).await;
            }
            assert_eq!(bed.runs("mkfs.ext4"), 1, "mkfs was started twice");
            assert_eq!(mounts(&bed).len(), 1);
        },
    );
}

#[test]
fn a_plugin_killed_at_random_moments_converges_and_formats_once() {
    in_namespace(
        "restart::a_plugin_killed_at_random_moments_converges_and_formats_once",
        async |bed| {
            let _disk = bed.disk(GIB, Some(SERIAL));
            for round in 0..12 {
                let plugin = Plugin::start(&bed).await;
                let moment = sleep(Duration::from_millis(round * 4));
                tokio::select! {
                    _ = plugin.stage(&bed, "ext4") => {}
                    () = moment => {}
                }
            }
            let plugin = Plugin::start(&bed).await;
            let until = Instant::now() + Duration::from_secs(20);
            while let Err(error) = plugin.stage(&bed, "ext4").await {
                assert!(Instant::now() < until, "{error}");
                sleep(Duration::from_millis(50)).await;
            }
            // A mkfs that was begun is not broken off by the death of the plugin.
            assert_eq!(bed.runs("mkfs.ext4"), 1);
            assert_eq!(mounts(&bed).len(), 1);
            std::fs::write(bed.path("staging/file"), "kept").unwrap();
        },
    );
}
