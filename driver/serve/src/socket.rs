//! Binds a plugin's socket so that nobody but its owner can ever connect, and removes it again.
//!
//! A CSI socket is a root shell in disguise: whoever can write to it can mount devices. Linux gives
//! the file the mode of the socket's own inode, so the mode is set before `bind` and there is no
//! moment at which the file is open to others, as there would be with a `chmod` after it; and
//! unlike a `umask` it touches no file that another thread creates meanwhile.

use std::fs::{self, Metadata};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener as StdUnixListener, UnixStream as StdUnixStream};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket,
};
use nix::sys::stat::{Mode, fchmod};
use tokio::net::{TcpListener, UnixListener};

use crate::endpoint::Endpoint;

/// Connections that may wait to be accepted. A plugin has a handful of clients.
const BACKLOG: i32 = 128;

/// Why a plugin cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another process answers at the path.
    #[error("{}: another process is listening there; stop it or choose another --endpoint", path.display())]
    Live {
        /// The socket's path.
        path: PathBuf,
    },
    /// The path holds something else than a socket.
    #[error("{}: exists and is not a socket; it is left alone", path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// A system call failed.
    #[error("cannot listen at {at}: {call}")]
    Failed {
        /// The address.
        at: String,
        /// The call.
        call: &'static str,
        /// What it answered.
        source: io::Error,
    },
}

/// A listening socket; a Unix socket's file is removed when this is dropped.
#[derive(Debug)]
pub(crate) enum Listener {
    Unix(UnixListener, SocketFile),
    Tcp(TcpListener),
}

impl Listener {
    /// Listens at `endpoint`. Replaces a socket that a dead process left behind.
    pub(crate) async fn bind(endpoint: &Endpoint) -> Result<Self, BindError> {
        match endpoint {
            Endpoint::Unix(path) => {
                remove_stale(path)?;
                let (listener, file) = bind_private(path)?;
                Ok(Self::Unix(listener, file))
            }
            Endpoint::Tcp(address) => {
                let bound = TcpListener::bind(address).await;
                bound.map(Self::Tcp).map_err(|source| BindError::Failed {
                    at: endpoint.to_string(),
                    call: "bind",
                    source,
                })
            }
        }
    }
}

/// The file of a bound socket, removed on drop unless somebody has put another one in its place.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketFile {
    fn is_ours(&self, found: &Metadata) -> bool {
        found.dev() == self.device && found.ino() == self.inode
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|found| self.is_ours(&found)) {
            // Nothing is lost if this fails: the next start replaces the file.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn remove_stale(path: &Path) -> Result<(), BindError> {
    let failed = |call| move |source| failed(path, call, source);
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("lstat")(error)),
    };
    if !found.file_type().is_socket() {
        return Err(BindError::NotASocket { path: path.to_owned() });
    }
    match StdUnixStream::connect(path) {
        // A full backlog (EAGAIN) has a living process behind it too.
        Ok(_) => Err(BindError::Live { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(failed("unlink of the stale socket"))
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Err(BindError::Live { path: path.to_owned() })
        }
        Err(error) => Err(failed("connect to the socket found there")(error)),
    }
}

fn bind_private(path: &Path) -> Result<(UnixListener, SocketFile), BindError> {
    let failed = |call| move |errno: Errno| failed(path, call, errno.into());
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd =
        socket(AddressFamily::Unix, SockType::Stream, flags, None).map_err(failed("socket"))?;
    fchmod(&fd, Mode::S_IRUSR | Mode::S_IWUSR).map_err(failed("fchmod"))?;
    let address = UnixAddr::new(path).map_err(failed("the path is longer than 107 bytes"))?;
    bind(fd.as_raw_fd(), &address).map_err(failed("bind"))?;
    let file = own(path)?;
    let backlog = Backlog::new(BACKLOG).map_err(failed("listen"))?;
    listen(&fd, backlog).map_err(failed("listen"))?;
    let listener = UnixListener::from_std(StdUnixListener::from(fd))
        .map_err(|source| self::failed(path, "register with the runtime", source))?;
    Ok((listener, file))
}

/// Remembers which file was bound, and makes sure of its mode: a file system without sockets' modes
/// must not open the plugin to everybody.
fn own(path: &Path) -> Result<SocketFile, BindError> {
    let found = fs::symlink_metadata(path).map_err(|error| failed(path, "lstat", error))?;
    let file = SocketFile { path: path.to_owned(), device: found.dev(), inode: found.ino() };
    if found.mode() & 0o077 != 0 {
        let source = io::Error::other(format!("it has mode {:o}", found.mode() & 0o7777));
        return Err(failed(path, "the file system does not keep the socket private", source));
    }
    Ok(file)
}

fn failed(path: &Path, call: &'static str, source: io::Error) -> BindError {
    BindError::Failed { at: path.display().to_string(), call, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(folder: &tempfile::TempDir) -> (Endpoint, PathBuf) {
        let path = folder.path().join("csi.sock");
        (Endpoint::Unix(path.clone()), path)
    }

    #[tokio::test]
    async fn the_socket_belongs_to_its_owner_alone_and_is_removed_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let (endpoint, path) = endpoint(&folder);
        let listener = Listener::bind(&endpoint).await.unwrap();
        let mode = fs::symlink_metadata(&path).unwrap().mode();
        assert_eq!(mode & 0o7777, 0o600);
        drop(listener);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_dead_socket_is_replaced_and_a_live_one_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (endpoint, path) = endpoint(&folder);
        drop(StdUnixListener::bind(&path).unwrap());
        assert!(path.exists(), "a closed listener leaves its file behind");

        let first = Listener::bind(&endpoint).await.unwrap();
        let error = Listener::bind(&endpoint).await.unwrap_err();
        assert!(matches!(error, BindError::Live { .. }), "{error}");
        assert!(path.exists(), "the live socket stays");
        drop(first);
    }

    #[tokio::test]
    async fn what_is_not_a_socket_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (endpoint, path) = endpoint(&folder);
        fs::write(&path, "precious").unwrap();
        let error = Listener::bind(&endpoint).await.unwrap_err();
        assert!(matches!(error, BindError::NotASocket { .. }), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[tokio::test]
    async fn a_socket_that_a_successor_bound_survives_our_end() {
        let folder = tempfile::tempdir().unwrap();
        let (endpoint, path) = endpoint(&folder);
        let ours = Listener::bind(&endpoint).await.unwrap();
        fs::remove_file(&path).unwrap();
        let successor = Listener::bind(&endpoint).await.unwrap();
        drop(ours);
        assert!(path.exists());
        drop(successor);
    }

    #[tokio::test]
    async fn a_missing_folder_and_a_long_path_are_named() {
        let missing = Endpoint::Unix(PathBuf::from("/nonexistent/folder/csi.sock"));
        let error = Listener::bind(&missing).await.unwrap_err();
        assert_eq!(error.to_string(), "cannot listen at /nonexistent/folder/csi.sock: bind");
        let long = Endpoint::Unix(PathBuf::from(format!("/tmp/{}", "x".repeat(120))));
        let error = Listener::bind(&long).await.unwrap_err();
        assert!(error.to_string().ends_with("the path is longer than 107 bytes"), "{error}");
    }
}
