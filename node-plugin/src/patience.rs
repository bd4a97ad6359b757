//! Waiting for work until the caller's time is over. The work is not ended by it.

use std::time::Duration;

use csi_core::rpc_error::{GrpcCode, RpcError};
use csi_serve::Deadline;
use tokio::time::{Instant, timeout_at};
use tonic::Code;

/// Longest that unmounting and measuring is waited for: on a device or server that answers it takes
/// milliseconds, on one that does not it never ends.
const QUICK: Duration = Duration::from_secs(30);

/// The work goes on, but the caller's time is over.
#[derive(Debug, thiserror::Error)]
#[error("{what} still goes on after {seconds:.1} s; the next try will find its result")]
pub(crate) struct TooLate {
    what: String,
    seconds: f32,
}

impl TooLate {
    pub(crate) fn new(what: impl Into<String>, since: Instant) -> Self {
        Self { what: what.into(), seconds: since.elapsed().as_secs_f32() }
    }
}

impl GrpcCode for TooLate {
    fn code(&self) -> Code {
        Code::DeadlineExceeded
    }
}

pub(crate) fn quick(deadline: Deadline) -> Deadline {
    if deadline.remaining() > QUICK { Deadline::after(QUICK) } else { deadline }
}

pub(crate) async fn within<T, E>(
    deadline: Deadline,
    what: &str,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, RpcError>
where
    E: GrpcCode + Send + Sync + 'static,
{
    let started = Instant::now();
    match timeout_at(deadline.instant(), work).await {
        Ok(result) => Ok(result?),
        Err(_elapsed) => Err(TooLate::new(what, started).into()),
    }
}
