//! The way to a mount target: name, TCP, TLS, one target after the other.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use jiff::Timestamp;
use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::port::Port;
use super::socket;
use crate::identity::Target;
use crate::passport::PassportError;

const RESOLVE: Duration = Duration::from_secs(3);
const CONNECT: Duration = Duration::from_secs(3);
const HANDSHAKE: Duration = Duration::from_secs(5);

/// A connection to a mount target.
pub(super) enum Upstream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Why a mount target is not reached.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    /// Its name has no address.
    #[error("{target} has no address; does the VPC resolve it?")]
    Resolve {
        /// The target.
        target: Target,
        /// What the resolver said.
        source: io::Error,
    },
    /// It does not accept connections.
    #[error("{target} ({address}) does not accept connections; check its security group")]
    Connect {
        /// The target.
        target: Target,
        /// The address that was tried.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A step took too long.
    #[error("{target}: {step} took longer than {after:?}")]
    TimedOut {
        /// The target.
        target: Target,
        /// The step.
        step: &'static str,
        /// How long it was waited for.
        after: Duration,
    },
    /// There is nothing to show to it.
    #[error("{target}: there is nothing to identify with")]
    Passport {
        /// The target.
        target: Target,
        /// The cause.
        source: PassportError,
    },
    /// TLS failed: it is another server than it should be, or it refuses us.
    #[error("{target} ({address}): the TLS handshake failed")]
    Tls {
        /// The target.
        target: Target,
        /// Its address.
        address: SocketAddr,
        /// What the library said.
        source: io::Error,
    },
}

/// Connects to the port's own target, or else to the first of those that stand by. It tries until
/// one answers. One connection of a port dials at a time, so the pauses hold for all of them.
pub(super) async fn reach(port: &Port) -> Upstream {
    let _turn = port.dialling().await;
    loop {
        let not_before = port.backoff().not_before();
        if let Some(time) = not_before {
            sleep_until(time).await;
        }
        for target in port.targets() {
            port.dials();
            match attempt(port, &target).await {
                Ok(upstream) => {
                    port.reached(target);
                    return upstream;
                }
                Err(error) => port.failed(&error),
            }
        }
        port.backoff().failed(Instant::now());
    }
}

async fn attempt(port: &Port, target: &Target) -> Result<Upstream, DialError> {
    let late = |step, after| {
        let target = target.clone();
        move |_elapsed| DialError::TimedOut { target, step, after }
    };
    let resolved = timeout(RESOLVE, lookup_host((target.host.as_str(), target.port)));
    let addresses = resolved
        .await
        .map_err(late("the resolution of its name", RESOLVE))?
        .map_err(|source| DialError::Resolve { target: target.clone(), source })?;
    let mut failure = DialError::Resolve {
        target: target.clone(),
        source: io::Error::from(io::ErrorKind::NotFound),
    };
    for address in addresses {
        let connected = timeout(CONNECT, socket::connect(address, port.sockets()));
        match connected.await.map_err(late("the connection", CONNECT)) {
            Ok(Ok(stream)) => return secure(port, target, address, stream).await,
            Ok(Err(source)) => {
                failure = DialError::Connect { target: target.clone(), address, source };
            }
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

async fn secure(
    port: &Port,
    target: &Target,
    address: SocketAddr,
    stream: TcpStream,
) -> Result<Upstream, DialError> {
    let Some(passport) = port.passport() else {
        return Ok(Upstream::Plain(stream));
    };
    let config = passport
        .client(Timestamp::now())
        .await
        .map_err(|source| DialError::Passport { target: target.clone(), source })?;
    let name: ServerName<'static> = passport.server_name.clone();
    // A handshake costs a signature of two milliseconds: after the loss of a zone, the ports that
    // have theirs already are not slowed down by those that wait for it.
    let handshake = async {
        let _turn = port.handshake_turn().await;
        timeout(HANDSHAKE, TlsConnector::from(config).connect(name, stream)).await
    };
    match handshake.await {
        Ok(Ok(stream)) => Ok(Upstream::Tls(Box::new(stream))),
        Ok(Err(source)) => Err(DialError::Tls { target: target.clone(), address, source }),
        Err(_elapsed) => Err(DialError::TimedOut {
            target: target.clone(),
            step: "the TLS handshake",
            after: HANDSHAKE,
        }),
    }
}
