//! One connection: a fixed buffer and a task per direction. Nothing is shared between connections,
//! and nothing between the directions, so that replies go on while requests wait.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::dial::{self, Upstream};
use super::flow::{Flow, gone};
use super::port::Port;

/// Of each direction, in bytes. It is all that a connection ever holds beside TLS's own record.
const BUFFER: usize = 64 * 1024;
/// For the farewell to a target whose client has left.
const FAREWELL: Duration = Duration::from_secs(1);

/// Serves a client until one of the two sides ends. The client is not read before a target is
/// there: what is unread, the client still has, and sends again after a reset.
pub(super) async fn serve(client: TcpStream, port: Arc<Port>, flow: Arc<Flow>) {
    let upstream = tokio::select! {
        upstream = dial::reach(&port) => upstream,
        () = gone(&client) => return,
    };
    flow.connected();
    // Halves of the library's own would send a FIN when the first of them is dropped.
    let client = Arc::new(client);
    let ends = match upstream {
        Upstream::Plain(stream) => {
            let (read, write) = stream.into_split();
            relay(Arc::clone(&client), read, write, &port, &flow).await
        }
        Upstream::Tls(stream) => {
            let (read, write) = tokio::io::split(stream);
            relay(Arc::clone(&client), read, write, &port, &flow).await
        }
    };
    // The client is reset when it is dropped, and dials again at once: the pause stands before.
    if let End::Target(error) = ends {
        port.lost(error, flow.was_answered());
    }
}

/// Which side ended a connection.
enum End {
    Client,
    Target(Option<io::Error>),
}

/// Stops its task when it is dropped.
struct Replies(JoinHandle<End>);

impl Drop for Replies {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn relay<R, W>(
    client: Arc<TcpStream>,
    target_read: R,
    mut target_write: W,
    port: &Arc<Port>,
    flow: &Arc<Flow>,
) -> End
where
    R: AsyncRead + Unpin + Send + 'static,
    W: AsyncWrite + Unpin + Send,
{
    let replies =
        tokio::spawn(replies(target_read, Arc::clone(&client), Arc::clone(port), Arc::clone(flow)));
    let mut replies = Replies(replies);
    let end = tokio::select! {
        end = requests(&client, &mut target_write, port, flow) => end,
        end = &mut replies.0 => end.unwrap_or(End::Client),
    };
    if matches!(end, End::Client) {
        // The target is told, so that it frees the connection; whether it hears it is its affair.
        let _ = timeout(FAREWELL, target_write.shutdown()).await;
    }
    end
}

async fn requests<W: AsyncWrite + Unpin>(
    client: &TcpStream,
    target: &mut W,
    port: &Port,
    flow: &Flow,
) -> End {
    let mut buffer = vec![0; BUFFER].into_boxed_slice();
    loop {
        let Ok(length @ 1..) = read(client, &mut buffer).await else {
            return End::Client;
        };
        let bytes = buffer.get(..length).unwrap_or_default();
        flow.waits();
        let sent = async {
            target.write_all(bytes).await?;
            // TLS may have taken the last record without sending it.
            target.flush().await
        };
        tokio::select! {
            biased;
            sent = sent => if let Err(error) = sent {
                return End::Target(Some(error));
            },
            () = gone(client) => return End::Client,
        }
        flow.moved();
        port.sent(length);
    }
}

async fn replies<R: AsyncRead + Unpin>(
    mut target: R,
    client: Arc<TcpStream>,
    port: Arc<Port>,
    flow: Arc<Flow>,
) -> End {
    let mut buffer = vec![0; BUFFER].into_boxed_slice();
    loop {
        let length = match target.read(&mut buffer).await {
            Ok(0) => return End::Target(None),
            Ok(length) => length,
            Err(error) => return End::Target(Some(error)),
        };
        port.received(length);
        if flow.answered() {
            port.works();
        }
        if write(&client, buffer.get(..length).unwrap_or_default()).await.is_err() {
            return End::Client;
        }
    }
}

async fn read(client: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        client.readable().await?;
        match client.try_read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            read => return read,
        }
    }
}

async fn write(client: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        client.writable().await?;
        match client.try_write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
        }
    }
    Ok(())
}
