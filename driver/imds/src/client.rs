//! Requests to the metadata service: the token, the tries, the time.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::debug;

use crate::endpoint::ImdsEndpoint;
use crate::error::ImdsError;

/// Time for all requests of one [`crate::fetch`], tries included.
pub(crate) const PATIENCE: Duration = Duration::from_millis(2_900);
/// Time for one try. The service sits on the instance's own host and answers within milliseconds.
const TRY: Duration = Duration::from_secs(1);
/// Tries of one request.
const TRIES: u32 = 2;
const PAUSE: Duration = Duration::from_millis(50);
/// The longest a token may live is six hours; half an hour outlives every use made of it here.
const TOKEN_SECONDS: &str = "1800";
/// A token is not used in its last minutes, so that it cannot run out between two requests.
const TOKEN_USE: Duration = Duration::from_mins(25);
/// No answer that is asked for here is longer than a few hundred bytes.
const LONGEST_ANSWER: usize = 64 * 1024;

const TOKEN_PATH: &str = "/latest/api/token";

/// A metadata service and the token it gave.
pub struct Imds {
    endpoint: ImdsEndpoint,
    client: Client<HttpConnector, Empty<Bytes>>,
    token: Mutex<Option<Token>>,
}

#[derive(Clone)]
struct Token {
    value: HeaderValue,
    usable_until: Instant,
}

impl fmt::Debug for Imds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Imds").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

/// Why one try failed. Each kind is worth a second try, except what the service itself decided.
enum Failure {
    Connect(hyper_util::client::legacy::Error),
    Silence,
    Broken(Box<dyn std::error::Error + Send + Sync>),
}

impl Imds {
    /// The service at `endpoint`. Nothing is asked yet.
    #[must_use]
    pub fn new(endpoint: ImdsEndpoint) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(TRY));
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Self { endpoint, client, token: Mutex::new(None) }
    }

    pub(crate) fn endpoint(&self) -> &ImdsEndpoint {
        &self.endpoint
    }

    /// The text at `path`; `None` if the service has nothing there.
    pub(crate) async fn get(
        &self,
        path: &str,
        until: Instant,
    ) -> Result<Option<String>, ImdsError> {
        let (mut status, mut body) = self.get_with_token(path, until).await?;
        if status == StatusCode::UNAUTHORIZED {
            // The token ran out early, say because the instance was restored from hibernation.
            *self.token.lock().unwrap_or_else(PoisonError::into_inner) = None;
            (status, body) = self.get_with_token(path, until).await?;
        }
        match status {
            StatusCode::OK => {
                let text = String::from_utf8(body.to_vec());
                text.map(Some).map_err(|source| self.malformed(path, "text", source))
            }
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(self.refused(path, status)),
        }
    }

    async fn get_with_token(
        &self,
        path: &str,
        until: Instant,
    ) -> Result<(StatusCode, Bytes), ImdsError> {
        let token = self.token(until).await?;
        let header = ("x-aws-ec2-metadata-token", token);
        self.send(Method::GET, path, header, until).await
    }

    async fn token(&self, until: Instant) -> Result<HeaderValue, ImdsError> {
        let kept = self.token.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(token) = kept.filter(|token| Instant::now() < token.usable_until) {
            return Ok(token.value);
        }
        let usable_until = Instant::now() + TOKEN_USE;
        let header =
            ("x-aws-ec2-metadata-token-ttl-seconds", HeaderValue::from_static(TOKEN_SECONDS));
        let (status, body) = self.send(Method::PUT, TOKEN_PATH, header, until).await?;
        if status != StatusCode::OK {
            return Err(self.refused(TOKEN_PATH, status));
        }
        let mut value = HeaderValue::from_maybe_shared(body)
            .map_err(|source| self.malformed(TOKEN_PATH, "a token", source))?;
        value.set_sensitive(true);
        let token = Token { value: value.clone(), usable_until };
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = Some(token);
        Ok(value)
    }

    /// One request in as many tries as it needs and may have.
    async fn send(
        &self,
        method: Method,
        path: &str,
        header: (&'static str, HeaderValue),
        until: Instant,
    ) -> Result<(StatusCode, Bytes), ImdsError> {
        for last in (0..TRIES).map(|n| n + 1 == TRIES) {
            let request = self.request(&method, path, &header)?;
            let one = timeout(TRY, self.exchange(request));
            match timeout_at(until, one).await {
                Ok(Ok(Ok((status, _)))) if status.is_server_error() && !last => {
                    debug!(path, %status, "IMDS failed");
                }
                Ok(Ok(Ok(answer))) => return Ok(answer),
                Ok(Ok(Err(failure))) if last => return Err(self.failed(path, failure)),
                Ok(Err(_elapsed)) if last => return Err(self.failed(path, Failure::Silence)),
                Err(_elapsed) => return Err(self.failed(path, Failure::Silence)),
                Ok(_) => debug!(path, "IMDS did not answer"),
            }
            sleep(PAUSE).await;
        }
        Err(self.failed(path, Failure::Silence))
    }

    fn request(
        &self,
        method: &Method,
        path: &str,
        (name, value): &(&'static str, HeaderValue),
    ) -> Result<Request<Empty<Bytes>>, ImdsError> {
        Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.endpoint))
            .header(*name, value)
            .body(Empty::new())
            .map_err(|source| self.malformed(path, "a path", source))
    }

    async fn exchange(
        &self,
        request: Request<Empty<Bytes>>,
    ) -> Result<(StatusCode, Bytes), Failure> {
        let response = self.client.request(request).await.map_err(|error| {
            if error.is_connect() { Failure::Connect(error) } else { Failure::Broken(error.into()) }
        })?;
        let status = response.status();
        let body = Limited::new(response.into_body(), LONGEST_ANSWER);
        let body = body.collect().await.map_err(Failure::Broken)?;
        Ok((status, body.to_bytes()))
    }

    fn failed(&self, path: &str, failure: Failure) -> ImdsError {
        let (endpoint, path) = (self.endpoint.clone(), path.to_owned());
        match failure {
            Failure::Connect(error) => ImdsError::Unreachable { endpoint, source: error.into() },
            Failure::Silence if path == TOKEN_PATH => ImdsError::NoToken { endpoint },
            Failure::Silence => ImdsError::Silent { endpoint, path },
            Failure::Broken(source) => ImdsError::Broken { endpoint, path, source },
        }
    }

    fn refused(&self, path: &str, status: StatusCode) -> ImdsError {
        let (endpoint, path) = (self.endpoint.clone(), path.to_owned());
        if status == StatusCode::FORBIDDEN {
            ImdsError::Disabled { endpoint, path }
        } else {
            ImdsError::Refused { endpoint, path, status }
        }
    }

    pub(crate) fn malformed(
        &self,
        path: &str,
        expected: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> ImdsError {
        let (endpoint, path) = (self.endpoint.clone(), path.to_owned());
        ImdsError::Malformed { endpoint, path, expected, source: source.into() }
    }
}
