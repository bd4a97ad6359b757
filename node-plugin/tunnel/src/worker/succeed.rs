//! The take-over from an instance that is being replaced: its listeners come over its control socket,
//! so that no connection is refused, and it resets its own connections only when this one serves.

use std::io;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::time::timeout;

use super::service::Service;
use crate::control::client::{ask, reply};
use crate::control::{Reply, Request, Wire};
use crate::state::Entry;

/// An instance that does not answer in this time is taken for dead; its ports come free with it.
const PATIENCE: Duration = Duration::from_secs(5);

/// The instance that is replaced, with what it handed over.
#[derive(Debug)]
pub(super) struct Predecessor {
    wire: Wire,
    pub(super) entries: Vec<Entry>,
    listeners: Vec<TcpListener>,
}

impl Predecessor {
    /// Asks the instance that has the control socket; none if there is none.
    pub(super) async fn ask(socket: &Path) -> Option<Self> {
        match timeout(PATIENCE, Self::handed(socket)).await {
            Ok(Ok(predecessor)) => Some(predecessor),
            Ok(Err(error)) => {
                tracing::info!(%error, "no earlier instance to take over from");
                None
            }
            Err(_elapsed) => {
                tracing::warn!("an earlier instance does not hand over");
                None
            }
        }
    }

    async fn handed(socket: &Path) -> io::Result<Self> {
        let mut wire = Wire::new(UnixStream::connect(socket).await?);
        ask(&wire, &Request::HandOver {}, None).await?;
        let (mut entries, mut listeners) = (Vec::new(), Vec::new());
        loop {
            match reply(&mut wire).await? {
                (Reply::Handed(ensure), listener) => {
                    let port = ensure.port.ok_or(io::ErrorKind::InvalidData)?;
                    listeners.extend(listener.map(TcpListener::from));
                    let (identity, failover) = (ensure.identity, ensure.failover);
                    entries.push(Entry { port, identity, failover });
                }
                (Reply::Done {}, _) => return Ok(Self { wire, entries, listeners }),
                (Reply::Refused(refusal), _) => return Err(io::Error::other(refusal)),
                (other, _) => {
                    let words = format!("{other:?} is no part of a hand-over");
                    return Err(io::Error::new(io::ErrorKind::InvalidData, words));
                }
            }
        }
    }

    /// Puts its listeners into the hands of this instance's supervisor.
    pub(super) fn inherit(
        mut self,
        service: &Service,
        listeners: &mut Vec<(u16, TcpListener)>,
    ) -> Self {
        for listener in self.listeners.drain(..) {
            // Which one it is, it says itself: see the module of the wire.
            let Ok(port) = listener.local_addr().map(|address| address.port()) else {
                continue;
            };
            if let Err(error) = service.hold(port, &listener) {
                tracing::warn!(port, %error, "the supervisor does not hold the port");
            }
            listeners.push((port, listener));
        }
        self
    }

    /// Tells it that it may let go.
    pub(super) async fn taken(mut self) {
        let told = async {
            ask(&self.wire, &Request::Taken {}, None).await?;
            reply(&mut self.wire).await
        };
        match timeout(PATIENCE, told).await {
            Ok(Ok(_done)) => tracing::info!(ports = self.entries.len(), "took over"),
            Ok(Err(error)) => tracing::warn!(%error, "the earlier instance left early"),
            Err(_elapsed) => tracing::warn!("the earlier instance does not let go"),
        }
    }
}
