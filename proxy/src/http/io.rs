//! The byte stream under an HTTP connection.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use crate::{
    metrics::Metered,
    net::{self, OverTcp},
};

/// A connection whose bytes are counted; the type of its stream does not matter any more.
///
/// hyper shuts a connection down when its last message is complete, and drops it otherwise. So the shutdown makes the
/// close an orderly one; without it the socket ends by a reset, and nobody takes a truncated body for a whole one.
pub struct HttpIo {
    /// Bytes that were read already.
    prefix: Bytes,
    io: Box<dyn Connection>,
    ends_orderly: bool,
}

/// A stream over one TCP connection.
trait Connection: AsyncRead + AsyncWrite + Send + Unpin {
    fn tcp(&self) -> &TcpStream;
}

impl<S: OverTcp + Send> Connection for Metered<S> {
    fn tcp(&self) -> &TcpStream {
        Metered::tcp(self)
    }
}

impl HttpIo {
    /// Readers get `prefix` first, then what `io` holds.
    pub fn new<S: OverTcp + Send + 'static>(prefix: Bytes, io: Metered<S>) -> Self {
        Self { prefix, io: Box::new(io), ends_orderly: true }
    }

    /// From now on the stream carries something else than HTTP, after `unread`: a shutdown ends one direction only.
    pub(super) fn into_tunnel(mut self, unread: Bytes) -> Self {
        self.prefix = if self.prefix.is_empty() { unread } else { [unread, self.prefix].concat().into() };
        self.ends_orderly = false;
        self
    }

    /// Both directions have ended: the close is an ordinary one.
    pub(super) fn end_orderly(&self) {
        net::end_orderly(self.io.tcp());
    }
}

impl AsyncRead for HttpIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.prefix.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buffer);
        }
        let n = self.prefix.len().min(buffer.remaining());
        buffer.put_slice(&self.prefix[..n]);
        self.prefix.advance(n);
        if self.prefix.is_empty() {
            self.prefix = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for HttpIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.ends_orderly {
            self.end_orderly();
        }
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
