//! The world through HTTP, as the real SDK speaks to it: EC2 and STS (Query protocol), EFS (REST),
//! `SigV4` verified, instance metadata (IMDSv2), and an interface of its own to seed and inspect.

pub mod admin;
mod app;
pub mod credentials;
mod ec2;
mod efs;
mod form;
mod imds;
mod pod_identity;
mod session;
mod shape;
pub(crate) mod sigv4;
mod sts;
pub mod web_identity;
mod xml;

use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};

pub use app::App;
pub(crate) use efs::SERVICE as EFS_SERVICE;
pub use imds::Imds;

/// No call of EC2's comes near this.
const BODY_LIMIT: usize = 4 << 20;

/// A request, whole.
pub(crate) type Call = Request<Bytes>;

/// An answer; `None` drops the connection, as when an answer is lost.
pub(crate) type Answer = Option<Response<Full<Bytes>>>;

/// Something that answers requests.
pub(crate) trait Handler: Send + Sync + 'static {
    fn answer(&self, call: Call) -> impl Future<Output = Answer> + Send;
}

/// The connection was dropped on purpose.
#[derive(Debug, thiserror::Error)]
#[error("the connection is dropped, as the fault script says")]
struct Dropped;

/// Serves connections until the listener fails. Each connection has a task of its own, which
/// ends with it.
async fn serve(listener: TcpListener, handler: Arc<impl Handler>) -> std::io::Error {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let handler = Arc::clone(&handler);
                tokio::spawn(connection(stream, peer.to_string(), handler));
            }
            // Linux reports a peer's early disconnect here; the listener is well.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionAborted => {}
            Err(error) => return error,
        }
    }
}

/// The same on a Unix socket.
async fn serve_unix(listener: UnixListener, handler: Arc<impl Handler>) -> std::io::Error {
    loop {
        match listener.accept().await {
            Ok((stream, _unnamed)) => {
                let handler = Arc::clone(&handler);
                tokio::spawn(connection(stream, "a local process".to_owned(), handler));
            }
            Err(error) => return error,
        }
    }
}

async fn connection<S>(stream: S, peer: String, handler: Arc<impl Handler>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let handler = Arc::clone(&handler);
        async move {
            let (head, body) = request.into_parts();
            let Ok(body) = Limited::new(body, BODY_LIMIT).collect().await else {
                return Ok(plain(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large or broken"));
            };
            let call = Request::from_parts(head, body.to_bytes());
            handler.answer(call).await.ok_or(Dropped)
        }
    });
    let server = auto::Builder::new(TokioExecutor::new());
    if let Err(error) = server.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%peer, error, "connection ended");
    }
}

fn body(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(content_type));
    response
}

fn plain(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    body(status, "text/plain", text.to_owned())
}
