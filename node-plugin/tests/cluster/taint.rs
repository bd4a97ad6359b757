//! The start-up taint, against an API server whose list of taints others change too.

use std::time::Duration;

use csi_core::EBS_DRIVER_NAME;
use csi_node::cluster::taint::{EBS_TAINT, StartupTaint};
use http::StatusCode;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::api_server::{ApiServer, CSI_NODES, NODE, State};

const PATIENCE: Duration = Duration::from_secs(20);

fn taint(key: &str, effect: &str) -> Value {
    json!({ "key": key, "effect": effect })
}

fn csi_node(driver: &str, count: Option<u32>) -> Value {
    let mut entry = json!({ "name": driver, "nodeID": "i-0123456789abcdef0", "topologyKeys": [] });
    if let Some(count) = count {
        entry["allocatable"] = json!({ "count": count });
    }
    json!({ "metadata": { "name": NODE }, "spec": { "drivers": [entry] } })
}

/// The plugin's task; it ends with this.
struct Watcher(JoinHandle<()>);

impl Watcher {
    fn start(server: &ApiServer) -> Self {
        let taint = StartupTaint {
            node: NODE.to_owned(),
            driver: EBS_DRIVER_NAME,
            key: EBS_TAINT,
            limited: true,
        };
        let client = server.client();
        Self(tokio::spawn(async move { taint.keep_away(client).await }))
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Waits until the server is as described.
async fn until(server: &ApiServer, what: &str, holds: impl Fn(&State) -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds(&server.state()) {
        assert!(Instant::now() < end, "{what}: {:?}", server.state().calls);
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn the_taint_goes_when_the_driver_is_registered_with_a_number_of_volumes_and_not_before() {
    let other = taint("example.com/gpu", "NoSchedule");
    let before = json!([other, taint(EBS_TAINT, "NoExecute"), taint(EBS_TAINT, "NoSchedule")]);
    let server = ApiServer::start(before.clone()).await;
    let _watcher = Watcher::start(&server);
    for (step, entry) in
        [(1, csi_node("efs.csi.aws.com", Some(9))), (2, csi_node(EBS_DRIVER_NAME, None))]
    {
        until(&server, "looks for the CSINode", |state| state.count("GET csinodes") > step).await;
        assert_eq!(server.state().taints(), before);
        server.state().put(CSI_NODES, entry);
    }
    let seen = server.state().count("GET csinodes");
    until(&server, "looks again", |state| state.count("GET csinodes") > seen).await;
    assert_eq!(server.state().count("PATCH nodes"), 0);
    server.state().put(CSI_NODES, csi_node(EBS_DRIVER_NAME, Some(25)));
    until(&server, "takes the taint away", |state| state.taints() == json!([other])).await;
    assert_eq!(server.state().count("PATCH nodes"), 1);
}

#[tokio::test]
async fn taints_that_others_add_and_remove_meanwhile_are_neither_lost_nor_brought_back() {
    let server = ApiServer::start(json!([
        taint("node.kubernetes.io/not-ready", "NoSchedule"),
        taint(EBS_TAINT, "NoSchedule"),
    ]))
    .await;
    server.state().put(CSI_NODES, csi_node(EBS_DRIVER_NAME, Some(25)));
    // Between our read and our write, another writer changes the list, three times. Its entries
    // have a field that this client's types do not know.
    let mut round = 0;
    server.state().before_patch = Some(Box::new(move |state: &mut State| {
        round += 1;
        if round <= 3 {
            let mut foreign = taint(&format!("example.com/round-{round}"), "NoSchedule");
            foreign["timeAdded"] = json!("2026-01-02T03:04:05Z");
            foreign["futureField"] = json!({ "a": 1 });
            state.set_taints(json!([taint(EBS_TAINT, "NoSchedule"), foreign]));
        }
    }));
    let _watcher = Watcher::start(&server);
    let done = |state: &State| {
        let taints = state.taints();
        taints.as_array().unwrap().iter().all(|taint| taint["key"] != EBS_TAINT)
    };
    until(&server, "takes the taint away", done).await;
    let taints = server.state().taints();
    assert_eq!(taints.as_array().unwrap().len(), 1, "{taints}");
    assert_eq!(taints[0]["key"], "example.com/round-3");
    assert_eq!(taints[0]["futureField"], json!({ "a": 1 }));
    assert_eq!(server.state().count("PATCH nodes"), 4);
}

#[tokio::test]
async fn a_taint_that_is_put_on_late_goes_too_without_the_node_being_polled() {
    let server = ApiServer::start(json!([])).await;
    server.state().put(CSI_NODES, csi_node(EBS_DRIVER_NAME, Some(25)));
    let _watcher = Watcher::start(&server);
    until(&server, "watches", |state| state.count("WATCH nodes") == 1).await;
    assert_eq!(server.state().count("GET nodes"), 0);
    for _ in 0..2 {
        server.state().set_taints(json!([taint(EBS_TAINT, "NoSchedule")]));
        until(&server, "takes the taint away", |state| state.taints() == json!([])).await;
    }
    assert_eq!(server.state().count("LIST nodes"), 1);
    assert_eq!(server.state().count("WATCH nodes"), 1);
}

#[tokio::test]
async fn an_api_server_that_fails_is_asked_again_and_one_that_denies_is_left_alone() {
    let server = ApiServer::start(json!([taint(EBS_TAINT, "NoSchedule")])).await;
    server.state().put(CSI_NODES, csi_node(EBS_DRIVER_NAME, Some(25)));
    server.state().refuse.insert("LIST nodes", StatusCode::INTERNAL_SERVER_ERROR);
    let watcher = Watcher::start(&server);
    until(&server, "asks again", |state| state.count("LIST nodes") >= 2).await;
    server.state().refuse.clear();
    until(&server, "takes the taint away", |state| state.taints() == json!([])).await;
    drop(watcher);

    for call in ["LIST nodes", "WATCH nodes", "GET csinodes", "PATCH nodes"] {
        server.state().set_taints(json!([taint(EBS_TAINT, "NoSchedule")]));
        server.state().refuse = [(call, StatusCode::FORBIDDEN)].into();
        if call == "WATCH nodes" {
            server.state().set_taints(json!([]));
        }
        let mut watcher = Watcher::start(&server);
        timeout(PATIENCE, &mut watcher.0).await.expect("it ends").unwrap();
        assert_eq!(server.state().calls.last().map(String::as_str), Some(call));
    }
}
