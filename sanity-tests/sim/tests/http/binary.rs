//! `aws-sim` itself.
#![expect(clippy::disallowed_methods, reason = "the test runs the binary")]

use std::process::Stdio;
use std::time::Duration;

use csi_sim::AdminClient;
use csi_sim::server::Announcement;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn aws_sim_announces_itself_serves_and_ends_on_sigterm() {
    let folder = tempfile::tempdir().unwrap();
    let (seed, address) = (folder.path().join("seed.json"), folder.path().join("address"));
    let node = "i-0123456789abcdef0";
    let instance = format!(r#"{{"id": "{node}", "type": "m5.large", "zone": "z1"}}"#);
    let text = format!(r#"{{"zones": [{{"name": "z1"}}], "instances": [{instance}]}}"#);
    std::fs::write(&seed, text).unwrap();
    let mut sim = Command::new(env!("CARGO_BIN_EXE_aws-sim"))
        .args(["--instant", "--imds", &format!("{node}=0"), "--seed"])
        .arg(&seed)
        .arg("--address-file")
        .arg(&address)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(sim.stdout.take().unwrap()).lines();
    let line = timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap().unwrap();
    assert_eq!(std::fs::read_to_string(&address).unwrap().trim_end(), line);
    let announcement: Announcement = serde_json::from_str(&line).unwrap();
    assert!(announcement.imds.contains_key(node));
    let state = AdminClient::new(&announcement.endpoint).state().await.unwrap();
    assert_eq!(state.instances[node].instance_type, "m5.large");
    let pid = sim.id().unwrap().to_string();
    assert!(Command::new("kill").arg(pid).status().await.unwrap().success());
    let status = timeout(PATIENCE, sim.wait()).await.unwrap().unwrap();
    assert!(status.success(), "{status}");
}
