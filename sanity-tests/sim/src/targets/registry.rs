//! The mount targets that run, for whoever inspects or scripts them from outside.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::behaviour::Behaviour;
use super::front::Front;

/// A running mount target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetReport {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its file system.
    pub file_system: String,
    /// Its name in certificates.
    pub name: String,
    /// How it behaves.
    pub behaviour: Behaviour,
    /// Connections accepted so far.
    pub accepted: u64,
    /// Connections open now.
    pub open: usize,
    /// Why clients were not let in, the latest last.
    pub refusals: Vec<String>,
}

/// Which mount targets are to behave how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetScript {
    /// Those of this file system; all if absent.
    #[serde(default)]
    pub file_system: Option<String>,
    /// Those at this address; all if absent.
    #[serde(default)]
    pub address: Option<SocketAddr>,
    /// How.
    pub behaviour: Behaviour,
}

/// The mount targets that run.
#[derive(Debug, Default)]
pub struct Registry(Mutex<BTreeMap<SocketAddr, Arc<Front>>>);

impl Registry {
    fn with<T>(&self, act: impl FnOnce(&mut BTreeMap<SocketAddr, Arc<Front>>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn insert(&self, front: Arc<Front>) {
        self.with(|all| all.insert(front.address, front));
    }

    pub(super) fn remove(&self, address: SocketAddr) {
        self.with(|all| all.remove(&address));
    }

    /// What runs and how it does.
    #[must_use]
    pub fn reports(&self) -> Vec<TargetReport> {
        self.with(|all| {
            let report = |front: &Arc<Front>| TargetReport {
                address: front.address,
                file_system: front.file_system.clone(),
                name: front.name.clone(),
                behaviour: *front.behaviour.borrow(),
                accepted: front.accepted.load(Ordering::Relaxed),
                open: front.open.load(Ordering::Relaxed),
                refusals: front.verifier.refusals().iter().map(ToString::to_string).collect(),
            };
            all.values().map(report).collect()
        })
    }

    /// Changes behaviours: how many mount targets that was.
    pub fn script(&self, script: &TargetScript) -> usize {
        let fits = |front: &&Arc<Front>| {
            script.file_system.as_ref().is_none_or(|id| *id == front.file_system)
                && script.address.is_none_or(|address| address == front.address)
        };
        self.with(|all| {
            let chosen: Vec<_> = all.values().filter(fits).collect();
            for front in &chosen {
                front.behaviour.send_replace(script.behaviour);
            }
            chosen.len()
        })
    }
}
