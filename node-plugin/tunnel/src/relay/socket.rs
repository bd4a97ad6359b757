//! Options of sockets. Memory that the kernel holds for a connection counts against the container's
//! limit like our own, and with default buffers it is the larger part: buffers are set on the
//! listener before it accepts and upstream before it connects, when the window scale is agreed.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// Connections that wait to be accepted. One kernel client makes one.
const BACKLOG: u32 = 64;
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);

/// What is set on every socket.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sockets {
    /// Size of a send and of a receive buffer, in bytes. The kernel doubles it for its book-keeping.
    pub(crate) buffer: u32,
    /// How long a target may leave sent bytes unacknowledged, or an idle connection's probes.
    pub(crate) silence: Duration,
}

/// A listener on 127.0.0.1.
pub(crate) fn bind(port: u16, sockets: Sockets) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    // Else a port is barred for a minute by connections that were closed there.
    socket.set_reuseaddr(true)?;
    socket.set_recv_buffer_size(sockets.buffer)?;
    socket.set_send_buffer_size(sockets.buffer)?;
    socket.bind(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port))?;
    socket.listen(BACKLOG)
}

/// Prepares the connection of an NFS client. However it ends, by a drop, a panic or the death of
/// the process, the client shall see a reset and not a half-closed connection.
pub(super) fn accepted(client: &TcpStream) -> io::Result<()> {
    client.set_nodelay(true)?;
    client.set_zero_linger()
}

/// Connects to a mount target.
pub(super) async fn connect(address: SocketAddr, sockets: Sockets) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_recv_buffer_size(sockets.buffer)?;
    socket.set_send_buffer_size(sockets.buffer)?;
    socket.set_nodelay(true)?;
    let options = SockRef::from(&socket);
    let keepalive =
        TcpKeepalive::new().with_time(sockets.silence / 2).with_interval(KEEPALIVE_INTERVAL);
    options.set_tcp_keepalive(&keepalive)?;
    // It bounds the keepalive's probes too.
    options.set_tcp_user_timeout(Some(sockets.silence))?;
    socket.connect(address).await
}
