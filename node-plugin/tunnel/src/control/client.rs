//! The client side, used by the node plugin.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout};

use super::protocol::{
    Ensure, Ensured, Envelope, Health, LONGEST_REPLY, PortStatus, Refusal, Reply, Request, VERSION,
};
use super::wire::Wire;

/// The supervisor holds the socket, so a missing answer means a worker that is being replaced.
const AGAIN: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(5);

/// A way to the tunnel. It keeps no connection: the tunnel may be replaced at any time.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
    patience: Duration,
}

/// Why a request has no result.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No tunnel answers at the socket.
    #[error("efs-tunnel does not answer at {}; is its pod running on this node?", socket.display())]
    Unreachable {
        /// Where it was looked for.
        socket: PathBuf,
        /// What the system said last.
        source: io::Error,
    },
    /// It did not answer in time. The request may have had its effect; it can be repeated.
    #[error("efs-tunnel at {} gave no answer within {patience:?}", socket.display())]
    TimedOut {
        /// Where it was asked.
        socket: PathBuf,
        /// How long it was waited for.
        patience: Duration,
    },
    /// It refused.
    #[error("efs-tunnel refused")]
    Refused(#[source] Refusal),
    /// It answered something else than what was asked.
    #[error("efs-tunnel answered {got:?}, which is no answer to the request")]
    Unexpected {
        /// The begin of its answer.
        got: String,
    },
}

impl Client {
    /// A client of the tunnel whose control socket is `socket`.
    #[must_use]
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into(), patience: PATIENCE }
    }

    /// The same, which gives up after `patience` (5 s if not said).
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Where the tunnel is looked for.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Serves the identity. The port accepts connections when this returns; whether a mount target
    /// answers shows only when the first connection is made.
    pub async fn ensure(&self, ensure: Ensure) -> Result<Ensured, ClientError> {
        self.ensure_on(ensure, None).await
    }

    /// The same, on a listener that was lent before, if one is given: after the loss of a whole pod
    /// its ports have not refused a connection, because the copies accepted them, and the next pod's
    /// tunnel goes on with them. `ensure.port` must name the listener's port.
    pub async fn ensure_on(
        &self,
        ensure: Ensure,
        listener: Option<BorrowedFd<'_>>,
    ) -> Result<Ensured, ClientError> {
        match self.call(&Request::Ensure(Box::new(ensure)), listener).await? {
            (Reply::Ensured(ensured), _) => Ok(ensured),
            (other, _) => Err(unexpected(&other)),
        }
    }

    /// A copy of a port's listener, to keep for [`Client::ensure_on`]. Close it when the port is
    /// released, else connections to the port wait for ever.
    pub async fn lend(&self, port: u16) -> Result<OwnedFd, ClientError> {
        match self.call(&Request::Lend { port }, None).await? {
            (Reply::Lent { .. }, Some(listener)) => Ok(listener),
            (other, _) => Err(unexpected(&other)),
        }
    }

    /// Closes the port; true if it was open. Refused with [`RefusalKind::InUse`] while the kernel's
    /// NFS client knows the port, even if nothing is mounted any more.
    ///
    /// [`RefusalKind::InUse`]: super::RefusalKind::InUse
    pub async fn release(&self, port: u16) -> Result<bool, ClientError> {
        match self.call(&Request::Release { port }, None).await? {
            (Reply::Released { was_open }, _) => Ok(was_open),
            (other, _) => Err(unexpected(&other)),
        }
    }

    /// Every port that is served.
    pub async fn list(&self) -> Result<Vec<PortStatus>, ClientError> {
        match self.call(&Request::List {}, None).await? {
            (Reply::Ports(ports), _) => Ok(ports),
            (other, _) => Err(unexpected(&other)),
        }
    }

    /// The tunnel as a whole.
    pub async fn health(&self) -> Result<Health, ClientError> {
        match self.call(&Request::Health {}, None).await? {
            (Reply::Health(health), _) => Ok(health),
            (other, _) => Err(unexpected(&other)),
        }
    }

    /// Waits until the instance that has the control socket now is gone. It may return earlier: one
    /// that is not asked anything for half a minute closes the connection too.
    ///
    /// # Errors
    /// If there is none.
    pub async fn until_gone(&self) -> io::Result<()> {
        let mut wire = Wire::new(UnixStream::connect(&self.socket).await?);
        // It says nothing of its own accord, so all that comes is the end.
        let _ = wire.read(LONGEST_REPLY).await;
        Ok(())
    }

    /// Every request may be repeated, so a connection that breaks is tried again until the patience
    /// is over.
    async fn call(
        &self,
        request: &Request,
        listener: Option<BorrowedFd<'_>>,
    ) -> Result<(Reply, Option<OwnedFd>), ClientError> {
        let deadline = Instant::now() + self.patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let error = match timeout(left, self.exchange(request, listener)).await {
                Ok(Ok((Reply::Refused(refusal), _))) => return Err(ClientError::Refused(refusal)),
                Ok(Ok(reply)) => return Ok(reply),
                Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => {
                    return Err(ClientError::Unexpected { got: error.to_string() });
                }
                Ok(Err(error)) => error,
                Err(_elapsed) => {
                    let (socket, patience) = (self.socket.clone(), self.patience);
                    return Err(ClientError::TimedOut { socket, patience });
                }
            };
            if Instant::now() + AGAIN >= deadline || error.kind() == io::ErrorKind::PermissionDenied
            {
                return Err(ClientError::Unreachable {
                    socket: self.socket.clone(),
                    source: error,
                });
            }
            sleep(AGAIN).await;
        }
    }

    async fn exchange(
        &self,
        request: &Request,
        listener: Option<BorrowedFd<'_>>,
    ) -> io::Result<(Reply, Option<OwnedFd>)> {
        let mut wire = Wire::new(UnixStream::connect(&self.socket).await?);
        ask(&wire, request, listener).await?;
        reply(&mut wire).await
    }
}

/// Sends a request.
pub(crate) async fn ask(
    wire: &Wire,
    request: &Request,
    listener: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let envelope = Envelope { version: VERSION, body: request };
    wire.write(&serde_json::to_vec(&envelope)?, listener).await
}

/// Receives a reply.
pub(crate) async fn reply(wire: &mut Wire) -> io::Result<(Reply, Option<OwnedFd>)> {
    let line = wire.read(LONGEST_REPLY).await?.ok_or(io::ErrorKind::UnexpectedEof)?;
    let envelope: Envelope<Reply> = serde_json::from_slice(&line.text)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    Ok((envelope.body, line.descriptor))
}

fn unexpected(reply: &Reply) -> ClientError {
    ClientError::Unexpected { got: format!("{reply:?}").chars().take(80).collect() }
}
