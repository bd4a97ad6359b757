//! When a plugin is asked to end.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::info;

/// A token that SIGTERM or SIGINT cancels. Must be called inside the runtime.
///
/// # Errors
/// If the system refuses a signal handler.
pub fn on_signal() -> io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let token = CancellationToken::new();
    let cancel = token.clone();
    tokio::spawn(async move {
        let signal = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        info!(signal, "asked to end");
        cancel.cancel();
    });
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::{Signal, raise};
    use std::time::Duration;
    use tokio::time::timeout;

    #[tokio::test]
    async fn sigterm_cancels_the_token_and_does_not_kill() {
        let token = on_signal().unwrap();
        assert!(!token.is_cancelled());
        raise(Signal::SIGTERM).unwrap();
        timeout(Duration::from_secs(10), token.cancelled()).await.unwrap();
    }
}
