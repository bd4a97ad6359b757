//! After a start: every port of the state on disk is served again, on the same number.

use std::collections::BTreeMap;
use std::io;
use std::net::TcpListener as StdListener;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::sleep;

use super::service::Service;
use crate::control::PortState;
use crate::relay::{Port, bind};
use crate::state::Entry;

/// How often a port is tried that another process still has: an instance that is ending.
const AGAIN: Duration = Duration::from_millis(200);

impl Service {
    /// Opens the ports, with the listeners that the supervisor held if there are any.
    pub(super) async fn restore(&self, entries: Vec<Entry>, held: Vec<(u16, StdListener)>) {
        let mut held: BTreeMap<u16, StdListener> = held.into_iter().collect();
        let mut ports = self.ports().await;
        for entry in entries {
            let number = entry.port;
            let plant = Arc::clone(&self.plant);
            let port = match Port::new(plant, number, entry.identity, entry.failover) {
                Ok(port) => Arc::new(port),
                Err(error) => {
                    let error = crate::chain(&error);
                    tracing::error!(port = number, %error, "the recorded identity is wrong");
                    continue;
                }
            };
            let opened = match held.remove(&number) {
                Some(listener) => TcpListener::from_std(listener),
                None => self.bind_and_hold(number),
            };
            match opened {
                Ok(listener) => port.open(listener),
                Err(error) => tracing::warn!(port = number, %error, "not served yet"),
            }
            ports.insert(number, port);
        }
        // What was adopted is in the record from now on.
        if let Err(error) = self.save(&ports).await {
            let error = crate::chain(&error);
            tracing::warn!(%error, "the ports are not recorded");
        }
        self.plant.issuer.kept.keep_only(|port| ports.contains_key(&port));
        drop(ports);
        // A crash came between the supervisor's copy and the record: nobody was told of the port.
        for port in held.into_keys() {
            self.let_go(port);
        }
    }

    /// Takes the ports that were not free at the start as soon as they are.
    pub(super) async fn rebind(self: Arc<Self>) {
        loop {
            let unbound: Vec<Arc<Port>> = {
                let ports = self.ports().await;
                ports
                    .values()
                    .filter(|port| port.status(false).state == PortState::Unbound)
                    .cloned()
                    .collect()
            };
            if unbound.is_empty() {
                return;
            }
            for port in unbound {
                if let Ok(listener) = self.bind_and_hold(port.number) {
                    port.open(listener);
                    tracing::info!(port = port.number, "served now");
                }
            }
            sleep(AGAIN).await;
        }
    }

    fn bind_and_hold(&self, port: u16) -> io::Result<TcpListener> {
        let listener = bind(port, self.plant.sockets)?;
        self.hold(port, &listener)?;
        Ok(listener)
    }
}
