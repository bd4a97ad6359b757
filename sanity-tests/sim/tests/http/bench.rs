//! A simulated AWS in this process, and a client that signs by its own arithmetic.

use std::ops::Deref;
use std::time::Duration;

use bytes::Bytes;
use csi_sim::http::{App, Imds};
use csi_sim::world::{InstanceSeed, Settings};
use csi_sim::{AdminClient, Seed, Sim, World};
use hmac::{Hmac, Mac};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::TokioExecutor;
use jiff::Timestamp;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

pub(crate) const ZONE: &str = "us-east-1a";

/// A running AWS; it ends with this.
pub(crate) struct Bench {
    caller: Caller,
    pub(crate) node: String,
    pub(crate) imds: String,
    pub(crate) admin: AdminClient,
    pub(crate) sim: Sim,
    _servers: JoinSet<std::io::Error>,
}

impl Deref for Bench {
    type Target = Caller;

    fn deref(&self) -> &Caller {
        &self.caller
    }
}

/// A client that signs.
pub(crate) struct Caller {
    host: String,
    client: Client<HttpConnector, Full<Bytes>>,
}

/// Whose signature a call carries, and when it was made.
pub(crate) struct Signer {
    pub(crate) access_key: String,
    pub(crate) secret: String,
    pub(crate) token: Option<String>,
    pub(crate) region: String,
    pub(crate) at: Timestamp,
}

impl Default for Signer {
    fn default() -> Self {
        Self {
            access_key: "AKIASIMULATED0000000".to_owned(),
            secret: "simulated-aws-has-no-secrets".to_owned(),
            token: None,
            region: "us-east-1".to_owned(),
            at: Timestamp::now(),
        }
    }
}

impl Bench {
    pub(crate) async fn start() -> Self {
        let app = App::new(Sim::new(World::new(Settings::instant(), 1)), "us-east-1");
        app.set_latency(Duration::ZERO);
        let instance =
            InstanceSeed { network_interfaces: 2, ..InstanceSeed::new("m5.large", ZONE) };
        let seed = Seed { instances: vec![instance], ..Seed::usual("us-east-1") };
        let node = seed.sow(&app).unwrap().remove(0);
        let mut servers = JoinSet::new();
        let imds = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let imds_host = imds.local_addr().unwrap().to_string();
        servers.spawn(Imds::new(&app, node.clone()).serve(imds));
        let sim = app.sim().clone();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        servers.spawn(app.serve(listener));
        Self {
            admin: AdminClient::new(&format!("http://{host}")),
            caller: Caller::new(&host),
            sim,
            imds: imds_host,
            node: node.to_string(),
            _servers: servers,
        }
    }

    /// Asks the agent of EKS Pod Identity.
    pub(crate) async fn pod_identity(&self, token: &str) -> (StatusCode, String) {
        let uri = format!("http://{}/v1/credentials", self.caller.host);
        let request = Request::get(uri).header("authorization", token).body(Full::default());
        self.send(request.unwrap()).await.unwrap()
    }

    /// Asks the metadata service.
    pub(crate) async fn metadata(
        &self,
        method: Method,
        path: &str,
        header: (&str, &str),
    ) -> (StatusCode, String) {
        let request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.imds))
            .header(header.0, header.1)
            .body(Full::default());
        self.send(request.unwrap()).await.unwrap()
    }
}

impl Caller {
    /// A client of whatever listens at `host`, `127.0.0.1:PORT`.
    pub(crate) fn new(host: &str) -> Self {
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { host: host.to_owned(), client }
    }

    /// Calls EC2: status and XML.
    pub(crate) async fn ec2(&self, form: &str) -> (StatusCode, String) {
        self.signed("ec2", &format!("{form}&Version=2016-11-15"), &Signer::default()).await.unwrap()
    }

    /// Calls EC2 and wants success.
    pub(crate) async fn ok(&self, form: &str) -> String {
        let (status, xml) = self.ec2(form).await;
        assert_eq!(status, StatusCode::OK, "{xml}");
        xml
    }

    /// Calls EC2 and wants an error: its code.
    pub(crate) async fn refused(&self, form: &str) -> String {
        let (status, xml) = self.ec2(form).await;
        assert!(!status.is_success(), "{xml}");
        element(&xml, "Code")
    }

    pub(crate) async fn signed(
        &self,
        service: &str,
        form: &str,
        signer: &Signer,
    ) -> Result<(StatusCode, String), Error> {
        self.request(Method::POST, service, "/", form, signer).await
    }

    /// Calls EFS: status and JSON. The query must be sorted.
    pub(crate) async fn efs(
        &self,
        method: Method,
        path: &str,
        text: &str,
        signer: &Signer,
    ) -> (StatusCode, Value) {
        let path = format!("/2015-02-01/{path}");
        let asked = self.request(method, "elasticfilesystem", &path, text, signer).await;
        let (status, json) = asked.unwrap();
        (status, serde_json::from_str(&json).unwrap_or_default())
    }

    /// Calls STS without a signature.
    pub(crate) async fn unsigned(&self, form: &str) -> (StatusCode, String) {
        let request = Request::post(format!("http://{}/", self.host))
            .body(Full::new(Bytes::from(form.to_owned())));
        self.send(request.unwrap()).await.unwrap()
    }

    async fn request(
        &self,
        method: Method,
        service: &str,
        uri: &str,
        text: &str,
        signer: &Signer,
    ) -> Result<(StatusCode, String), Error> {
        let stamp = signer.at.strftime("%Y%m%dT%H%M%SZ").to_string();
        let date = &stamp[..8];
        let scope = format!("{date}/{}/{service}/aws4_request", signer.region);
        let hash = |text: &str| hex::encode(Sha256::digest(text));
        let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
        let mut headers = vec![("host", self.host.clone()), ("x-amz-date", stamp.clone())];
        headers.extend(signer.token.iter().map(|token| ("x-amz-security-token", token.clone())));
        headers.sort_unstable();
        let lines: Vec<_> = headers
            .iter()
            .map(|(name, value)| {
                format!(
                    "{name}:{value}
"
                )
            })
            .collect();
        let names = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
        let canonical =
            format!("{method}\n{path}\n{query}\n{}\n{names}\n{}", lines.concat(), hash(text));
        let to_sign = format!("AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{}", hash(&canonical));
        let mut key = format!("AWS4{}", signer.secret).into_bytes();
        for part in scope.split('/').chain([to_sign.as_str()]) {
            let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
            mac.update(part.as_bytes());
            key = mac.finalize().into_bytes().to_vec();
        }
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={}",
            signer.access_key,
            hex::encode(key)
        );
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://{}{uri}", self.host))
            .header("authorization", authorization);
        for (name, value) in headers.iter().filter(|(name, _)| *name != "host") {
            request = request.header(*name, value);
        }
        self.send(request.body(Full::new(Bytes::from(text.to_owned()))).unwrap()).await
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<(StatusCode, String), Error> {
        let response = self.client.request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        Ok((status, String::from_utf8(body.to_vec()).unwrap()))
    }
}

/// The text of the first element of that name.
pub(crate) fn element(xml: &str, name: &str) -> String {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let start = xml.find(&open).unwrap_or_else(|| panic!("no {name} in {xml}")) + open.len();
    let end = xml[start..].find(&close).unwrap() + start;
    xml[start..end].to_owned()
}
