//! Lines over a Unix socket, each with at most one file descriptor. A reader that does not ask for
//! descriptors would lose them. The kernel may deliver a line without one and the next line with
//! one in a single read, so in a stream of lines a descriptor says for itself what it is.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use tokio::io::Interest;
use tokio::net::UnixStream;

use crate::descriptor;

/// Bytes that are read at once.
const CHUNK: usize = 4096;

/// One end of a connection.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: UnixStream,
    unread: Vec<u8>,
    descriptor: Option<OwnedFd>,
}

/// A line without its end, and what came with it.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) text: Vec<u8>,
    pub(crate) descriptor: Option<OwnedFd>,
}

impl Wire {
    pub(crate) const fn new(stream: UnixStream) -> Self {
        Self { stream, unread: Vec::new(), descriptor: None }
    }

    /// The next line; none if the peer has closed.
    pub(crate) async fn read(&mut self, longest: usize) -> io::Result<Option<Line>> {
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let rest = self.unread.split_off(end + 1);
                let mut text = std::mem::replace(&mut self.unread, rest);
                text.pop();
                return Ok(Some(Line { text, descriptor: self.descriptor.take() }));
            }
            if self.unread.len() >= longest {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the line is too long"));
            }
            let mut chunk = [0; CHUNK];
            let receive = || descriptor::receive(&self.stream, &mut chunk);
            let (length, received) = self.stream.async_io(Interest::READABLE, receive).await?;
            if length == 0 {
                let torn = !self.unread.is_empty();
                return if torn { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(None) };
            }
            self.unread.extend_from_slice(chunk.get(..length).unwrap_or_default());
            if received.is_some() {
                self.descriptor = received;
            }
        }
    }

    /// Sends a line, which must not hold a line end.
    pub(crate) async fn write(
        &self,
        text: &[u8],
        descriptor: Option<BorrowedFd<'_>>,
    ) -> io::Result<()> {
        let mut left: Vec<u8> = text.to_vec();
        left.push(b'\n');
        let mut descriptor = descriptor;
        while !left.is_empty() {
            let send = || descriptor::send(&self.stream, &left, descriptor);
            let taken = self.stream.async_io(Interest::WRITABLE, send).await?;
            left.drain(..taken);
            descriptor = None;
        }
        Ok(())
    }

    pub(crate) fn peer_user(&self) -> io::Result<u32> {
        self.stream.peer_cred().map(|peer| peer.uid())
    }
}
