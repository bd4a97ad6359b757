//! A metadata service that wants tokens and fails as it is told to.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::endpoint::ImdsEndpoint;

/// What goes wrong.
#[derive(Debug, Clone, Copy, Default)]
pub(super) enum Fault {
    #[default]
    None,
    Absent(&'static str),
    Hang(&'static str),
    Slow(Duration),
    Status(&'static str, u16),
    Once(&'static str, u16),
    Body(&'static str, &'static str),
}

#[derive(Debug, Default)]
struct State {
    fault: Fault,
    tokens: Vec<String>,
    given: usize,
}

impl State {
    fn new_token(&mut self) -> String {
        self.given += 1;
        let token = format!("token-{}", self.given);
        self.tokens.push(token.clone());
        token
    }
}

/// The service; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Fake {
    pub(super) endpoint: ImdsEndpoint,
    state: Arc<Mutex<State>>,
    _tasks: JoinSet<()>,
}

impl Fake {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, Arc::clone(&state)));
        Self { endpoint, state, _tasks: tasks }
    }

    pub(super) fn set(&self, fault: Fault) {
        self.state.lock().unwrap().fault = fault;
    }

    pub(super) fn tokens_given(&self) -> usize {
        self.state.lock().unwrap().given
    }

    pub(super) fn forget_tokens(&self) {
        self.state.lock().unwrap().tokens.clear();
    }
}

async fn serve(listener: TcpListener, state: Arc<Mutex<State>>) {
    let mut clients = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let state = Arc::clone(&state);
        clients.spawn(async move {
            let answer = service_fn(move |request| answer(Arc::clone(&state), request));
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}

async fn answer(
    state: Arc<Mutex<State>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let fault = state.lock().unwrap().fault;
    match fault {
        Fault::Hang(at) if at == path => pending().await,
        Fault::Slow(time) => tokio::time::sleep(time).await,
        Fault::Absent(at) if at == path => return Ok(text(404, "")),
        Fault::Status(at, status) if at == path => return Ok(text(status, "")),
        Fault::Once(at, status) if at == path => {
            state.lock().unwrap().fault = Fault::None;
            return Ok(text(status, ""));
        }
        _ => {}
    }
    if request.method() == Method::PUT && path == "/latest/api/token" {
        return Ok(give_token(&state, &request));
    }
    let token = request.headers().get("x-aws-ec2-metadata-token");
    let token = token.and_then(|token| token.to_str().ok()).unwrap_or_default();
    if !state.lock().unwrap().tokens.iter().any(|given| given == token) {
        return Ok(text(401, "Unauthorized"));
    }
    match fault {
        Fault::Body(at, body) if at == path => Ok(text(200, body)),
        _ => Ok(pages().get(path.as_str()).map_or_else(|| text(404, ""), |page| text(200, page))),
    }
}

fn give_token(state: &Mutex<State>, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let seconds = request.headers().get("x-aws-ec2-metadata-token-ttl-seconds");
    let seconds = seconds.and_then(|seconds| seconds.to_str().ok()?.parse().ok());
    if !seconds.is_some_and(|seconds| (1..=21_600).contains(&seconds)) {
        return text(400, "Bad Request");
    }
    text(200, &state.lock().unwrap().new_token())
}

/// Answers as an m5.large with two interfaces and two data volumes gives them.
fn pages() -> HashMap<&'static str, &'static str> {
    let document = r#"{
  "accountId" : "123456789012",
  "architecture" : "x86_64",
  "availabilityZone" : "us-east-1a",
  "imageId" : "ami-0abcdef1234567890",
  "instanceId" : "i-0123456789abcdef0",
  "instanceType" : "m5.large",
  "marketplaceProductCodes" : null,
  "region" : "us-east-1",
  "version" : "2017-09-30"
}"#;
    HashMap::from([
        (super::DOCUMENT, document),
        (super::MACS, "0e:49:61:0f:c3:11/\n0e:49:61:0f:c3:12/"),
        (super::MAPPING, "ami\nebs1\nebs2\nephemeral0\nroot\nswap"),
        ("/latest/meta-data/block-device-mapping/ami", "/dev/xvda"),
        ("/latest/meta-data/block-device-mapping/root", "/dev/xvda"),
        ("/latest/meta-data/block-device-mapping/ebs1", "sdb"),
        ("/latest/meta-data/block-device-mapping/ebs2", "sdc"),
        ("/latest/meta-data/block-device-mapping/ephemeral0", "sdd"),
    ])
}

fn text(status: u16, body: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::copy_from_slice(body.as_bytes())));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}
