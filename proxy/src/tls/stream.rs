//! A TLS connection as an `AsyncRead + AsyncWrite` stream.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use rustls::{HandshakeKind, server::UnbufferedServerConnection};
use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    buffer::Buffer,
    engine::{Engine, MAX_INCOMPLETE},
    error::TlsError,
    session::Session,
};

/// A TLS connection over `IO`.
///
/// - Reading returns 0 bytes after the peer's close_notify. An end without it is
///   [`io::ErrorKind::UnexpectedEof`], because somebody may have cut the stream.
/// - Shutting down closes our direction only: it sends close_notify and then shuts the stream beneath down.
/// - A write is accepted when it is encrypted. Call `poll_flush` before waiting for anything else, or the last
///   records may stay here until the next write.
/// - An idle stream holds the two keys, the peer's certificates and rustls' state, but no buffer.
pub struct TlsStream<IO> {
    io: IO,
    engine: Engine,
}

impl<IO> TlsStream<IO> {
    /// `engine` has its ClientHello ready to be sent.
    pub(super) fn client(engine: Engine, io: IO) -> Self {
        Self { io, engine }
    }

    pub(super) fn server(connection: UnbufferedServerConnection, io: IO) -> Self {
        Self { io, engine: Engine::new(Session::Server(Box::new(connection))) }
    }

    /// The stream beneath.
    pub fn get_ref(&self) -> &IO {
        &self.io
    }

    /// Whether an earlier session was resumed, without certificates on the wire.
    pub fn resumed(&self) -> bool {
        self.engine.state().handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// The protocol that both sides agreed on, if the client offered any.
    pub fn alpn(&self) -> Option<&[u8]> {
        self.engine.state().alpn_protocol()
    }

    /// Drops the session ticket that waits to be sent: a peer that is refused after the handshake gets none.
    pub(super) fn drop_outgoing(&mut self) {
        self.engine.outgoing = Default::default();
    }

    #[cfg(test)]
    pub(super) fn state(&self) -> &rustls::CommonState {
        self.engine.state()
    }

    /// The peer's certificates, its own first.
    pub(super) fn peer_chain(&self) -> &[CertificateDer<'static>] {
        self.engine.state().peer_certificates().unwrap_or_default()
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> TlsStream<IO> {
    /// Drives the handshake to its end. The last messages, a server's ticket or a client's certificate, are sent
    /// together with the first bytes or by the next `poll_flush`.
    pub(super) fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TlsError>> {
        while self.engine.state().is_handshaking() {
            ready!(self.poll_send(cx))?;
            ready!(self.poll_receive(cx, None))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Sends a pending alert as far as that works without waiting, and ends the stream beneath. For a connection that
    /// is about to be dropped.
    pub(super) fn poll_send_alert(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if matches!(self.poll_send(cx), Poll::Ready(Ok(())))
            && matches!(Pin::new(&mut self.io).poll_flush(cx), Poll::Ready(Ok(())))
            && Pin::new(&mut self.io).poll_shutdown(cx).is_ready()
        {
            // Unread bytes would make the kernel send a reset, and a reset overtakes the alert.
            let mut buffer = Buffer::take();
            let mut unread = ReadBuf::new(&mut buffer);
            let _ = Pin::new(&mut self.io).poll_read(cx, &mut unread);
        }
        Poll::Ready(())
    }

    /// Reads once from the stream beneath and decrypts what that completes.
    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        reader: Option<&mut ReadBuf<'_>>,
    ) -> Poll<io::Result<()>> {
        let mut buffer = Buffer::take();
        let begun = self.engine.incomplete_record().len();
        let wanted = reader.as_ref().map_or(0, |reader| reader.remaining()).saturating_add(OVERHEAD);
        let wanted = wanted.clamp(MIN_READ, MAX_READ);
        let mut fresh = ReadBuf::new(&mut buffer[begun..begun + wanted]);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut fresh))?;
        let end = begun + fresh.filled().len();
        if end == begun {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        buffer[..begun].copy_from_slice(self.engine.incomplete_record());
        self.engine.receive(&mut buffer[..end], reader).map_err(broken)?;
        Poll::Ready(Ok(()))
    }

    /// Sends the records that the socket did not take yet.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.engine.outgoing.is_empty() {
            let n = ready!(Pin::new(&mut self.io).poll_write(cx, self.engine.outgoing.as_slice()))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.engine.outgoing.consume(n);
        }
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsStream<IO> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        reader: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if reader.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let before = reader.filled().len();
        loop {
            if reader.filled().len() > before
                || this.engine.read_pending(reader)
                || this.engine.received_close()
            {
                return Poll::Ready(Ok(()));
            }
            if let Some(error) = this.engine.failure() {
                return Poll::Ready(Err(broken(error)));
            }
            if let Err(error) = ready!(this.poll_receive(cx, Some(reader))) {
                if this.engine.failure().is_some() {
                    let _ = this.poll_send(cx);
                }
                // Bytes before the bad record are good; the next read returns the error.
                if reader.filled().len() == before {
                    return Poll::Ready(Err(error));
                }
            }
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsStream<IO> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.engine.sent_close() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        // The end of the handshake and the first bytes make one segment, which wakes the peer once.
        if this.engine.outgoing.as_slice().len() > MAX_OUTGOING_BEFORE_WRITE {
            ready!(this.poll_send(cx))?;
        }
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let mut buffer = Buffer::take();
        let (accepted, length) = this.engine.encrypt(bytes, &mut buffer).map_err(broken)?;
        let mut records = &buffer[..length];
        // Usually empty. The end of the handshake, or a key update that was just made, goes first.
        if !this.engine.outgoing.is_empty() {
            this.engine.outgoing.push(records);
            return match this.poll_send(cx) {
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                _ => Poll::Ready(Ok(accepted)),
            };
        }
        while !records.is_empty() {
            match Pin::new(&mut this.io).poll_write(cx, records)? {
                Poll::Ready(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(n) => records = &records[n..],
                Poll::Pending => break,
            }
        }
        this.engine.outgoing.push(records);
        Poll::Ready(Ok(accepted))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_send(cx))?;
        Pin::new(&mut this.io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.engine.sent_close() && this.engine.failure().is_none() {
            this.engine.close_notify().map_err(broken)?;
        }
        ready!(this.poll_send(cx))?;
        Pin::new(&mut this.io).poll_shutdown(cx)
    }
}

impl<IO> std::fmt::Debug for TlsStream<IO> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsStream").field("resumed", &self.resumed()).finish_non_exhaustive()
    }
}

/// `TlsError::from` finds the cause in the error again.
fn broken(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// Records up to this size may wait for the next write and go with it.
const MAX_OUTGOING_BEFORE_WRITE: usize = 4 * 1024;
/// Four records add a little less than this to their plaintext.
const OVERHEAD: usize = 256;
/// A whole record, even for a reader with a small buffer.
const MIN_READ: usize = 16 * 1024 + OVERHEAD;
const MAX_READ: usize = 64 * 1024 + OVERHEAD;

const _: () = assert!(Buffer::SIZE >= MAX_INCOMPLETE + MAX_READ);
