//! The worker's side of the control socket.

use std::sync::Arc;
use std::time::Duration;

use nix::unistd::geteuid;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::protocol::{Envelope, Refusal, RefusalKind, Reply, Request, VERSION};
use crate::worker::Service;

/// The longest request, in bytes.
const LONGEST_REQUEST: u64 = 64 * 1024;
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

async fn client(mut stream: UnixStream, service: &Service) {
    // The socket's mode keeps others out; this keeps them out where the mode was changed.
    let user = stream.peer_cred().map(|peer| peer.uid());
    if !user.as_ref().is_ok_and(|user| *user == geteuid().as_raw()) {
        tracing::warn!(?user, "a control connection of another user was refused");
        return;
    }
    let (read, mut write) = stream.split();
    let mut reader = BufReader::new(read);
    loop {
        let mut line = Vec::new();
        let mut limited = (&mut reader).take(LONGEST_REQUEST);
        match timeout(PATIENCE, limited.read_until(b'\n', &mut line)).await {
            Ok(Ok(1..)) if line.last() == Some(&b'\n') => {}
            _ended_or_too_long => return,
        }
        let body = match parse(&line) {
            Ok(request) => service.answer(request).await,
            Err(refusal) => Reply::Refused(refusal),
        };
        let Ok(mut answer) = serde_json::to_vec(&Envelope { version: VERSION, body }) else {
            return;
        };
        answer.push(b'\n');
        match timeout(PATIENCE, write.write_all(&answer)).await {
            Ok(Ok(())) => {}
            _the_client_left => return,
        }
    }
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
