//! Serves a plugin from its first socket to its last operation.

use std::fmt;
use std::io;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{BoxFuture, try_join_all};
use tokio::time::sleep;
use tokio_stream::wrappers::{TcpListenerStream, UnixListenerStream};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tracing::{info, warn};

use crate::args::ServeArgs;
use crate::endpoint::Endpoint;
use crate::http::{self, HttpAddress, Pages};
use crate::metrics::Metrics;
use crate::socket::{BindError, Listener};
use crate::stack::{self, Limits, Stack};

/// Why a plugin did not serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A gRPC socket is not to be had.
    #[error("cannot serve CSI")]
    Bind(#[from] BindError),
    /// An HTTP address is not to be had.
    #[error("cannot serve HTTP at {address:?}")]
    Http {
        /// The address.
        address: HttpAddress,
        /// What `bind` answered.
        source: io::Error,
    },
    /// The gRPC server broke.
    #[error("the gRPC server broke")]
    Server(#[from] tonic::transport::Error),
}

/// A plugin that is ready to be served.
#[derive(Clone)]
pub struct Server {
    endpoint: Endpoint,
    metrics_at: HttpAddress,
    health_at: HttpAddress,
    grace: Duration,
    metrics: Metrics,
    limits: Limits,
    parts: Vec<(Endpoint, Routes)>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoints: Vec<&Endpoint> = self.parts.iter().map(|(endpoint, _)| endpoint).collect();
        f.debug_struct("Server").field("endpoints", &endpoints).finish_non_exhaustive()
    }
}

impl Server {
    /// Serves `routes`, Identity among them, at the endpoint of `args`.
    #[must_use]
    pub fn new(args: &ServeArgs, metrics: Metrics, routes: Routes) -> Self {
        Self {
            endpoint: args.endpoint.clone(),
            metrics_at: args.http_endpoint.clone(),
            health_at: args.health_endpoint.clone(),
            grace: args.grace_period,
            metrics,
            limits: Limits::default(),
            parts: vec![(args.endpoint.clone(), routes)],
        }
    }

    /// Serves `routes` at another endpoint too: kubelet's registration has a socket of its own.
    #[must_use]
    pub fn and_at(mut self, endpoint: Endpoint, routes: Routes) -> Self {
        self.parts.push((endpoint, routes));
        self
    }

    /// Other limits than the default ones.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Serves until `shutdown` is cancelled, lets calls finish, then waits for `drain` (the
    /// plugin's `Operations`), all of that within the grace period. Returns when the sockets'
    /// files are gone.
    ///
    /// # Errors
    /// [`ServeError`] if it cannot start, before any call was taken.
    pub async fn run(
        self,
        shutdown: CancellationToken,
        drain: impl Future<Output = ()>,
    ) -> Result<(), ServeError> {
        let admission = stack::admission(self.limits);
        let mut serving = Vec::new();
        for (endpoint, routes) in self.parts {
            let listener = Listener::bind(&endpoint).await?;
            info!(%endpoint, "serving");
            let stack = stack::around(routes, &self.metrics, admission.clone());
            serving.push(serve(listener, stack, shutdown.clone()));
        }
        let shown = [(self.metrics_at, Some(self.metrics)), (self.health_at, None)];
        let mut pages = Vec::new();
        for (address, metrics) in shown {
            let bound = address.bind().await;
            if let Some(listener) = bound.map_err(|source| ServeError::Http { address, source })? {
                let plugin = self.endpoint.clone();
                pages.push(tokio::spawn(http::serve(listener, Pages { plugin, metrics })));
            }
        }

        let result = end_in_time(try_join_all(serving), drain, &shutdown, self.grace).await;
        for page in pages {
            page.abort();
        }
        result
    }
}

/// Waits for `shutdown`, and from then on at most `grace` for both futures.
async fn end_in_time<T>(
    serving: impl Future<Output = Result<T, ServeError>>,
    drain: impl Future<Output = ()>,
    shutdown: &CancellationToken,
    grace: Duration,
) -> Result<(), ServeError> {
    let all = async {
        serving.await?;
        drain.await;
        Ok(())
    };
    let overtime = async {
        shutdown.cancelled().await;
        sleep(grace).await;
    };
    tokio::select! {
        biased;
        result = all => { result.inspect(|()| info!("ended")) }
        () = overtime => {
            warn!(seconds = grace.as_secs_f64(), "ended with work under way: the grace period is over");
            Ok(())
        }
    }
}

fn serve(
    listener: Listener,
    stack: Stack,
    shutdown: CancellationToken,
) -> BoxFuture<'static, Result<(), ServeError>> {
    Box::pin(async move {
        let server = tonic::transport::Server::builder();
        let stop = shutdown.cancelled_owned();
        match listener {
            Listener::Unix(listener, _file) => {
                let incoming = UnixListenerStream::new(listener).then(unhurried);
                server.serve_with_incoming_shutdown(stack, incoming, stop).await?;
            }
            Listener::Tcp(listener) => {
                let incoming = TcpListenerStream::new(listener).then(unhurried);
                server.serve_with_incoming_shutdown(stack, incoming, stop).await?;
            }
        }
        Ok(())
    })
}

/// tonic accepts again at once after an error; without file descriptors that burns the CPU.
async fn unhurried<T>(accepted: io::Result<T>) -> io::Result<T> {
    if let Err(error) = &accepted {
        warn!(%error, "cannot accept a client");
        sleep(Duration::from_millis(100)).await;
    }
    accepted
}

#[cfg(test)]
mod tests;
