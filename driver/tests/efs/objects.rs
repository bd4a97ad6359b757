//! Ids of file systems in the objects of a cluster, read from a small API server.

use std::sync::Arc;

use csi_controller::efs::Settings;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tonic::Code;

use crate::harness::{Bench, FS, volume};

const PLAIN: &str = "fileSystemIdConfigRef";
const SECRET: &str = "fileSystemIdSecretRef";

/// What the API server answers to a path.
fn answer(path: &str) -> (u16, Value) {
    let status = |code: u16, reason: &str| {
        let message = format!("{path} {reason}");
        (
            code,
            json!({"kind": "Status", "apiVersion": "v1", "status": "Failure",
            "message": message, "reason": reason, "code": code}),
        )
    };
    let object = |kind: &str, data: Value| {
        let metadata = json!({"name": "efs", "namespace": "shop"});
        (200, json!({"kind": kind, "apiVersion": "v1", "metadata": metadata, "data": data}))
    };
    match path {
        "/api/v1/namespaces/shop/configmaps/efs" => {
            object("ConfigMap", json!({"id": format!(" {FS}\n"), "empty": "", "bad": "fs-1,tls"}))
        }
        // fs-92107410, and a word that must not be shown.
        "/api/v1/namespaces/shop/secrets/efs" => {
            object("Secret", json!({"id": "ZnMtOTIxMDc0MTA=", "bad": "aHVzaA=="}))
        }
        "/api/v1/namespaces/shop/secrets/closed" => status(403, "Forbidden"),
        "/api/v1/namespaces/shop/configmaps/broken" => status(500, "InternalError"),
        _ => status(404, "NotFound"),
    }
}

async fn api_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 8_192];
            let length = stream.read(&mut request).await.unwrap_or_default();
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            let path = request.split_whitespace().nth(1).unwrap_or_default();
            let (code, body) = answer(path);
            let body = body.to_string();
            let head = format!(
                "HTTP/1.1 {code} X\r\ncontent-type: application/json\r\nconnection: close\r\n\
                 content-length: {}\r\n\r\n",
                body.len()
            );
            let _gone = stream.write_all(format!("{head}{body}").as_bytes()).await;
        }
    });
    url
}

async fn bench() -> (Bench, Arc<TempDir>) {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let path = folder.path().join("kubeconfig");
    let server = api_server().await;
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    });
    std::fs::write(&path, config.to_string()).unwrap();
    let settings = Settings { kubeconfig: Some(path), ..Settings::default() };
    (Bench::new().another_with(settings), folder)
}

fn wanted(name: &str, parameter: &str, value: &str) -> csi_proto::csi::CreateVolumeRequest {
    let mut message = volume(name);
    message.parameters.remove("fileSystemId");
    message.parameters.insert(parameter.to_owned(), value.to_owned());
    message
}

#[tokio::test]
async fn the_id_is_read_from_a_config_map_or_a_secret() {
    let (bench, _folder) = bench().await;
    for (n, parameter) in [PLAIN, SECRET].into_iter().enumerate() {
        let message = wanted(&format!("pvc-{n}"), parameter, "shop/efs/id");
        let made = bench.create(message).await.unwrap();
        assert!(made.volume_id.starts_with(&format!("efs:{FS}::fsap-")), "{}", made.volume_id);
    }
}

#[tokio::test]
async fn an_object_that_does_not_tell_an_id_is_named_and_a_secrets_value_is_not() {
    let (bench, _folder) = bench().await;
    for (parameter, value, code, text) in [
        (PLAIN, "shop/efs/empty", Code::InvalidArgument, "key empty"),
        (PLAIN, "shop/efs/bad", Code::InvalidArgument, "key bad"),
        (PLAIN, "shop/efs/other", Code::InvalidArgument, "key other"),
        (PLAIN, "shop/none/id", Code::InvalidArgument, "there is no ConfigMap shop/none"),
        (PLAIN, "shop/broken/id", Code::Unavailable, "ConfigMap shop/broken"),
        (SECRET, "shop/efs/bad", Code::InvalidArgument, "Secret shop/efs"),
        (SECRET, "shop/closed/id", Code::Aborted, "fileSystemIdRefs"),
    ] {
        let status = bench.create(wanted("pvc-1", parameter, value)).await.unwrap_err();
        assert_eq!(status.code(), code, "{value}: {status:?}");
        assert!(status.message().starts_with(parameter), "{status:?}");
        assert!(status.message().contains(text), "{status:?}");
        assert!(!status.message().contains("hush"), "{status:?}");
    }
    assert_eq!(bench.access_points(), []);
}

#[tokio::test]
async fn without_a_cluster_the_reference_says_so() {
    let settings = Settings { kubeconfig: Some("/nonexistent".into()), ..Settings::default() };
    let bench = Bench::new().another_with(settings);
    let status = bench.create(wanted("pvc-1", PLAIN, "shop/efs/id")).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("API server"), "{status:?}");
}
