//! How the node plugin tells the tunnel what to serve: JSON lines over a Unix socket that only its
//! own user may open. A request is one line, its reply is one line, a connection carries as many
//! pairs as the client likes.

pub(crate) mod client;
mod protocol;
pub(crate) mod server;
mod wire;

pub(crate) use wire::Wire;

pub use client::{Client, ClientError};
pub use protocol::{
    Ensure, Ensured, Health, PortState, PortStatus, Refusal, RefusalKind, Reply, Request, VERSION,
};
