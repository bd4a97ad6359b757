//! The worker's side of the control socket.

mod hand_over;

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use nix::unistd::geteuid;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::protocol::{Envelope, Refusal, RefusalKind, Reply, Request, VERSION};
use super::wire::Wire;
use crate::worker::Service;

/// The longest request, in bytes.
const LONGEST_REQUEST: usize = 64 * 1024;
/// Clients at a time: the node plugin, the probes and a person.
const CLIENTS: usize = 64;
/// How long a client may be silent.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(100);

/// Serves clients until it is stopped.
pub(crate) async fn serve(listener: UnixListener, service: Arc<Service>) {
    let clients = Arc::new(Semaphore::new(CLIENTS));
    loop {
        let Ok(permit) = Arc::clone(&clients).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _address)) => {
                let service = Arc::clone(&service);
                tokio::spawn(async move {
                    let _permit = permit;
                    client(stream, &service).await;
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accepting a control connection failed");
                sleep(PAUSE).await;
            }
        }
    }
}

async fn client(stream: UnixStream, service: &Service) {
    let mut wire = Wire::new(stream);
    // The socket's mode keeps others out; this keeps them out where the mode was changed.
    let user = wire.peer_user();
    if !user.as_ref().is_ok_and(|user| *user == geteuid().as_raw()) {
        tracing::warn!(?user, "a control connection of another user was refused");
        return;
    }
    while let Ok(Ok(Some(line))) = timeout(PATIENCE, wire.read(LONGEST_REQUEST)).await {
        // One that has handed over has nothing to say; the client finds the successor.
        if service.is_retired() {
            return;
        }
        let (body, listener) = match parse(&line.text) {
            Ok(Request::HandOver {}) => return hand_over::to_successor(wire, service).await,
            Ok(request) => service.answer(request, line.descriptor).await,
            Err(refusal) => (Reply::Refused(refusal), None),
        };
        if say(&wire, body, listener.as_ref().map(AsFd::as_fd)).await.is_err() {
            return;
        }
    }
}

/// Sends a reply.
async fn say(wire: &Wire, body: Reply, listener: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let text = serde_json::to_vec(&Envelope { version: VERSION, body })?;
    timeout(PATIENCE, wire.write(&text, listener)).await?
}

fn parse(line: &[u8]) -> Result<Request, Refusal> {
    match serde_json::from_slice::<Envelope<Request>>(line) {
        Ok(envelope) if envelope.version <= VERSION => Ok(envelope.body),
        Ok(Envelope { version, .. }) => Err(newer(version)),
        Err(error) => Err(Refusal {
            kind: RefusalKind::Invalid,
            message: format!("the request cannot be understood: {error}"),
        }),
    }
}

fn newer(version: u32) -> Refusal {
    Refusal {
        kind: RefusalKind::Version,
        message: format!(
            "the request is of version {version}, this efs-tunnel speaks {VERSION}; upgrade the \
             efs-tunnel DaemonSet first"
        ),
    }
}
