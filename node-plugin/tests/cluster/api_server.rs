//! A small API server: Node, `CSINode` and `VolumeAttachment` objects, lists in pages, watches
//! from a version, JSON patches with `test`, and refusals. It keeps the raw JSON, so that clients
//! meet fields that they do not know.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::future::ready;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use futures_util::StreamExt;
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio::task::JoinHandle;

pub(crate) const NODE: &str = "ip-10-0-0-7.ec2.internal";

/// A kind of objects, as the path names it.
pub(crate) type Kind = &'static str;
pub(crate) const NODES: Kind = "nodes";
pub(crate) const CSI_NODES: Kind = "csinodes";
pub(crate) const ATTACHMENTS: Kind = "volumeattachments";

/// Events kept for watches that begin in the past.
const HISTORY: usize = 10_000;

#[derive(Debug, Clone)]
struct Event {
    version: u64,
    kind: Kind,
    line: Bytes,
}

/// What happens right before a patch is applied.
type BeforePatch = Box<dyn FnMut(&mut State) + Send>;

#[derive(Default)]
pub(crate) struct State {
    version: u64,
    objects: BTreeMap<(Kind, String), Value>,
    history: VecDeque<Event>,
    live: Option<broadcast::Sender<Event>>,
    /// Requests so far, as `GET nodes`, `LIST volumeattachments`, `WATCH nodes`, `PATCH nodes`.
    pub(crate) calls: Vec<String>,
    /// Requests that are answered with this status.
    pub(crate) refuse: BTreeMap<&'static str, StatusCode>,
    pub(crate) before_patch: Option<BeforePatch>,
}

impl State {
    pub(crate) fn put(&mut self, kind: Kind, mut object: Value) {
        self.version += 1;
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let known = self.objects.insert((kind, name), object.clone()).is_some();
        self.tell(kind, if known { "MODIFIED" } else { "ADDED" }, &object);
    }

    pub(crate) fn delete(&mut self, kind: Kind, name: &str) {
        self.version += 1;
        let object = self.objects.remove(&(kind, name.to_owned())).unwrap();
        self.tell(kind, "DELETED", &object);
    }

    fn tell(&mut self, kind: Kind, what: &str, object: &Value) {
        let line = Bytes::from(format!("{}\n", json!({ "type": what, "object": object })));
        let event = Event { version: self.version, kind, line };
        self.history.push_back(event.clone());
        if self.history.len() > HISTORY {
            self.history.pop_front();
        }
        if let Some(live) = &self.live {
            // Nobody watches: fine.
            let _ = live.send(event);
        }
    }

    pub(crate) fn taints(&self) -> Value {
        self.objects[&(NODES, NODE.to_owned())]["spec"]["taints"].clone()
    }

    pub(crate) fn set_taints(&mut self, taints: Value) {
        let mut node = self.objects[&(NODES, NODE.to_owned())].clone();
        node["spec"]["taints"] = taints;
        self.put(NODES, node);
    }

    pub(crate) fn count(&self, call: &str) -> usize {
        self.calls.iter().filter(|made| *made == call).count()
    }
}

/// The server; it ends with this.
pub(crate) struct ApiServer {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl ApiServer {
    /// Starts with one Node that has these taints.
    pub(crate) async fn start(taints: Value) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut state = State { live: Some(broadcast::channel(1000).0), ..State::default() };
        state.put(
            NODES,
            json!({ "metadata": { "name": NODE }, "spec": { "taints": taints, "podCIDR": "10.1.0.0/24" } }),
        );
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            while let Ok((stream, _peer)) = listener.accept().await {
                let state = Arc::clone(&shared);
                let serve = service_fn(move |request| answer(Arc::clone(&state), request));
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), serve);
                tokio::spawn(connection);
            }
        });
        Self { address, state, task }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn client(&self) -> kube::Client {
        let url = format!("http://{}", self.address).parse().unwrap();
        kube::Client::try_from(kube::Config::new(url)).unwrap()
    }

    /// A kubeconfig that leads here.
    pub(crate) fn kubeconfig(&self) -> String {
        json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "contexts": [{ "name": "test", "context": { "cluster": "test", "user": "test" } }],
            "clusters": [{ "name": "test", "cluster": { "server": format!("http://{}", self.address) } }],
            "users": [{ "name": "test", "user": {} }],
        })
        .to_string()
    }
}

type Answer = Response<BoxBody<Bytes, Infallible>>;

async fn answer(
    state: Arc<Mutex<State>>,
    request: Request<Incoming>,
) -> Result<Answer, Infallible> {
    let path = request.uri().path().to_owned();
    let query: BTreeMap<String, String> = request
        .uri()
        .query()
        .unwrap_or_default()
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.replace("%3D", "=")))
        .collect();
    let method = request.method().clone();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let mut state = state.lock().unwrap();
    let (kind, name) = match path.split('/').collect::<Vec<_>>().as_slice() {
        ["", "api", "v1", "nodes", rest @ ..] => (NODES, rest.first().copied()),
        ["", "apis", "storage.k8s.io", "v1", "csinodes", rest @ ..] => {
            (CSI_NODES, rest.first().copied())
        }
        ["", "apis", "storage.k8s.io", "v1", "volumeattachments", rest @ ..] => {
            (ATTACHMENTS, rest.first().copied())
        }
        _ => return Ok(failure(StatusCode::NOT_FOUND, "no such path")),
    };
    let verb = match (&method, name) {
        (&Method::PATCH, _) => "PATCH",
        (_, Some(_)) => "GET",
        (_, None) if query.contains_key("watch") => "WATCH",
        (_, None) => "LIST",
    };
    let call = format!("{verb} {kind}");
    state.calls.push(call.clone());
    if let Some(code) = state.refuse.get(call.as_str()) {
        return Ok(failure(*code, "refused by the test"));
    }
    Ok(match verb {
        "PATCH" => patch(&mut state, kind, name.unwrap_or_default(), &body),
        "GET" => match state.objects.get(&(kind, name.unwrap_or_default().to_owned())) {
            Some(object) => whole(StatusCode::OK, object),
            None => failure(StatusCode::NOT_FOUND, "no such object"),
        },
        "WATCH" => watch(&state, kind, &query),
        _ => list(&state, kind, &query),
    })
}

fn whole(code: StatusCode, body: &Value) -> Answer {
    let body = Full::new(Bytes::from(body.to_string())).boxed();
    Response::builder().status(code).header("content-type", "application/json").body(body).unwrap()
}

fn failure(code: StatusCode, message: &str) -> Answer {
    // Clients go by the reason.
    let reason = if code == StatusCode::NOT_FOUND { "NotFound" } else { "" };
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason,
        "message": message, "code": code.as_u16(),
    });
    whole(code, &body)
}

fn selected(object: &Value, query: &BTreeMap<String, String>) -> bool {
    let Some(selector) = query.get("fieldSelector") else { return true };
    let name = selector.strip_prefix("metadata.name=").expect("the only selector there is");
    object["metadata"]["name"] == name
}

fn list(state: &State, kind: Kind, query: &BTreeMap<String, String>) -> Answer {
    let from: usize = query.get("continue").map_or(0, |token| token.parse().unwrap());
    let limit: usize = query.get("limit").map_or(usize::MAX, |limit| limit.parse().unwrap());
    let all = state.objects.iter().filter(|((of, _), _)| *of == kind).map(|(_, object)| object);
    let all: Vec<&Value> = all.filter(|object| selected(object, query)).collect();
    let page: Vec<&&Value> = all.iter().skip(from).take(limit).collect();
    let next = from + page.len();
    let token = if next < all.len() { next.to_string() } else { String::new() };
    whole(
        StatusCode::OK,
        &json!({
            "metadata": { "resourceVersion": state.version.to_string(), "continue": token },
            "items": page,
        }),
    )
}

/// All events after the version that the client names, then those to come.
fn watch(state: &State, kind: Kind, query: &BTreeMap<String, String>) -> Answer {
    let after: u64 = query["resourceVersion"].parse().unwrap();
    let past: Vec<Event> =
        state.history.iter().filter(|event| event.version > after).cloned().collect();
    let live = state.live.as_ref().unwrap().subscribe();
    let live = futures_util::stream::unfold(live, async |mut live| {
        live.recv().await.ok().map(|event| (event, live))
    });
    let events = futures_util::stream::iter(past).chain(live);
    let frames = events
        .filter_map(move |event: Event| ready((event.kind == kind).then_some(event.line)))
        .map(|line| Ok::<_, Infallible>(Frame::data(line)));
    let body = BodyExt::boxed(StreamBody::new(Box::pin(frames)));
    Response::builder().header("content-type", "application/json").body(body).unwrap()
}

/// Operations `test` and `replace` of RFC 6902, all or none.
fn patch(state: &mut State, kind: Kind, name: &str, body: &Bytes) -> Answer {
    if let Some(mut hook) = state.before_patch.take() {
        hook(state);
        state.before_patch = Some(hook);
    }
    let Some(mut object) = state.objects.get(&(kind, name.to_owned())).cloned() else {
        return failure(StatusCode::NOT_FOUND, "no such object");
    };
    let operations: Vec<Value> = serde_json::from_slice(body).unwrap();
    for operation in operations {
        let place = object.pointer_mut(operation["path"].as_str().unwrap());
        let value = operation["value"].clone();
        match (operation["op"].as_str().unwrap(), place) {
            ("test", Some(found)) if *found == value => {}
            ("replace", Some(found)) => *found = value,
            _ => {
                let message = "the server rejected our request due to an error in our request";
                return failure(StatusCode::UNPROCESSABLE_ENTITY, message);
            }
        }
    }
    state.put(kind, object.clone());
    whole(StatusCode::OK, &object)
}
