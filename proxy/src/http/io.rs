//! The byte stream under an HTTP connection.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::Sleep,
};

use super::{
    guard::Guard,
    link::Answer,
    server::Connection,
    settings::{HEAD_TIMEOUT, MAX_HEAD},
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
    io: Box<dyn Stream>,
    ends_orderly: bool,
    /// For connections of HTTP/1 clients.
    client: Option<Box<ClientSide>>,
}

/// Guards what an HTTP/1 client sends, and writes informational responses to it.
struct ClientSide {
    guard: Guard,
    connection: Arc<Connection>,
    /// The rest of an informational response that is being written.
    interim: BytesMut,
    /// hyper's last write was accepted in part: its message goes on.
    within_message: bool,
    /// When the head that has begun must be complete.
    deadline: Option<Pin<Box<Sleep>>>,
}

/// A stream over one TCP connection.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {
    fn tcp(&self) -> &TcpStream;
}

impl<S: OverTcp + Send> Stream for Metered<S> {
    fn tcp(&self) -> &TcpStream {
        Metered::tcp(self)
    }
}

impl HttpIo {
    /// Readers get `prefix` first, then what `io` holds.
    pub fn new<S: OverTcp + Send + 'static>(prefix: Bytes, io: Metered<S>) -> Self {
        Self { prefix, io: Box::new(io), ends_orderly: true, client: None }
    }

    /// Guards the requests of an HTTP/1 client.
    pub(super) fn guarded(mut self, connection: &Arc<Connection>) -> Self {
        self.client = Some(Box::new(ClientSide {
            guard: Guard::new(MAX_HEAD),
            connection: connection.clone(),
            interim: BytesMut::new(),
            within_message: false,
            deadline: None,
        }));
        self
    }

    /// From now on the stream carries something else than HTTP, after `unread`: a shutdown ends one direction only.
    pub(super) fn into_tunnel(mut self, unread: Bytes) -> Self {
        let held = self.client.take().map_or(Bytes::new(), |client| client.guard.into_held());
        self.prefix = [unread, held, self.prefix].concat().into();
        self.ends_orderly = false;
        self
    }

    /// Both directions have ended: the close is an ordinary one.
    pub(super) fn end_orderly(&self) {
        net::end_orderly(self.io.tcp());
    }
}

impl ClientSide {
    /// Gives out what was checked and kept, if there is any.
    fn read_waiting(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        let waiting = self.guard.waiting();
        let n = waiting.len().min(buffer.remaining());
        buffer.put_slice(&waiting[..n]);
        self.guard.consume(n);
        n > 0
    }

    /// Checks what was read after the first `before` bytes of `buffer`, and leaves what may be passed on.
    fn check(&mut self, buffer: &mut ReadBuf<'_>, before: usize) -> io::Result<()> {
        let link = self.connection.link();
        match link.take_answer() {
            Some(Answer::Accepted) => self.guard.becomes_tunnel(),
            Some(Answer::Declined) if !self.guard.stays_http() => {
                let why = "a request that came before the answer to CONNECT or Upgrade";
                link.refuse(why);
                return Err(io::Error::new(io::ErrorKind::InvalidData, why));
            }
            Some(Answer::Declined) | None => {}
        }
        match self.guard.check(&mut buffer.filled_mut()[before..]) {
            Ok((passed, refused)) => {
                buffer.set_filled(before + passed);
                if let Some(why) = refused {
                    link.refuse(why);
                }
                Ok(())
            }
            Err(why) => {
                link.refuse(why);
                Err(io::Error::new(io::ErrorKind::InvalidData, why))
            }
        }
    }

    /// A head that has begun must be complete in time.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        if !self.guard.is_within_head() {
            self.deadline = None;
            return Poll::Pending;
        }
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(HEAD_TIMEOUT)));
        ready!(deadline.as_mut().poll(cx));
        let why = "a request head that takes too long";
        self.connection.link().refuse(why);
        Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, why))
    }

    /// Writes informational responses, if a message may begin here.
    fn poll_interim(&mut self, io: &mut Box<dyn Stream>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.interim.is_empty()
            && !self.within_message
            && let Some(interim) = self.connection.link().take_interim()
        {
            self.interim.extend_from_slice(&interim);
        }
        while !self.interim.is_empty() {
            let written = ready!(Pin::new(&mut *io).poll_write(cx, &self.interim))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.interim.advance(written);
        }
        Poll::Ready(Ok(()))
    }
}

impl HttpIo {
    fn poll_read_client(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Some(mut client) = self.client.take() else { return self.poll_read_stream(cx, buffer) };
        client.connection.link().register(cx.waker());
        let result = loop {
            if client.read_waiting(buffer) {
                break Poll::Ready(Ok(()));
            }
            let before = buffer.filled().len();
            match self.poll_read_stream(cx, buffer) {
                Poll::Ready(Ok(())) if buffer.filled().len() == before => break Poll::Ready(Ok(())),
                Poll::Ready(Ok(())) => match client.check(buffer, before) {
                    Ok(()) if buffer.filled().len() > before => break Poll::Ready(Ok(())),
                    Ok(()) => {}
                    Err(error) => break Poll::Ready(Err(error)),
                },
                Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                Poll::Pending => break client.poll_deadline(cx).map(Err),
            }
        };
        self.client = Some(client);
        result
    }

    fn poll_read_stream(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
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

    /// Writes what comes before hyper's next message.
    fn poll_before_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.client {
            Some(client) => client.poll_interim(&mut self.io, cx),
            None => Poll::Ready(Ok(())),
        }
    }

    fn wrote(&mut self, written: usize, of: usize) {
        if let Some(client) = &mut self.client {
            client.within_message = written < of;
        }
    }
}

impl AsyncRead for HttpIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.get_mut().poll_read_client(cx, buffer)
    }
}

impl AsyncWrite for HttpIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_before_write(cx))?;
        let written = ready!(Pin::new(&mut self.io).poll_write(cx, bytes))?;
        self.wrote(written, bytes.len());
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_before_write(cx))?;
        let written = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, slices))?;
        self.wrote(written, slices.iter().map(|slice| slice.len()).sum());
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_before_write(cx))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.ends_orderly {
            self.end_orderly();
        }
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
