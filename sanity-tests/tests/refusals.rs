//! Requests that can never succeed: the right code, a message with the field and the rule, and not
//! one call to EC2.

use std::fmt::Debug;

use anyhow::{Result, ensure};
use csi_proto::csi;
use csi_proto::csi::controller_client::ControllerClient;
use csi_proto::csi::node_client::NodeClient;
use csi_proto::csi::volume_capability::access_mode::Mode;
use sanity_tests::calls::{Claim, block, mount};
use sanity_tests::stand::{NODE_ID, Settings, Stand, ZONE, on_shared_stand};
use tonic::transport::Channel;
use tonic::{Code, Response, Status};

const GIB: i64 = 1 << 30;
const VOLUME: &str = "vol-0123456789abcdef0";
const STAGING: &str = "/var/lib/kubelet/staging";
const TARGET: &str = "/var/lib/kubelet/target";

/// A request of 4 GiB that would succeed.
fn create() -> csi::CreateVolumeRequest {
    Claim {
        name: "pvc-refused".to_owned(),
        bytes: 4 * GIB,
        zone: ZONE.to_owned(),
        parameters: [("type".to_owned(), "gp3".to_owned())].into(),
        capability: mount("ext4"),
        snapshot: None,
    }
    .request()
}

fn with_parameters(pairs: &[(&str, &str)]) -> csi::CreateVolumeRequest {
    let pairs = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    csi::CreateVolumeRequest { parameters: pairs.collect(), ..create() }
}

fn with_range(required_bytes: i64, limit_bytes: i64) -> csi::CreateVolumeRequest {
    let capacity_range = Some(csi::CapacityRange { required_bytes, limit_bytes });
    csi::CreateVolumeRequest { capacity_range, ..create() }
}

fn with_capability(capability: csi::VolumeCapability) -> csi::CreateVolumeRequest {
    csi::CreateVolumeRequest { volume_capabilities: vec![capability], ..create() }
}

fn in_mode(mode: Mode, capability: csi::VolumeCapability) -> csi::VolumeCapability {
    let access_mode = Some(csi::volume_capability::AccessMode { mode: mode.into() });
    csi::VolumeCapability { access_mode, ..capability }
}

/// What was wrong with the refusals of one test; all are looked at before it fails.
struct Refusals<'a> {
    stand: &'a Stand,
    wrong: Vec<String>,
    asked: u64,
}

impl<'a> Refusals<'a> {
    async fn new(stand: &'a Stand) -> Result<Self> {
        let asked = asked(stand).await?;
        Ok(Self { stand, wrong: Vec::new(), asked })
    }

    fn controller(&self) -> ControllerClient<Channel> {
        self.stand.controller().raw()
    }

    fn node(&self) -> NodeClient<Channel> {
        self.stand.node().raw()
    }

    /// Whether the answer is this code, with these words.
    fn check<T: Debug>(
        &mut self,
        what: &str,
        answer: Result<Response<T>, Status>,
        (code, words): (Code, &[&str]),
    ) {
        match answer {
            Ok(done) => self.wrong.push(format!("{what}: granted: {done:?}")),
            Err(status) => {
                let missing = words.iter().filter(|word| !status.message().contains(**word));
                let missing: Vec<_> = missing.collect();
                if status.code() != code || !missing.is_empty() {
                    let text = format!("{what}: {status}; want {code:?}, missing {missing:?}");
                    self.wrong.push(text);
                }
            }
        }
    }

    async fn create(&mut self, request: csi::CreateVolumeRequest, code: Code, words: &[&str]) {
        let answer = self.controller().create_volume(request).await;
        self.check(&format!("CreateVolume {words:?}"), answer, (code, words));
    }

    async fn end(self) -> Result<()> {
        ensure!(self.wrong.is_empty(), "{:#?}", self.wrong);
        let asked = asked(self.stand).await? - self.asked;
        ensure!(asked == 0, "EC2 was asked {asked} times");
        Ok(())
    }
}

async fn asked(stand: &Stand) -> Result<u64> {
    Ok(stand.admin.counts().await?.values().map(|count| count.calls).sum())
}

fn refused(test: impl AsyncFnOnce(&mut Refusals<'_>) -> Result<()>) -> Result<()> {
    on_shared_stand(Settings::quick, async |stand| {
        let mut refusals = Refusals::new(stand).await?;
        test(&mut refusals).await?;
        refusals.end().await
    })
}

#[test]
fn unknown_parameters_and_bad_values_are_refused_by_name_and_rule() -> Result<()> {
    use Code::InvalidArgument as Invalid;
    refused(async |refusals| {
        for (pairs, words) in [
            (&[("colour", "red")][..], &["colour", "is not a known parameter", "throughput"][..]),
            (&[("iops", "many")], &["iops", "must be a whole number", "many"]),
            (&[("iops", "3000.5")], &["iops", "must be a whole number", "3000.5"]),
            (&[("throughput", "99999999999")], &["throughput", "below 2^31"]),
            (&[("encrypted", "yes")], &["encrypted", "true or false"]),
            (&[("blockSize", "4k -E x")], &["blockSize", "letters and digits"]),
            (&[("tagSpecification_1", "CSIVolumeName=x")], &["tagSpecification_1", "reserved"]),
            (&[("iops", "3000"), ("IOPS", "4000")], &["iops", "is the same parameter as"]),
        ] {
            refusals.create(with_parameters(pairs), Invalid, words).await;
        }
        Ok(())
    })
}

#[test]
fn sizes_that_cannot_be_are_refused_with_the_limit_that_they_break() -> Result<()> {
    refused(async |refusals| {
        let invalid = Code::InvalidArgument;
        let words = ["capacity_range", "limit_bytes 4294967296 is below required_bytes 8589934592"];
        refusals.create(with_range(8 * GIB, 4 * GIB), invalid, &words).await;
        let words = ["capacity_range.required_bytes", "must not be negative", "-1"];
        refusals.create(with_range(-1, 0), invalid, &words).await;
        let words = ["capacity_range", "no whole number of GiB"];
        refusals.create(with_range(4 * GIB + 1, 5 * GIB - 1), Code::OutOfRange, &words).await;
        let words = ["capacity_range", "gp3 volumes have 1 GiB to 65536 GiB"];
        refusals.create(with_range(65_537 * GIB, 0), Code::OutOfRange, &words).await;
        Ok(())
    })
}

#[test]
fn four_thousand_iops_on_four_gib_are_refused_with_the_size_that_they_need() -> Result<()> {
    refused(async |refusals| {
        let invalid = Code::InvalidArgument;
        let words = ["iops", "500 IOPS for each GiB", "4000 IOPS need 8 GiB", "has 4 GiB"];
        let request = with_parameters(&[("type", "gp3"), ("iops", "4000")]);
        refusals.create(request, invalid, &words).await;
        let words = ["throughput", "1000 MiB/s need 4000 IOPS"];
        let request = with_parameters(&[("type", "gp3"), ("throughput", "1000")]);
        refusals.create(request, invalid, &words).await;
        Ok(())
    })
}

#[test]
fn access_that_ebs_does_not_have_is_refused_with_what_to_use_instead() -> Result<()> {
    use Code::InvalidArgument as Invalid;
    refused(async |refusals| {
        let shared = in_mode(Mode::MultiNodeMultiWriter, mount("ext4"));
        let words = ["volume_capability", "ReadWriteMany needs volumeMode Block", "EFS"];
        refusals.create(with_capability(shared), Invalid, &words).await;
        let shared = in_mode(Mode::MultiNodeMultiWriter, block());
        let words = ["volume_capabilities", "io2"];
        refusals.create(with_capability(shared), Invalid, &words).await;
        let readers = in_mode(Mode::MultiNodeReaderOnly, mount("ext4"));
        let words = ["volume_capability", "this access mode is not supported"];
        refusals.create(with_capability(readers), Invalid, &words).await;
        let words = ["volume_capability.mount.fs_type", "ext4, ext3 or xfs", "ntfs"];
        refusals.create(with_capability(mount("ntfs")), Invalid, &words).await;
        let unknown = in_mode(Mode::Unknown, block());
        let words = ["volume_capability.access_mode.mode"];
        refusals.create(with_capability(unknown), Invalid, &words).await;
        Ok(())
    })
}

#[test]
fn the_controllers_missing_fields_are_refused_by_name() -> Result<()> {
    use Code::InvalidArgument as Invalid;
    refused(async |refusals| {
        let nameless = csi::CreateVolumeRequest { name: String::new(), ..create() };
        refusals.create(nameless, Invalid, &["name", "empty"]).await;
        let incapable = csi::CreateVolumeRequest { volume_capabilities: vec![], ..create() };
        refusals.create(incapable, Invalid, &["volume_capabilities", "must not be empty"]).await;
        let mut client = refusals.controller();

        let answer = client.delete_volume(csi::DeleteVolumeRequest::default()).await;
        refusals.check("delete", answer, (Invalid, &["volume_id", "must not be empty"]));
        let answer =
            client.controller_publish_volume(csi::ControllerPublishVolumeRequest::default()).await;
        refusals.check("publish", answer, (Invalid, &["volume_id", "must not be empty"]));
        let nowhere = csi::ControllerPublishVolumeRequest {
            volume_id: VOLUME.to_owned(),
            volume_capability: Some(block()),
            ..Default::default()
        };
        let answer = client.controller_publish_volume(nowhere).await;
        refusals.check("publish", answer, (Invalid, &["node_id", "must not be empty"]));
        let endless = csi::ControllerExpandVolumeRequest {
            volume_id: VOLUME.to_owned(),
            ..Default::default()
        };
        let answer = client.controller_expand_volume(endless).await;
        refusals.check("expand", answer, (Invalid, &["capacity_range", "must be set"]));
        let sourceless =
            csi::CreateSnapshotRequest { name: "snapshot-1".to_owned(), ..Default::default() };
        let answer = client.create_snapshot(sourceless).await;
        refusals.check("snapshot", answer, (Invalid, &["source_volume_id", "must not be empty"]));
        Ok(())
    })
}

#[test]
fn malformed_ids_are_ids_of_nothing_and_never_reach_ec2() -> Result<()> {
    refused(async |refusals| {
        let mut client = refusals.controller();
        for id in ["vol-1", "vol-0123456789ABCDEF0", "i-0123456789abcdef0", "x\u{0}y", "../../etc"]
        {
            let nothing = (Code::NotFound, &["is not a volume id", "17 lower-case hex digits"][..]);
            let publish = csi::ControllerPublishVolumeRequest {
                volume_id: id.to_owned(),
                node_id: NODE_ID.to_owned(),
                volume_capability: Some(block()),
                ..Default::default()
            };
            let answer = client.controller_publish_volume(publish).await;
            refusals.check("publish", answer, nothing);
            let expand = csi::ControllerExpandVolumeRequest {
                volume_id: id.to_owned(),
                capacity_range: Some(csi::CapacityRange { required_bytes: GIB, limit_bytes: 0 }),
                ..Default::default()
            };
            let answer = client.controller_expand_volume(expand).await;
            refusals.check("expand", answer, nothing);
            // What cannot exist is deleted.
            let delete =
                csi::DeleteVolumeRequest { volume_id: id.to_owned(), ..Default::default() };
            client.delete_volume(delete).await?;
        }
        let lost = csi::ControllerPublishVolumeRequest {
            volume_id: VOLUME.to_owned(),
            node_id: "node-7".to_owned(),
            volume_capability: Some(block()),
            ..Default::default()
        };
        let answer = client.controller_publish_volume(lost).await;
        refusals.check("publish", answer, (Code::NotFound, &["node-7", "is not an instance id"]));
        let restore = Claim {
            name: "pvc-refused".to_owned(),
            bytes: GIB,
            zone: ZONE.to_owned(),
            parameters: [].into(),
            capability: block(),
            snapshot: Some("snapshot-7".to_owned()),
        };
        let words = ["snapshot-7", "is not a snapshot id"];
        refusals.create(restore.request(), Code::NotFound, &words).await;
        Ok(())
    })
}

/// A request that would be staged if the volume were attached.
fn stage() -> csi::NodeStageVolumeRequest {
    csi::NodeStageVolumeRequest {
        volume_id: VOLUME.to_owned(),
        staging_target_path: STAGING.to_owned(),
        volume_capability: Some(mount("ext4")),
        ..Default::default()
    }
}

#[test]
fn the_nodes_missing_and_wrong_fields_are_refused_by_name() -> Result<()> {
    use Code::InvalidArgument as Invalid;
    let context = |key: &str, value: &str| [(key.to_owned(), value.to_owned())].into();
    refused(async |refusals| {
        let mut node = refusals.node();
        for (request, words) in [
            (csi::NodeStageVolumeRequest::default(), &["volume_id", "must be set"][..]),
            (
                csi::NodeStageVolumeRequest { staging_target_path: String::new(), ..stage() },
                &["staging_target_path", "must be set"],
            ),
            (
                csi::NodeStageVolumeRequest { staging_target_path: "a/../b".to_owned(), ..stage() },
                &["staging_target_path", "absolute path without `..`"],
            ),
            (
                csi::NodeStageVolumeRequest { volume_capability: None, ..stage() },
                &["volume_capability", "must be set"],
            ),
            (
                csi::NodeStageVolumeRequest {
                    volume_context: context("bytesperinode", "1;reboot"),
                    ..stage()
                },
                &["bytesperinode", "letters and digits only"],
            ),
            (
                csi::NodeStageVolumeRequest {
                    publish_context: context("volumeSizeBytes", "big"),
                    ..stage()
                },
                &["publish_context.volumeSizeBytes", "must be a number of bytes", "big"],
            ),
        ] {
            let answer = node.node_stage_volume(request).await;
            refusals.check("stage", answer, (Invalid, words));
        }
        let pathless = csi::NodePublishVolumeRequest {
            volume_id: VOLUME.to_owned(),
            staging_target_path: STAGING.to_owned(),
            volume_capability: Some(mount("ext4")),
            ..Default::default()
        };
        let answer = node.node_publish_volume(pathless).await;
        refusals.check("publish", answer, (Invalid, &["target_path", "must be set"]));
        let wrong = csi::NodeStageVolumeRequest { volume_id: "vol-1".to_owned(), ..stage() };
        let answer = node.node_stage_volume(wrong).await;
        refusals.check("stage", answer, (Code::NotFound, &["is not a volume id"]));
        let unpublish = csi::NodeUnpublishVolumeRequest {
            target_path: TARGET.to_owned(),
            ..Default::default()
        };
        let answer = node.node_unpublish_volume(unpublish).await;
        refusals.check("unpublish", answer, (Invalid, &["volume_id", "must be set"]));
        Ok(())
    })
}
