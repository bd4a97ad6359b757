//! The hand-over to a successor, seen from the one that leaves. Until the successor has said that it
//! serves everything, nothing is given up: if it dies before, nothing has happened.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use tokio::time::timeout;

use super::{LONGEST_REQUEST, parse, say};
use crate::control::{Ensure, Reply, Request, Wire};
use crate::worker::Service;

/// How long a successor may take to open what it was handed.
const PATIENCE: Duration = Duration::from_secs(10);

/// Hands every port over. Meanwhile no port is opened or closed.
pub(super) async fn to_successor(mut wire: Wire, service: &Service) {
    let mut ports = service.ports().await;
    let offered = async {
        for port in ports.values() {
            let handed = Ensure {
                identity: port.identity.clone(),
                failover: port.failover(),
                port: Some(port.number),
            };
            let listener = port.listener();
            let listener = listener.as_ref().map(AsFd::as_fd);
            say(&wire, Reply::Handed(Box::new(handed)), listener).await?;
        }
        say(&wire, Reply::Done {}, None).await?;
        taken(&mut wire).await
    };
    match timeout(PATIENCE, offered).await {
        Ok(Ok(true)) => {
            let count = ports.len();
            service.retire(&mut ports);
            drop(ports);
            tracing::info!(ports = count, "handed over to a successor");
            // If it does not hear it, it goes on after a moment.
            let _ = say(&wire, Reply::Done {}, None).await;
        }
        Ok(Ok(false)) => tracing::warn!("a successor did not take over"),
        Ok(Err(error)) => tracing::warn!(%error, "a successor broke off"),
        Err(_elapsed) => tracing::warn!("a successor took too long"),
    }
}

async fn taken(wire: &mut Wire) -> io::Result<bool> {
    let line = wire.read(LONGEST_REQUEST).await?;
    Ok(line.is_some_and(|line| matches!(parse(&line.text), Ok(Request::Taken {}))))
}
