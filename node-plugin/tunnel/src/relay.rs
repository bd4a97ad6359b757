//! The relay: what arrives at a port of the loopback goes to a mount target, and back.

mod backoff;
mod connection;
mod dial;
mod flow;
mod port;
mod socket;

pub(crate) use port::{Plant, Port};
pub(crate) use socket::{Sockets, bind};
