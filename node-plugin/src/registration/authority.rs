//! Lets kubelet be understood. Its plugin watcher dials a socket by its path, and gRPC for Go then
//! sends that path, percent-encoded, as `:authority`: `%2Fvar%2Flib%2Fkubelet%2F…`. RFC 3986 allows
//! that, the HTTP/2 server here takes it for malformed and resets the stream (`PROTOCOL_ERROR`). So
//! each request's authority is replaced before the server sees it; nothing here looks at it.
//!
//! Formats: RFC 9113, sections 3.4, 4.1 and 6.2 (frames), RFC 7541, sections 5 and 6 (HPACK).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tonic::transport::server::Connected;

const PREFACE: usize = 24;
const FRAME_HEAD: usize = 9;
const HEADERS: u8 = 1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;
/// `:authority` in HPACK's static table.
const AUTHORITY: usize = 1;
/// A string without Huffman coding: its length, and itself.
const LOCALHOST: &[u8] = b"\x09localhost";

/// A connection of kubelet's.
#[derive(Debug)]
pub(super) struct FromKubelet {
    stream: UnixStream,
    preface: usize,
    /// Read, but not yet a whole frame.
    raw: Vec<u8>,
    /// To be given to the server.
    fit: Vec<u8>,
}

impl FromKubelet {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self { stream, preface: PREFACE, raw: Vec::new(), fit: Vec::new() }
    }

    /// Moves whole frames from `raw` to `fit`.
    fn sort(&mut self) {
        let part = self.preface.min(self.raw.len());
        self.fit.extend(self.raw.drain(..part));
        self.preface -= part;
        while self.preface == 0
            && let [a, b, c, kind, flags, ..] = *self.raw.as_slice()
        {
            let end =
                FRAME_HEAD + usize::from(a) * 0x1_0000 + usize::from(b) * 0x100 + usize::from(c);
            if self.raw.len() < end {
                return;
            }
            let frame: Vec<u8> = self.raw.drain(..end).collect();
            let changed = (kind == HEADERS).then(|| headers(&frame, flags)).flatten();
            self.fit.extend(changed.unwrap_or(frame));
        }
    }
}

/// The frame with another authority; `None` if it is not to be understood, which the server may say.
fn headers(frame: &[u8], flags: u8) -> Option<Vec<u8>> {
    // A block that goes on in another frame is longer than any of kubelet's.
    if flags & END_HEADERS == 0 {
        return None;
    }
    let mut payload = frame.get(FRAME_HEAD..)?;
    if flags & PADDED != 0 {
        let (padding, rest) = payload.split_first()?;
        payload = rest.get(..rest.len().checked_sub(usize::from(*padding))?)?;
    }
    let priority = if flags & PRIORITY != 0 { 5 } else { 0 };
    let (priority, block) = payload.split_at_checked(priority)?;
    let block = fields(block)?;
    let length = u32::try_from(priority.len() + block.len()).ok()?.to_be_bytes();
    let mut changed = length.get(1..)?.to_vec();
    changed.extend([HEADERS, flags & !PADDED]);
    changed.extend(frame.get(5..FRAME_HEAD)?);
    changed.extend(priority);
    changed.extend(block);
    Some(changed)
}

/// The field block with another authority.
fn fields(mut block: &[u8]) -> Option<Vec<u8>> {
    let mut changed = Vec::with_capacity(block.len());
    while let [first, ..] = *block {
        let (prefix, literal) = match first {
            0x80.. => (7, false),
            0x40.. => (6, true),
            0x20.. => (5, false),
            _ => (4, true),
        };
        let (name, rest) = integer(block, prefix)?;
        changed.extend(block.get(..block.len() - rest.len())?);
        block = rest;
        if !literal {
            continue;
        }
        if name == 0 {
            let rest = after_string(block)?;
            changed.extend(block.get(..block.len() - rest.len())?);
            block = rest;
        }
        let rest = after_string(block)?;
        let value = block.get(..block.len() - rest.len())?;
        changed.extend(if name == AUTHORITY { LOCALHOST } else { value });
        block = rest;
    }
    Some(changed)
}

/// An integer whose first `prefix` bits are the low ones of the first byte, and what follows it.
fn integer(bytes: &[u8], prefix: u32) -> Option<(usize, &[u8])> {
    let most = (1_usize << prefix) - 1;
    let (first, mut rest) = bytes.split_first()?;
    let mut value = usize::from(*first) & most;
    if value < most {
        return Some((value, rest));
    }
    for shift in [0_u32, 7, 14, 21] {
        let (next, after) = rest.split_first()?;
        rest = after;
        value += usize::from(next & 0x7f) << shift;
        if next & 0x80 == 0 {
            return Some((value, rest));
        }
    }
    None
}

fn after_string(bytes: &[u8]) -> Option<&[u8]> {
    let (length, rest) = integer(bytes, 7)?;
    rest.get(length..)
}

impl AsyncRead for FromKubelet {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.fit.is_empty() {
            let mut chunk = [0; 4096];
            let mut read = ReadBuf::new(&mut chunk);
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.raw.extend(read.filled());
            self.sort();
        }
        let part = buffer.remaining().min(self.fit.len());
        let part: Vec<u8> = self.fit.drain(..part).collect();
        buffer.put_slice(&part);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for FromKubelet {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl Connected for FromKubelet {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}
