//! One mount target: listens, checks who comes, relays to the server behind.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use rustls::server::{Acceptor, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Duration, sleep};
use tokio_rustls::LazyConfigAcceptor;

use super::TargetError;
use super::backend::Backend;
use super::behaviour::{Behaviour, Direction, Script};
use super::check::Client;
use super::relay::relay;
use super::verifier::Verifier;

/// A TLS record of a handshake begins so; an RPC record mark does not, as fragments of 0x16
/// times 16 MiB are not sent.
const HANDSHAKE: u8 = 0x16;

/// What a mount target and its connections share.
#[derive(Debug)]
pub(super) struct Front {
    pub(super) address: SocketAddr,
    pub(super) file_system: String,
    pub(super) name: String,
    pub(super) behaviour: watch::Sender<Behaviour>,
    pub(super) verifier: Arc<Verifier>,
    pub(super) tls: Arc<ServerConfig>,
    pub(super) backend: Backend,
    pub(super) accepted: AtomicU64,
    pub(super) open: AtomicUsize,
}

/// Why a connection ended early.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectionError {
    #[error("the connection failed")]
    Io(#[from] io::Error),
    #[error("the client asked for the server {0:?}")]
    ServerName(Option<String>),
    #[error("the client is not let in")]
    Refused(#[from] super::Refusal),
    #[error("no server behind")]
    Backend(#[from] TargetError),
}

/// Counts a connection for as long as it is open.
struct Open<'a>(&'a AtomicUsize);

impl<'a> Open<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Accepts until it is dropped, and then drops all connections.
pub(super) async fn run(front: Arc<Front>, listener: TcpListener) {
    let mut script = Script::new(front.behaviour.subscribe());
    let mut listener = Some(listener);
    let mut connections = JoinSet::new();
    loop {
        match script.now() {
            Behaviour::Refuse => {
                listener = None;
                script.until(|behaviour| *behaviour != Behaviour::Refuse).await;
            }
            Behaviour::Silent => script.until(|behaviour| *behaviour != Behaviour::Silent).await,
            _ => {
                let Some(listener) = open(&mut listener, front.address).await else { continue };
                tokio::select! {
                    accepted = listener.accept() => {
                        if let Ok((stream, _peer)) = accepted {
                            connections.spawn(serve(Arc::clone(&front), stream));
                        }
                    }
                    () = script.changed() => {}
                    Some(_ended) = connections.join_next() => {}
                }
            }
        }
    }
}

/// Listens again after it did not.
async fn open(listener: &mut Option<TcpListener>, address: SocketAddr) -> Option<&TcpListener> {
    if listener.is_none() {
        match TcpListener::bind(address).await {
            Ok(bound) => *listener = Some(bound),
            Err(_taken) => sleep(Duration::from_millis(20)).await,
        }
    }
    listener.as_ref()
}

async fn serve(front: Arc<Front>, stream: TcpStream) {
    front.accepted.fetch_add(1, Ordering::Relaxed);
    let _open = Open::new(&front.open);
    let Ok((stream, handle)) = with_handle(stream) else { return };
    let mut script = Script::new(front.behaviour.subscribe());
    let mut reset = script.clone();
    tokio::select! {
        ended = connection(&front, stream, &mut script) => {
            if let Err(error) = ended {
                tracing::debug!(target = %front.address, "{}", csi_core::Chain(&error));
            }
        }
        () = reset.until_reset() => {
            // Closing then sends RST instead of FIN.
            if let Err(error) = socket2::SockRef::from(&handle).set_linger(Some(Duration::ZERO)) {
                tracing::debug!(%error, "a connection cannot be reset");
            }
        }
    }
}

/// A second handle to a connection whose first will be inside a TLS stream.
fn with_handle(stream: TcpStream) -> io::Result<(TcpStream, std::net::TcpStream)> {
    stream.set_nodelay(true)?;
    let handle = stream.into_std()?;
    Ok((TcpStream::from_std(handle.try_clone()?)?, handle))
}

async fn connection(
    front: &Front,
    stream: TcpStream,
    script: &mut Script,
) -> Result<(), ConnectionError> {
    script.until_open(Direction::In).await;
    let mut first = [0];
    if stream.peek(&mut first).await? == 0 {
        return Ok(());
    }
    if first != [HANDSHAKE] {
        let client = front.verifier.plain_client()?;
        return forward(front, stream, &client, script).await;
    }
    let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    let asked = start.client_hello().server_name().map(str::to_owned);
    if asked.as_ref() != Some(&front.name) {
        return Err(ConnectionError::ServerName(asked));
    }
    let stream = start.into_stream(Arc::clone(&front.tls)).await?;
    let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let certificate = certificates.first().map(|first| first.to_vec()).unwrap_or_default();
    let client = front.verifier.client(&certificate)?;
    forward(front, stream, &client, script).await
}

async fn forward<C>(
    front: &Front,
    stream: C,
    client: &Client,
    script: &Script,
) -> Result<(), ConnectionError>
where
    C: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let lease = front.backend.server(&front.file_system, client).await?;
    let server = TcpStream::connect(lease.address).await?;
    server.set_nodelay(true)?;
    Ok(relay(stream, server, script).await?)
}
