//! The real binary as pre-stop hook, against an API server in this process.

use std::process::{Child, ExitStatus, Stdio};
use std::time::Duration;

use csi_core::EBS_DRIVER_NAME;
use http::StatusCode;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::api_server::{ATTACHMENTS, ApiServer, NODE, NODES};

const PATIENCE: Duration = Duration::from_secs(20);

fn attachment(name: &str, driver: &str, node: &str) -> Value {
    json!({
        "metadata": { "name": name },
        "spec": {
            "attacher": driver,
            "nodeName": node,
            "source": { "persistentVolumeName": format!("pv-{name}") },
        },
        "status": { "attached": true },
    })
}

fn drained() -> Value {
    json!([{ "key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule" }])
}

/// The hook; dropped, it is killed.
struct Hook {
    child: Child,
    _folder: tempfile::TempDir,
}

impl Hook {
    #[expect(clippy::disallowed_methods, reason = "the test starts the product")]
    fn start(server: &ApiServer, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = folder.path().join("kubeconfig");
        std::fs::write(&kubeconfig, server.kubeconfig()).unwrap();
        let child = std::process::Command::new(env!("CARGO_BIN_EXE_csi-node"))
            .arg("pre-stop-hook")
            .arg("--kubeconfig")
            .arg(kubeconfig)
            .args(arguments)
            .env("CSI_NODE_NAME", NODE)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self { child, _folder: folder }
    }

    fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits for its end; returns whether it succeeded, and its log.
    async fn end(mut self) -> (bool, String) {
        let until = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.ended() {
                break status;
            }
            assert!(Instant::now() < until, "the hook does not end");
            sleep(Duration::from_millis(10)).await;
        };
        let mut log = String::new();
        std::io::Read::read_to_string(&mut self.child.stderr.take().unwrap(), &mut log).unwrap();
        (status.success(), log)
    }
}

impl Drop for Hook {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn called(server: &ApiServer, call: &str, times: usize) {
    let until = Instant::now() + PATIENCE;
    while server.state().count(call) < times {
        assert!(Instant::now() < until, "no {call}: {:?}", server.state().calls);
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_node_that_stays_is_not_waited_for_and_no_attachment_is_listed() {
    let server =
        ApiServer::start(json!([{ "key": "example.com/a", "effect": "NoSchedule" }])).await;
    server.state().put(ATTACHMENTS, attachment("a", EBS_DRIVER_NAME, NODE));
    let (success, log) = Hook::start(&server, &[]).end().await;
    assert!(success, "{log}");
    assert_eq!(server.state().calls, ["GET nodes"]);
}

#[tokio::test]
async fn a_drained_node_is_waited_for_until_its_own_volumes_are_gone_with_one_list_in_all() {
    let server = ApiServer::start(drained()).await;
    for name in ["a", "b"] {
        server.state().put(ATTACHMENTS, attachment(name, EBS_DRIVER_NAME, NODE));
    }
    server.state().put(ATTACHMENTS, attachment("foreign", "efs.csi.aws.com", NODE));
    for index in 0..1200 {
        let name = format!("elsewhere-{index}");
        server.state().put(ATTACHMENTS, attachment(&name, EBS_DRIVER_NAME, "another-node"));
    }
    let mut hook = Hook::start(&server, &[]);
    called(&server, "WATCH volumeattachments", 1).await;
    assert_eq!(server.state().count("LIST volumeattachments"), 3, "three pages of 500");
    // Changes of all kinds, and an attachment that comes meanwhile.
    for index in 0..300 {
        server.state().delete(ATTACHMENTS, &format!("elsewhere-{index}"));
    }
    server.state().put(ATTACHMENTS, attachment("c", EBS_DRIVER_NAME, NODE));
    for name in ["a", "foreign", "b"] {
        server.state().delete(ATTACHMENTS, name);
    }
    sleep(Duration::from_millis(300)).await;
    assert!(hook.ended().is_none(), "one volume is attached still");
    server.state().delete(ATTACHMENTS, "c");
    let (success, log) = hook.end().await;
    assert!(success, "{log}");
    assert!(log.contains("pv-a, pv-b"), "{log}");
    assert_eq!(server.state().count("LIST volumeattachments"), 3);
    assert_eq!(server.state().count("WATCH volumeattachments"), 1);
}

#[tokio::test]
async fn a_node_that_is_gone_counts_as_drained_and_foreign_volumes_do_not_hold_it() {
    let server = ApiServer::start(json!([])).await;
    server.state().delete(NODES, NODE);
    server.state().put(ATTACHMENTS, attachment("foreign", "efs.csi.aws.com", NODE));
    server.state().put(ATTACHMENTS, attachment("a", EBS_DRIVER_NAME, NODE));
    let hook = Hook::start(&server, &[]);
    called(&server, "WATCH volumeattachments", 1).await;
    server.state().delete(ATTACHMENTS, "a");
    let (success, log) = hook.end().await;
    assert!(success, "{log}");
}

#[tokio::test]
async fn every_taint_of_a_drain_is_known() {
    for key in [
        "node.kubernetes.io/unschedulable",
        "ToBeDeletedByClusterAutoscaler",
        "karpenter.sh/disrupted",
        "karpenter.sh/disruption",
    ] {
        let server = ApiServer::start(json!([{ "key": key, "effect": "NoSchedule" }])).await;
        let (success, log) = Hook::start(&server, &[]).end().await;
        assert!(success, "{log}");
        assert_eq!(server.state().calls, ["GET nodes", "LIST volumeattachments"], "{key}");
    }
}

#[tokio::test]
async fn a_budget_that_is_over_fails_with_the_volumes_that_are_left() {
    let server = ApiServer::start(drained()).await;
    server.state().put(ATTACHMENTS, attachment("a", EBS_DRIVER_NAME, NODE));
    let (success, log) = Hook::start(&server, &["--budget=1s"]).end().await;
    assert!(!success);
    let says = format!("node {NODE} is drained but 1 of its volumes is attached (pv-a) after 1 s");
    assert!(log.contains(&says), "{log}");
}

#[tokio::test]
async fn an_api_server_that_fails_is_asked_again_and_one_that_denies_ends_the_hook() {
    let server = ApiServer::start(drained()).await;
    server.state().refuse.insert("LIST volumeattachments", StatusCode::INTERNAL_SERVER_ERROR);
    let hook = Hook::start(&server, &[]);
    called(&server, "LIST volumeattachments", 2).await;
    server.state().refuse.clear();
    let (success, log) = hook.end().await;
    assert!(success, "{log}");

    server.state().refuse.insert("LIST volumeattachments", StatusCode::FORBIDDEN);
    let (success, log) = Hook::start(&server, &[]).end().await;
    assert!(!success);
    assert!(log.contains("its ClusterRole lacks a right"), "{log}");
}
