//! A stream that replays bytes which detection has already read.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream with bytes in front that were already read from it.
pub struct Prefixed<IO> {
    prefix: Bytes,
    io: IO,
    inspector: Option<Inspector>,
}

/// Looks at all bytes that are read, until it is satisfied.
pub(super) type Inspector = Box<dyn FnMut(&[u8]) -> Inspection + Send + Sync>;

/// What an [`Inspector`] thinks of the bytes so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Inspection {
    /// It wants to see more.
    Continue,
    /// It has seen enough.
    Done,
    /// The stream must not go on, because of this.
    Refuse(&'static str),
}

/// Room for one read of [`Prefixed::poll_fill`]. A ClientHello with a post-quantum key share fits.
const FILL: usize = 4096;

impl<IO> Prefixed<IO> {
    /// Readers get `prefix` first, then what `io` holds.
    pub fn new(prefix: Bytes, io: IO) -> Self {
        Self { prefix, io, inspector: None }
    }

    /// The bytes that were read already, and not replayed yet.
    pub fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    /// Shows all bytes that are read from now on, replayed ones included, to `inspector`.
    pub fn inspect(&mut self, inspector: Inspector) {
        self.inspector = Some(inspector);
    }

    pub fn get_mut(&mut self) -> &mut IO {
        &mut self.io
    }

    /// The stream beneath.
    pub fn get_ref(&self) -> &IO {
        &self.io
    }

    /// What of the prefix was not read yet, and the stream beneath.
    pub fn into_parts(self) -> (Bytes, IO) {
        (self.prefix, self.io)
    }
}

impl<IO: AsyncRead + Unpin> Prefixed<IO> {
    /// Reads more bytes into the prefix. Returns how many; 0 at the end of the stream.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut room = [0; FILL];
        let mut buffer = ReadBuf::new(&mut room);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut buffer))?;
        let read = buffer.filled();
        if !read.is_empty() {
            let mut prefix = BytesMut::with_capacity(self.prefix.len() + read.len());
            prefix.extend_from_slice(&self.prefix);
            prefix.extend_from_slice(read);
            self.prefix = prefix.freeze();
        }
        Poll::Ready(Ok(read.len()))
    }

    fn poll_read_any(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.prefix.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        }
        let n = self.prefix.len().min(buf.remaining());
        buf.put_slice(&self.prefix[..n]);
        self.prefix.advance(n);
        if self.prefix.is_empty() {
            // Free the detection buffer now, not when the connection ends.
            self.prefix = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Prefixed<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.inspector.is_none() {
            return self.poll_read_any(cx, buf);
        }
        let before = buf.filled().len();
        ready!(self.poll_read_any(cx, buf))?;
        let inspection = self.inspector.as_mut().map(|inspector| inspector(&buf.filled()[before..]));
        match inspection {
            Some(Inspection::Refuse(why)) => {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, why)));
            }
            Some(Inspection::Done) => self.inspector = None,
            Some(Inspection::Continue) | None => {}
        }
        Poll::Ready(Ok(()))
    }
}

impl<IO: std::fmt::Debug> std::fmt::Debug for Prefixed<IO> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prefixed")
            .field("prefix", &self.prefix.len())
            .field("io", &self.io)
            .finish_non_exhaustive()
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Prefixed<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
