//! The messages. A field that a peer does not know is ignored, a field that it does not send has a
//! default: so versions N and N−1 understand each other as long as [`VERSION`] stays.

use serde::{Deserialize, Serialize};

use crate::identity::{Identity, Target};

/// The version of the messages. It grows only when an older peer would misunderstand a newer one.
pub const VERSION: u32 = 1;
/// The longest reply, in bytes: a thousand ports of two kilobytes, and room.
pub(crate) const LONGEST_REPLY: usize = 4 * 1024 * 1024;

/// What a client sends, with the version that it speaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Envelope<T> {
    pub(crate) version: u32,
    #[serde(flatten)]
    pub(crate) body: T,
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Serve an identity. Repeating it changes nothing but the fail-over targets. A listener may
    /// come with it, which is used instead of a new one.
    Ensure(Box<Ensure>),
    /// A copy of a port's listener, which comes with the reply.
    Lend {
        /// The port.
        port: u16,
    },
    /// From a successor: every port's listener and identity, one per reply, then [`Reply::Done`].
    /// When the successor says [`Request::Taken`] on the same connection, the tunnel lets go.
    HandOver {},
    /// The successor serves everything that it was handed.
    Taken {},
    /// Close a port. It is refused while the kernel uses the port.
    Release {
        /// The port.
        port: u16,
    },
    /// Every port that is served.
    List {},
    /// Whether the tunnel works.
    Health {},
}

/// An identity to serve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ensure {
    /// The identity.
    pub identity: Identity,
    /// Targets to try, in order, when the identity's own does not answer. They are no part of the
    /// identity: they change with the state of the mount targets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failover: Vec<Target>,
    /// A port that must be taken: the mount option `tlsport`, or a live mount that is adopted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// A reply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// The identity is served.
    Ensured(Ensured),
    /// The port is closed.
    Released {
        /// False if it was closed before.
        was_open: bool,
    },
    /// The listener of the port comes with this.
    Lent {
        /// The port.
        port: u16,
    },
    /// One port of a hand-over; its listener comes with this, unless it was not bound.
    Handed(Box<Ensure>),
    /// The hand-over's end, and the answer to [`Request::Taken`].
    Done {},
    /// Every port that is served, in order.
    Ports(Vec<PortStatus>),
    /// The tunnel's state.
    Health(Health),
    /// The request was refused.
    Refused(Refusal),
}

/// Where an identity is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ensured {
    /// The port on 127.0.0.1. It accepts connections.
    pub port: u16,
    /// False if the identity had the port before.
    pub opened: bool,
}

/// What one port does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortStatus {
    /// The port.
    pub port: u16,
    /// Whom it serves.
    pub identity: Identity,
    /// The targets that stand by.
    #[serde(default)]
    pub failover: Vec<Target>,
    /// What its connections do.
    pub state: PortState,
    /// Connections of NFS clients.
    pub connections: u32,
    /// The target that the last connection reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connected_to: Option<Target>,
    /// Attempts to reach a target, since the worker started.
    #[serde(default)]
    pub dials: u64,
    /// How often the target was lost or could not be reached, since the worker started.
    #[serde(default)]
    pub failures: u64,
    /// Bytes that went to mount targets, since the worker started.
    #[serde(default)]
    pub sent: u64,
    /// Bytes that came from mount targets.
    #[serde(default)]
    pub received: u64,
    /// The last failure, until a connection is made and answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// Whether the kernel's NFS client still knows the port.
    #[serde(default)]
    pub used_by_kernel: bool,
}

/// What the connections of a port do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PortState {
    /// No NFS client is connected.
    Idle,
    /// A client is held until a target answers.
    Waiting,
    /// Client and target are connected.
    Connected,
    /// Another process has the port still; it is taken as soon as it is free.
    Unbound,
}

/// The tunnel as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Version of the program.
    pub program: String,
    /// Process id of the worker.
    pub pid: u32,
    /// The process-id namespace of the worker, which tells the pod of one instance from another's:
    /// during an upgrade two pods share the folder of the control socket.
    #[serde(default)]
    pub namespace: String,
    /// Whether every port of the state on disk is bound.
    pub ready: bool,
    /// Ports that are served.
    pub ports: u32,
    /// Connections of NFS clients, over all ports.
    pub connections: u32,
    /// Times that the worker was started again since the supervisor started.
    #[serde(default)]
    pub restarts: u32,
}

impl Health {
    /// The namespace of this process; empty if the system does not tell.
    #[must_use]
    pub fn own_namespace() -> String {
        std::fs::read_link("/proc/self/ns/pid")
            .map(|link| link.display().to_string())
            .unwrap_or_default()
    }

    /// Whether every port is bound, by the instance of the caller's own container. A successor
    /// whose hand-over has not happened must not be called ready on the word of its predecessor.
    #[must_use]
    pub fn is_ready_here(&self) -> bool {
        self.ready && self.namespace == Self::own_namespace()
    }
}

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The kind, for a program.
    pub kind: RefusalKind,
    /// What failed, on what, why and what to do, for a person.
    pub message: String,
}

/// Kinds of refusals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalKind {
    /// The request is wrong and stays wrong.
    Invalid,
    /// No port or no connection is left.
    Exhausted,
    /// The kernel uses the port still.
    InUse,
    /// Another identity or another process has the wanted port.
    Taken,
    /// The request is of a version that the tunnel does not speak.
    Version,
    /// The system refused something; the message says what.
    Failed,
    /// A kind that this version does not know.
    #[serde(other)]
    Unknown,
}
