//! `/metrics`, `/healthz` and `/readyz` over plain HTTP.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use csi_core::Chain;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::sleep;
use tracing::warn;

use crate::endpoint::Endpoint;
use crate::health;
use crate::metrics::{CONTENT_TYPE, Metrics};

/// Clients at once; more of them wait. A scraper and a kubelet need two.
const CLIENTS: usize = 16;
/// How long a client may take to send its request.
const HEADER_PATIENCE: Duration = Duration::from_secs(3);

/// An address for HTTP, or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HttpAddress {
    /// No HTTP.
    Nowhere,
    /// The first of these that can be bound.
    At(Vec<SocketAddr>),
}

/// Why a text is no [`HttpAddress`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an address; write IP:PORT, localhost:PORT, :PORT or nothing")]
pub struct InvalidHttpAddress {
    text: String,
}

impl FromStr for HttpAddress {
    type Err = InvalidHttpAddress;

    /// `:PORT` is every interface, IPv6 and IPv4 where the machine has both.
    fn from_str(text: &str) -> Result<Self, InvalidHttpAddress> {
        if text.is_empty() {
            return Ok(Self::Nowhere);
        }
        let invalid = |_error| InvalidHttpAddress { text: text.to_owned() };
        let ips: [IpAddr; 2] = match text.rsplit_once(':') {
            Some(("", _)) => [Ipv6Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into()],
            Some(("localhost", _)) => [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
            Some(_) | None => {
                return text
                    .parse()
                    .map(|address| Self::At(vec![address]))
                    .map_err(|_not_an_address| InvalidHttpAddress { text: text.to_owned() });
            }
        };
        let port = text.rsplit(':').next().unwrap_or_default();
        let port: u16 = port.parse().map_err(invalid)?;
        Ok(Self::At(ips.map(|ip| SocketAddr::new(ip, port)).to_vec()))
    }
}

impl HttpAddress {
    /// Listens, if there is an address.
    pub(crate) async fn bind(&self) -> io::Result<Option<TcpListener>> {
        match self {
            Self::Nowhere => Ok(None),
            Self::At(addresses) => TcpListener::bind(addresses.as_slice()).await.map(Some),
        }
    }
}

/// What is served.
#[derive(Debug, Clone)]
pub(crate) struct Pages {
    /// What `/healthz` and `/readyz` probe.
    pub(crate) plugin: Endpoint,
    /// What `/metrics` shows; nothing is shown without.
    pub(crate) metrics: Option<Metrics>,
}

/// Serves `pages` until the future is dropped.
pub(crate) async fn serve(listener: TcpListener, pages: Pages) -> Infallible {
    let pages = Arc::new(pages);
    let clients = Arc::new(Semaphore::new(CLIENTS));
    loop {
        let Ok(place) = Arc::clone(&clients).acquire_owned().await else {
            unreachable!("the semaphore is never closed")
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let pages = Arc::clone(&pages);
                tokio::spawn(async move {
                    serve_client(stream, pages).await;
                    drop(place);
                });
            }
            Err(error) => {
                // Out of file descriptors, say: trying again at once would only burn the CPU.
                warn!(%error, "cannot accept an HTTP client");
                sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

async fn serve_client(stream: TcpStream, pages: Arc<Pages>) {
    let answer = service_fn(move |request| {
        let pages = Arc::clone(&pages);
        async move { Ok::<_, Infallible>(pages.answer(&request).await) }
    });
    let mut connection = http1::Builder::new();
    connection.timer(TokioTimer::new()).header_read_timeout(HEADER_PATIENCE).keep_alive(false);
    // A client that breaks off has nobody to tell.
    let _ = connection.serve_connection(TokioIo::new(stream), answer).await;
}

impl Pages {
    async fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if request.method() != Method::GET {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
        }
        match (request.uri().path(), &self.metrics) {
            ("/healthz", _) => self.health(StatusCode::OK).await,
            ("/readyz", _) => self.health(StatusCode::SERVICE_UNAVAILABLE).await,
            ("/metrics", Some(metrics)) => metrics_page(metrics),
            _ => text(StatusCode::NOT_FOUND, "no such page\n"),
        }
    }

    /// `starting` answers for a plugin that is alive and not ready: whoever restarts dead plugins
    /// must leave it alone, and whoever waits for ready ones must wait.
    async fn health(&self, starting: StatusCode) -> Response<Full<Bytes>> {
        match health::probe(&self.plugin).await {
            Ok(true) => text(StatusCode::OK, "ok\n"),
            Ok(false) => text(starting, "starting\n"),
            Err(error) => {
                let reason = Chain(&error).to_string();
                warn!(reason, "unhealthy");
                text(StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n"))
            }
        }
    }
}

fn metrics_page(metrics: &Metrics) -> Response<Full<Bytes>> {
    match metrics.encode() {
        Ok(page) => {
            let mut response = text(StatusCode::OK, page);
            let kind = header::HeaderValue::from_static(CONTENT_TYPE);
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
            response
        }
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
}
