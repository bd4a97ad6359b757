//! The instance metadata service, version 2 only, of one instance per port.
//! Source: EC2 user guide, "Use the Instance Metadata Service to access instance metadata".

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use csi_core::InstanceId;
use http::{HeaderValue, Method, Response, StatusCode};
use http_body_util::Full;
use jiff::Timestamp;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::credentials::Credential;
use super::shape::ACCOUNT;
use super::{Answer, App, Call, Handler, body, plain, serve, session};
use crate::world::InstanceRecord;

const TTL: &str = "x-aws-ec2-metadata-token-ttl-seconds";
const TOKEN: &str = "x-aws-ec2-metadata-token";
/// Six hours.
const TTL_MOST: u64 = 21_600;
/// How long a role's sessions last.
const SECONDS: u32 = 21_600;
/// Seconds before its end at which a session is no longer handed out.
const RENEWED: i64 = 300;

/// The metadata service of one instance.
#[derive(Debug)]
pub struct Imds {
    app: App,
    instance: InstanceId,
    /// Until when each token is good.
    tokens: Mutex<BTreeMap<String, Instant>>,
    /// The session that is handed out until it is nearly over.
    session: Mutex<Option<Credential>>,
}

impl Imds {
    /// The service that `instance` sees.
    #[must_use]
    pub fn new(app: &App, instance: InstanceId) -> Self {
        Self { app: app.clone(), instance, tokens: Mutex::default(), session: Mutex::default() }
    }

    /// Answers connections until the listener fails.
    pub async fn serve(self, listener: TcpListener) -> io::Error {
        serve(listener, Arc::new(self)).await
    }

    fn new_token(&self, call: &Call) -> Response<Full<bytes::Bytes>> {
        // A request that came through a proxy is not from the instance itself.
        if call.headers().contains_key("x-forwarded-for") {
            return plain(StatusCode::FORBIDDEN, "Forbidden");
        }
        let ttl = call.headers().get(TTL).and_then(|value| value.to_str().ok()?.parse().ok());
        let Some(ttl) = ttl.filter(|ttl| (1..=TTL_MOST).contains(ttl)) else {
            return plain(StatusCode::BAD_REQUEST, "Bad Request");
        };
        let token = self.app.sim().with(|world, _| world.request_id());
        let until = Instant::now() + Duration::from_secs(ttl);
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).insert(token.clone(), until);
        let mut response = plain(StatusCode::OK, &token);
        response.headers_mut().insert(TTL, HeaderValue::from(ttl));
        response
    }

    fn is_allowed(&self, call: &Call) -> bool {
        let tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        let token = call.headers().get(TOKEN).and_then(|value| value.to_str().ok());
        token.and_then(|token| tokens.get(token)).is_some_and(|until| *until > Instant::now())
    }

    fn tree(&self) -> Option<BTreeMap<String, String>> {
        let (record, zone_id) = self.app.sim().with(|world, _| {
            let record = world.instance(&self.instance)?.clone();
            let zone = world.zones().into_iter().find(|zone| zone.name == record.zone);
            Some((record, zone.map(|zone| zone.id).unwrap_or_default()))
        })?;
        let mut tree = tree(&record, &zone_id, self.app.region());
        if let Some(role) = record.role
            && let Some((name, credential)) = self.session(&role)
        {
            let path = format!("meta-data/iam/security-credentials/{name}");
            tree.insert(path, format!("{:#}", session::document(&credential)));
        }
        Some(tree)
    }

    /// The role's name and a session of it.
    fn session(&self, role: &str) -> Option<(String, Credential)> {
        let mut last = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let soon = Timestamp::now().as_second() + RENEWED;
        let held = last.take().filter(|known| known.expires.is_some_and(|end| end > soon));
        let (name, credential) = self.app.sim().with(|world, _| {
            let role = world.role(role)?.clone();
            let begin =
                |world| session::begin(&self.app, world, &role, self.instance.as_str(), SECONDS);
            let credential = held.unwrap_or_else(|| begin(world));
            Some((role.name().to_owned(), credential))
        })?;
        *last = Some(credential.clone());
        drop(last);
        Some((name, credential))
    }

    fn read(&self, path: &str) -> Option<String> {
        let tree = self.tree()?;
        let path = path.trim_start_matches("/latest/");
        if let Some(leaf) = tree.get(path.trim_end_matches('/')) {
            return Some(leaf.clone());
        }
        listing(&tree, path)
    }
}

/// What lies below a folder, each folder with a slash.
fn listing(tree: &BTreeMap<String, String>, path: &str) -> Option<String> {
    let folder = format!("{}/", path.trim_end_matches('/'));
    let below = tree.keys().filter_map(|key| key.strip_prefix(&folder));
    let mut names: Vec<String> = below
        .map(|rest| match rest.split_once('/') {
            Some((name, _)) => format!("{name}/"),
            None => rest.to_owned(),
        })
        .collect();
    names.dedup();
    if names.is_empty() { None } else { Some(names.join("\n")) }
}

fn tree(record: &InstanceRecord, zone_id: &str, region: &str) -> BTreeMap<String, String> {
    let document = json!({
        "accountId": ACCOUNT,
        "architecture": "x86_64",
        "availabilityZone": record.zone,
        "imageId": "ami-0123456789abcdef0",
        "instanceId": record.id.as_str(),
        "instanceType": record.instance_type,
        "pendingTime": "2026-01-01T00:00:00Z",
        "privateIp": "10.0.0.10",
        "region": region,
        "version": "2017-09-30",
    });
    let mut tree: BTreeMap<String, String> = [
        ("instance-id", record.id.to_string()),
        ("instance-type", record.instance_type.clone()),
        ("local-ipv4", "10.0.0.10".to_owned()),
        ("mac", mac(1)),
        ("placement/availability-zone", record.zone.clone()),
        ("placement/availability-zone-id", zone_id.to_owned()),
        ("placement/region", region.to_owned()),
        ("services/domain", "amazonaws.com".to_owned()),
        ("services/partition", "aws".to_owned()),
    ]
    .into_iter()
    .map(|(path, value)| (format!("meta-data/{path}"), value))
    .collect();
    tree.insert("dynamic/instance-identity/document".to_owned(), format!("{document:#}"));
    for n in 1..=record.network_interfaces {
        let path = format!("meta-data/network/interfaces/macs/{}", mac(n));
        tree.insert(format!("{path}/device-number"), (n - 1).to_string());
        tree.insert(format!("{path}/mac"), mac(n));
    }
    for (n, device) in record.boot_devices.iter().enumerate() {
        let name = if n == 0 { "root".to_owned() } else { format!("ebs{n}") };
        tree.insert(format!("meta-data/block-device-mapping/{name}"), device.clone());
        if n == 0 {
            tree.insert("meta-data/block-device-mapping/ami".to_owned(), device.clone());
        }
    }
    tree
}

/// Interfaces' addresses end in a slash in listings, as on EC2.
fn mac(n: u32) -> String {
    format!("0e:00:00:00:00:{n:02x}")
}

impl Handler for Imds {
    async fn answer(&self, call: Call) -> Answer {
        let path = call.uri().path();
        let response = match *call.method() {
            Method::PUT if path == "/latest/api/token" => self.new_token(&call),
            Method::GET if !self.is_allowed(&call) => {
                plain(StatusCode::UNAUTHORIZED, "Unauthorized")
            }
            Method::GET => match self.read(path) {
                Some(text) => body(StatusCode::OK, "text/plain", text),
                None => plain(StatusCode::NOT_FOUND, "Not Found"),
            },
            _ => plain(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed"),
        };
        Some(response)
    }
}
