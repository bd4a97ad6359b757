//! The interface to seed and inspect, below `/_admin/`: JSON, unsigned, for tests and people.

use std::collections::BTreeMap;
use std::time::Duration;

use http::{Method, Response, StatusCode};
use http_body_util::Full;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::credentials::Credential;
use super::web_identity::Issuer;
use super::{App, Call, body, plain};
use crate::seed::Seed;
use crate::targets::TargetScript;
use crate::world::efs::FileSystemSeed;
use crate::world::role::RoleSeed;
use crate::world::{Action, CallRecord, Fault, Settings, Trouble};

/// Where the interface lies.
pub const PREFIX: &str = "/_admin/";

/// `PUT keys`: makes a KMS key unusable or usable again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyChange {
    /// The key, as calls name it.
    pub key: String,
    /// Whether volumes with it vanish.
    pub unusable: bool,
}

/// `PUT latency`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Latency {
    /// Milliseconds that a call takes.
    pub ms: u64,
}

/// Why a request was refused.
enum Refusal {
    NotFound,
    Wrong(String),
}

impl<E: std::error::Error> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self::Wrong(error.to_string())
    }
}

pub(super) fn answer(app: &App, call: &Call) -> Response<Full<bytes::Bytes>> {
    match route(app, call) {
        Ok(value) => body(StatusCode::OK, "application/json", format!("{value:#}\n")),
        Err(Refusal::NotFound) => plain(StatusCode::NOT_FOUND, "no such admin resource\n"),
        Err(Refusal::Wrong(why)) => plain(StatusCode::BAD_REQUEST, &format!("{why}\n")),
    }
}

fn route(app: &App, call: &Call) -> Result<Value, Refusal> {
    let path = call.uri().path().strip_prefix(PREFIX).unwrap_or_default();
    let parts: Vec<&str> = path.split('/').collect();
    match (call.method(), parts.as_slice()) {
        (&Method::GET, _) => read(app, &parts, call.uri().query().unwrap_or_default()),
        (&Method::DELETE, _) => remove(app, &parts),
        (&Method::POST | &Method::PUT | &Method::PATCH, _) => write(app, &parts, call.body()),
        _ => Err(Refusal::NotFound),
    }
}

fn read(app: &App, parts: &[&str], query: &str) -> Result<Value, Refusal> {
    if parts == ["targets"] {
        return Ok(serde_json::to_value(app.targets().reports())?);
    }
    let value = app.sim().with(|world, now| match parts {
        ["health"] => Some(Ok(json!({"now_ms": now}))),
        ["state"] => Some(serde_json::to_value(world.dump(now))),
        ["settings"] => Some(serde_json::to_value(world.settings())),
        ["faults"] => Some(serde_json::to_value(world.faults())),
        ["troubles"] => Some(serde_json::to_value(world.troubles())),
        ["changes"] => Some(serde_json::to_value(world.changes().collect::<Vec<_>>())),
        ["counts"] => Some(serde_json::to_value(world.counts())),
        ["history"] => {
            let only = query.strip_prefix("action=").and_then(Action::from_name);
            let records = world.history();
            let wanted = records.filter(|record| only.is_none_or(|only| record.action == only));
            Some(serde_json::to_value(wanted.collect::<Vec<&CallRecord>>()))
        }
        _ => None,
    });
    Ok(value.ok_or(Refusal::NotFound)??)
}

fn remove(app: &App, parts: &[&str]) -> Result<Value, Refusal> {
    match parts {
        ["faults"] => app.sim().with(|world, _| world.clear_faults()),
        ["history"] => app.sim().with(|world, _| world.reset_history()),
        ["file-systems", id] => app.sim().with(|world, _| world.remove_file_system(id)),
        ["credentials", key] => app.remove_credential(key),
        _ => return Err(Refusal::NotFound),
    }
    Ok(json!({}))
}

fn write(app: &App, parts: &[&str], text: &[u8]) -> Result<Value, Refusal> {
    let sim = app.sim();
    match parts {
        ["seed"] => {
            let instances = parse::<Seed>(text)?.sow(app)?;
            let instances: Vec<String> = instances.iter().map(ToString::to_string).collect();
            return Ok(json!({"instances": instances}));
        }
        ["settings"] => return change_settings(app, text),
        ["faults"] => {
            let faults: Vec<Fault> = one_or_many(text)?;
            sim.with(|world, _| faults.into_iter().for_each(|fault| world.add_fault(fault)));
        }
        ["troubles"] => {
            let troubles: Vec<Trouble> = one_or_many(text)?;
            sim.with(|world, _| troubles.into_iter().for_each(|t| world.add_trouble(t)));
        }
        ["keys"] => {
            let change: KeyChange = parse(text)?;
            sim.with(|world, _| world.set_key_unusable(&change.key, change.unusable));
        }
        ["buckets"] => {
            let buckets: BTreeMap<Action, (u32, u32)> = parse(text)?;
            sim.with(|world, _| {
                for (action, (burst, refill)) in buckets {
                    world.set_bucket(action, burst, refill);
                }
            });
        }
        ["latency"] => app.set_latency(Duration::from_millis(parse::<Latency>(text)?.ms)),
        ["targets"] => {
            let changed = app.targets().script(&parse::<TargetScript>(text)?);
            return Ok(json!({"changed": changed}));
        }
        ["issuers"] => app.set_issuer(parse::<Issuer>(text)?),
        ["roles"] => {
            let role: RoleSeed = parse(text)?;
            sim.with(|world, _| world.set_role(role));
        }
        ["file-systems"] => {
            let seed: FileSystemSeed = parse(text)?;
            sim.with(|world, now| world.set_file_system(&seed, now))?;
        }
        ["credentials"] => app.set_credential(parse::<Credential>(text)?),
        ["instances", id, "reboot"] => {
            let id = id.parse()?;
            sim.with(|world, now| world.reboot(&id, now))?;
        }
        _ => return Err(Refusal::NotFound),
    }
    Ok(json!({}))
}

/// Changes the settings that are named; the others stay.
fn change_settings(app: &App, text: &[u8]) -> Result<Value, Refusal> {
    let changes: serde_json::Map<String, Value> = parse(text)?;
    app.sim().with(|world, _| {
        let mut all = serde_json::to_value(world.settings())?;
        if let Value::Object(all) = &mut all {
            all.extend(changes);
        }
        *world.settings_mut() = serde_json::from_value::<Settings>(all)?;
        Ok(serde_json::to_value(world.settings())?)
    })
}

fn parse<T: DeserializeOwned>(text: &[u8]) -> Result<T, serde_json::Error> {
    serde_json::from_slice(text)
}

fn one_or_many<T: DeserializeOwned>(text: &[u8]) -> Result<Vec<T>, serde_json::Error> {
    match parse::<Value>(text)? {
        Value::Array(many) => many.into_iter().map(serde_json::from_value).collect(),
        one => Ok(vec![serde_json::from_value(one)?]),
    }
}
