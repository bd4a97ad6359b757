//! Moves bytes between a client and the server behind.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};

use super::behaviour::{Direction, Script};

/// Bytes moved at once.
const BUFFER: usize = 64 * 1_024;

/// Relays until either side ends.
pub(super) async fn relay<C, S>(client: C, server: S, script: &Script) -> io::Result<()>
where
    C: AsyncRead + AsyncWrite + Unpin,
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (from_client, to_client) = split(client);
    let (from_server, to_server) = split(server);
    tokio::select! {
        ended = copy(from_client, to_server, Direction::In, script.clone()) => ended,
        ended = copy(from_server, to_client, Direction::Out, script.clone()) => ended,
    }
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    direction: Direction,
    mut script: Script,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        script.until_open(direction).await;
        let most = script.most(BUFFER);
        let read = from.read(buffer.get_mut(..most).unwrap_or_default()).await?;
        if read == 0 {
            return to.shutdown().await;
        }
        // The script may have changed while this waited for the bytes.
        script.until_open(direction).await;
        to.write_all(buffer.get(..read).unwrap_or_default()).await?;
        to.flush().await?;
        script.pay(read).await;
    }
}
