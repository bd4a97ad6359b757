//! Where a plugin listens, as written on the command line.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// An address that a plugin serves gRPC on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A Unix socket at an absolute path.
    Unix(PathBuf),
    /// TCP, for tests: a CSI plugin has no authentication of its own.
    Tcp(SocketAddr),
}

/// Why a text is no [`Endpoint`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("endpoint {text:?}: {rule}")]
pub struct InvalidEndpoint {
    text: String,
    rule: &'static str,
}

impl Endpoint {
    /// The socket's path, if this is a Unix socket.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Unix(path) => Some(path),
            Self::Tcp(_) => None,
        }
    }
}

impl FromStr for Endpoint {
    type Err = InvalidEndpoint;

    /// Accepts `unix:///csi/csi.sock`, `unix://csi/csi.sock` (the same path: the driver that this
    /// one replaces joins host and path, and its default is written so), `unix:/csi/csi.sock`,
    /// `/csi/csi.sock` and `tcp://127.0.0.1:10000`.
    fn from_str(text: &str) -> Result<Self, InvalidEndpoint> {
        let invalid = |rule| InvalidEndpoint { text: text.to_owned(), rule };
        if let Some(address) = text.strip_prefix("tcp://") {
            let address = address.parse();
            return address
                .map(Self::Tcp)
                .map_err(|_not_an_address| invalid("after tcp:// goes IP:PORT"));
        }
        let path = match text.strip_prefix("unix://").or_else(|| text.strip_prefix("unix:")) {
            Some(path) => format!("/{}", path.trim_start_matches('/')),
            None if text.starts_with('/') => text.to_owned(),
            None => return Err(invalid("use unix:///path, an absolute path, or tcp://IP:PORT")),
        };
        if path.ends_with('/') {
            return Err(invalid("a socket needs a file name"));
        }
        Ok(Self::Unix(PathBuf::from(path)))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_unix_path_means_the_same_socket() {
        let path = Endpoint::Unix(PathBuf::from("/tmp/csi.sock"));
        for text in ["unix:///tmp/csi.sock", "unix://tmp/csi.sock", "unix:/tmp/csi.sock"] {
            assert_eq!(text.parse::<Endpoint>().as_ref(), Ok(&path), "{text}");
        }
        assert_eq!("/tmp/csi.sock".parse::<Endpoint>().as_ref(), Ok(&path));
        assert_eq!(path.to_string().parse::<Endpoint>().as_ref(), Ok(&path));
    }

    #[test]
    fn tcp_takes_an_ip_and_a_port() {
        let endpoint: Endpoint = "tcp://127.0.0.1:10000".parse().unwrap();
        assert_eq!(endpoint, Endpoint::Tcp(([127, 0, 0, 1], 10000).into()));
        assert_eq!(endpoint.path(), None);
    }

    #[test]
    fn what_names_no_socket_is_refused_with_the_rule() {
        for text in ["", "csi.sock", "http://x/y", "tcp://nowhere", "unix://", "unix:///a/"] {
            let error = text.parse::<Endpoint>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("endpoint {text:?}: ")), "{error}");
        }
    }
}
