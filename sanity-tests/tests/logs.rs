//! What the logs hold and what they must not: one line for each call, no secret at any level; and
//! who may talk to the plugins.

use std::collections::BTreeMap;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use csi_proto::csi;
use csi_sim::http::credentials::Credential;
use sanity_tests::calls::{Claim, Placement, Volume, mount};
use sanity_tests::stand::{NODE_ID, NODE_IN_GUEST, Settings, Stand, ZONE, on_shared_stand};
use tokio::task::block_in_place;
use tokio::time::{sleep, timeout};
use tonic::{Response, Status};

const SECRET: &str = "correct-horse-battery-staple";

/// Everything is logged, by libraries too.
fn settings() -> Settings {
    Settings { verbosity: 7, ..Settings::quick() }
}

/// The secrets of a request; the value alone is secret.
fn secrets() -> BTreeMap<String, String> {
    [("password".to_owned(), SECRET.to_owned())].into()
}

/// Calls that were made, by name, and the errors they were answered.
#[derive(Debug, Default)]
struct Made {
    calls: BTreeMap<&'static str, usize>,
    errors: Vec<String>,
}

impl Made {
    fn note<T>(&mut self, rpc: &'static str, answer: Result<Response<T>, Status>) -> Option<T> {
        *self.calls.entry(rpc).or_default() += 1;
        match answer {
            Ok(answer) => Some(answer.into_inner()),
            Err(status) => {
                self.errors.push(format!("{rpc}: {status:?}"));
                None
            }
        }
    }
}

fn create(name: &str) -> csi::CreateVolumeRequest {
    let claim = Claim {
        name: name.to_owned(),
        bytes: 1 << 30,
        zone: ZONE.to_owned(),
        parameters: [].into(),
        capability: mount("ext4"),
        snapshot: None,
    };
    csi::CreateVolumeRequest { secrets: secrets(), ..claim.request() }
}

/// A volume's life in single calls, each with secrets where it has a place for them.
async fn mixed_run(stand: &Stand, made: &mut Made) -> Result<()> {
    let mut controller = stand.controller().raw();
    let bad = csi::CreateVolumeRequest {
        parameters: [("colour".to_owned(), "red".to_owned())].into(),
        ..create("pvc-logs-bad")
    };
    made.note("CreateVolume", controller.create_volume(bad).await);
    let answer = made.note("CreateVolume", controller.create_volume(create("pvc-logs")).await);
    let found = answer.and_then(|answer| answer.volume).context("no volume")?;
    let volume = Volume {
        id: found.volume_id.clone(),
        bytes: found.capacity_bytes,
        context: [].into(),
        zone: ZONE.to_owned(),
    };
    let attach = csi::ControllerPublishVolumeRequest {
        volume_id: volume.id.clone(),
        node_id: NODE_ID.to_owned(),
        volume_capability: Some(mount("ext4")),
        secrets: secrets(),
        ..Default::default()
    };
    let lost = csi::ControllerPublishVolumeRequest {
        node_id: "i-0fedcba9876543210".to_owned(),
        ..attach.clone()
    };
    made.note("ControllerPublishVolume", controller.controller_publish_volume(lost).await);
    let answer = controller.controller_publish_volume(attach).await;
    let answer = made.note("ControllerPublishVolume", answer).context("not attached")?;
    let place = Placement::new(&volume, answer.publish_context, &mount("ext4"), "pod-1");
    on_the_node(stand, made, &place).await?;
    let snapshot = csi::CreateSnapshotRequest {
        source_volume_id: "vol-0fedcba9876543210".to_owned(),
        name: "snapshot-logs".to_owned(),
        secrets: secrets(),
        ..Default::default()
    };
    made.note("CreateSnapshot", controller.create_snapshot(snapshot).await);
    let request = csi::ControllerUnpublishVolumeRequest {
        volume_id: volume.id.clone(),
        node_id: NODE_ID.to_owned(),
        secrets: secrets(),
    };
    let answer = controller.controller_unpublish_volume(request).await;
    made.note("ControllerUnpublishVolume", answer);
    abandoned(stand, made).await?;
    let request = csi::DeleteVolumeRequest { volume_id: volume.id, secrets: secrets() };
    made.note("DeleteVolume", controller.delete_volume(request).await);
    Ok(())
}

async fn on_the_node(stand: &Stand, made: &mut Made, place: &Placement) -> Result<()> {
    let mut node = stand.node().raw();
    let wrong = csi::NodeStageVolumeRequest {
        volume_id: "vol-0fedcba9876543210".to_owned(),
        secrets: secrets(),
        ..place.stage_request()
    };
    made.note("NodeStageVolume", node.node_stage_volume(wrong).await);
    let right = csi::NodeStageVolumeRequest { secrets: secrets(), ..place.stage_request() };
    made.note("NodeStageVolume", node.node_stage_volume(right).await).context("not staged")?;
    let request = csi::NodeUnstageVolumeRequest {
        volume_id: place.volume.clone(),
        staging_target_path: place.staging.display().to_string(),
    };
    made.note("NodeUnstageVolume", node.node_unstage_volume(request).await);
    Ok(())
}

/// A creation whose caller goes away; it is ended later.
async fn abandoned(stand: &Stand, made: &mut Made) -> Result<()> {
    let mut controller = stand.controller().raw();
    let call = controller.create_volume(create("pvc-logs-abandoned"));
    let answer = timeout(Duration::from_millis(50), call).await;
    ensure!(answer.is_err(), "a creation took less than 50 ms: {answer:?}");
    *made.calls.entry("CreateVolume").or_default() += 1;
    let again =
        || async { stand.controller().raw().create_volume(create("pvc-logs-abandoned")).await };
    let mut answer = again().await;
    while let Err(status) = &answer {
        ensure!(status.code() == tonic::Code::Aborted, "{status:?}");
        made.note("CreateVolume", answer);
        sleep(Duration::from_millis(50)).await;
        answer = again().await;
    }
    let answer = made.note("CreateVolume", answer).and_then(|answer| answer.volume);
    let volume_id = answer.context("no volume")?.volume_id;
    let request = csi::DeleteVolumeRequest { volume_id, secrets: secrets() };
    made.note("DeleteVolume", controller.delete_volume(request).await);
    Ok(())
}

/// The value of a field of a log line.
fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let (_, value) = line.split_once(&format!("{name}="))?;
    value.split([' ', '}']).next().map(|value| value.trim_matches('"'))
}

#[test]
fn each_call_has_one_line_with_its_code_and_its_time_and_no_secret_is_in_any_line_or_error()
-> Result<()> {
    on_shared_stand(settings, async |stand| {
        let mut made = Made::default();
        mixed_run(stand, &mut made).await?;
        let logs = [
            ("csi-controller", stand.controller_log()?),
            ("csi-node", stand.node_log()?),
            ("aws-sim", std::fs::read_to_string(stand.bed().run_dir().join("aws-sim.log"))?),
        ];
        let mut ended: BTreeMap<&str, usize> = BTreeMap::new();
        let mut codes: BTreeMap<&str, usize> = BTreeMap::new();
        for line in logs.iter().flat_map(|(_, log)| log.lines()) {
            if !line.contains("call ended") {
                continue;
            }
            let rpc = field(line, "rpc").with_context(|| line.to_owned())?;
            let code = field(line, "code").with_context(|| line.to_owned())?;
            let seconds = field(line, "seconds").with_context(|| line.to_owned())?;
            let seconds: f64 = seconds.parse().with_context(|| line.to_owned())?;
            ensure!((0.0..60.0).contains(&seconds), "{line}");
            *ended.entry(rpc).or_default() += 1;
            *codes.entry(code).or_default() += 1;
        }
        for (rpc, calls) in &made.calls {
            let lines = ended.get(rpc).copied().unwrap_or_default();
            ensure!(lines == *calls, "{calls} calls of {rpc} have {lines} lines");
        }
        ensure!(codes.contains_key("CANCELLED"), "the abandoned call has no line: {codes:?}");
        let bytes: usize = logs.iter().map(|(_, log)| log.len()).sum();
        println!("logs: {:?}, {codes:?}, {} errors, {bytes} bytes", made.calls, made.errors.len());

        ensure!(made.errors.len() >= 4, "too few errors to look into: {:?}", made.errors);
        let key = Credential::well_known().secret;
        let errors = ("an error", made.errors.join("\n"));
        for (name, text) in logs.iter().chain([&errors]) {
            for secret in [SECRET, &*key, "Signature="] {
                let line = text.lines().find(|line| line.contains(secret));
                ensure!(line.is_none(), "{name} shows {secret}: {line:?}");
            }
        }
        Ok(())
    })
}

#[test]
fn nobody_but_their_owner_can_talk_to_the_plugins() -> Result<()> {
    on_shared_stand(settings, async |stand| {
        let socket = std::fs::metadata(stand.bed().run_dir().join("controller.sock"))?;
        ensure!(socket.file_type().is_socket(), "controller.sock is no socket");
        ensure!(socket.mode() & 0o7777 == 0o600, "controller.sock has mode {:o}", socket.mode());
        let mode = format!("stat -c '%F %a' {NODE_IN_GUEST}");
        let mode = block_in_place(|| stand.guest().run(&mode))?;
        ensure!(mode.trim() == "socket 600", "the node's socket is a {mode}");
        Ok(())
    })
}
