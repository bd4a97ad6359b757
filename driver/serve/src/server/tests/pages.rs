//! Identity, health and metrics as their readers see them.

use csi_proto::csi::identity_client::IdentityClient;
use csi_proto::csi::{GetPluginCapabilitiesRequest, GetPluginInfoRequest, plugin_capability};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::bench::{Bench, PATIENCE};
use crate::http::{Pages, serve};
use crate::{Readiness, health};

/// What a page answers, as `(status, body)`.
async fn get(pages: &Pages, request: &str) -> (u16, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(serve(listener, pages.clone()));
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream
            .write_all(format!("{request} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes())
            .await
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let answer = timeout(PATIENCE, exchange).await.unwrap();
    server.abort();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

#[tokio::test]
async fn identity_tells_name_version_and_services() {
    let bench = Bench::start().await;
    let mut client = IdentityClient::new(health::connect(&bench.endpoint).await.unwrap());
    let info = client.get_plugin_info(GetPluginInfoRequest {}).await.unwrap().into_inner();
    assert_eq!((info.name.as_str(), info.vendor_version.as_str()), ("test.csi", "1.2.3"));
    let answer = client.get_plugin_capabilities(GetPluginCapabilitiesRequest {}).await.unwrap();
    let capabilities = answer.into_inner().capabilities;
    let expected = plugin_capability::Service {
        r#type: plugin_capability::service::Type::ControllerService.into(),
    };
    assert_eq!(capabilities.len(), 1);
    assert_eq!(capabilities[0].r#type, Some(plugin_capability::Type::Service(expected)));
}

#[tokio::test]
async fn health_and_readiness_follow_the_probe_through_the_plugins_own_socket() {
    let bench = Bench::start().await;
    let pages = Pages { plugin: bench.endpoint.clone(), metrics: None };
    for page in ["GET /healthz", "GET /readyz"] {
        assert_eq!(get(&pages, page).await, (200, "ok\n".to_owned()));
    }
    *bench.readiness.lock().unwrap() = Readiness::Starting;
    assert_eq!(get(&pages, "GET /healthz").await, (200, "starting\n".to_owned()));
    assert_eq!(get(&pages, "GET /readyz").await, (503, "starting\n".to_owned()));
    *bench.readiness.lock().unwrap() = Readiness::Broken("no instance id".to_owned());
    let (status, body) = get(&pages, "GET /healthz").await;
    assert_eq!(status, 503);
    assert!(body.ends_with("says FailedPrecondition: no instance id\n"), "{body}");

    std::fs::remove_file(bench.path()).unwrap();
    let (status, body) = get(&pages, "GET /healthz").await;
    assert_eq!(status, 503);
    assert!(body.starts_with("no plugin answers at unix:///"), "{body}");
}

#[tokio::test]
async fn metrics_show_each_call_by_name_and_code_and_only_where_they_are_asked_for() {
    let bench = Bench::start().await;
    bench.create("fine").await.unwrap();
    bench.create("refuse").await.unwrap_err();
    bench.ends(2).await;
    let pages = Pages { plugin: bench.endpoint.clone(), metrics: Some(bench.metrics.clone()) };
    let (status, page) = get(&pages, "GET /metrics").await;
    assert_eq!(status, 200);
    for code in ["OK", "INVALID_ARGUMENT"] {
        let line = format!(
            r#"aws_ebs_csi_rpc_duration_seconds_count{{rpc="CreateVolume",code="{code}"}} 1"#
        );
        assert!(page.contains(&line), "{line} is missing in {page}");
    }
    assert!(page.ends_with("# EOF\n"), "{page}");

    assert_eq!(get(&pages, "POST /metrics").await.0, 405);
    assert_eq!(get(&pages, "GET /").await.0, 404);
    let health_only = Pages { metrics: None, ..pages };
    assert_eq!(get(&health_only, "GET /metrics").await.0, 404);
}
