//! The byte stream under an HTTP connection.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::Sleep,
};

use super::{
    activity::Activity,
    connection::Connection,
    guard::Guard,
    link::Answer,
    settings::{BUDGET_WRITES, MAX_HEAD},
};
use crate::{
    limits::{RequestLimiter, RequestPermit},
    metrics::Metered,
    net::{self, Direction, OverTcp},
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
    /// `None`: it reads as long as there are bytes.
    budget: Option<Budget>,
    /// For connections of HTTP/1 clients.
    client: Option<Box<ClientSide>>,
    /// For connections to the other side: told when bytes were read.
    activity: Option<Arc<Activity>>,
}

/// What may still be read and written before the task yields, as tokio's own budget counts operations.
#[derive(Clone, Copy)]
struct Budget {
    /// The bytes of a whole budget.
    size: usize,
    bytes: usize,
    writes: usize,
}

/// Bounds of heads that are still arriving.
pub(super) struct HeadLimits {
    /// How long a head may take, from its first byte on.
    pub(super) timeout: Duration,
    /// The workload's requests, among which large heads count.
    pub(super) requests: Arc<RequestLimiter>,
    pub(super) direction: Direction,
}

/// Guards what an HTTP/1 client sends, and writes informational responses to it.
struct ClientSide {
    guard: Guard,
    connection: Arc<Connection>,
    /// The rest of an informational response that is being written.
    interim: BytesMut,
    /// hyper's last write was accepted in part: its message goes on.
    within_message: bool,
    limits: HeadLimits,
    /// Permission to keep the head that has begun.
    held: Option<RequestPermit>,
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
        Self { prefix, io: Box::new(io), ends_orderly: true, budget: None, client: None, activity: None }
    }

    /// Guards the requests of an HTTP/1 client.
    pub(super) fn guarded(mut self, connection: &Arc<Connection>, limits: HeadLimits) -> Self {
        self.client = Some(Box::new(ClientSide {
            guard: Guard::new(MAX_HEAD),
            connection: connection.clone(),
            interim: BytesMut::new(),
            within_message: false,
            limits,
            held: None,
            deadline: None,
        }));
        self
    }

    /// Yields to other connections after about `size` bytes. hyper and h2 would read small messages on and on.
    pub(super) fn with_budget(self, size: usize) -> Self {
        Self { budget: Some(Budget::new(size)), ..self }
    }

    /// Tells `activity` when bytes were read.
    pub(super) fn heard_by(self, activity: Arc<Activity>) -> Self {
        Self { activity: Some(activity), ..self }
    }

    /// From now on the stream carries something else than HTTP, after `unread`: a shutdown ends one direction only.
    pub(super) fn into_tunnel(mut self, unread: Bytes) -> Self {
        let held = self.client.take().map_or(Bytes::new(), |client| client.guard.into_held());
        self.prefix = [unread, held, self.prefix].concat().into();
        self.ends_orderly = false;
        self.budget = None;
        self
    }

    /// Both directions have ended: the close is an ordinary one.
    pub(super) fn end_orderly(&self) {
        net::end_orderly(self.io.tcp());
    }
}

impl Budget {
    fn new(size: usize) -> Self {
        Self { size, bytes: size, writes: BUDGET_WRITES }
    }

    /// Yields; the next poll has a new budget.
    fn exhausted<T>(&mut self, cx: &Context<'_>) -> Poll<T> {
        *self = Self::new(self.size);
        cx.waker().wake_by_ref();
        Poll::Pending
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
                self.hold()
            }
            Err(why) => {
                link.refuse(why);
                Err(io::Error::new(io::ErrorKind::InvalidData, why))
            }
        }
    }

    /// What a workload's clients may make the proxy keep is bounded.
    fn hold(&mut self) -> io::Result<()> {
        let kept = self.guard.within_head();
        if kept == 0 {
            self.held = None;
            return Ok(());
        }
        let HeadLimits { requests, direction, .. } = &self.limits;
        if requests.hold(*direction, kept, &mut self.held) {
            return Ok(());
        }
        let why = "too many large request heads at once";
        self.connection.link().refuse(why);
        Err(io::Error::new(io::ErrorKind::QuotaExceeded, why))
    }

    /// A head that has begun must be complete in time.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        if self.guard.within_head() == 0 {
            self.deadline = None;
            return Poll::Pending;
        }
        let timeout = self.limits.timeout;
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
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
        let Some(mut client) = self.client.take() else { return self.poll_read_budget(cx, buffer) };
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

    fn poll_read_budget(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Some(budget) = &mut self.budget else { return self.poll_read_stream(cx, buffer) };
        if budget.bytes == 0 {
            return budget.exhausted(cx);
        }
        let before = buffer.filled().len();
        let read = self.poll_read_stream(cx, buffer);
        if let Some(budget) = &mut self.budget {
            budget.bytes = budget.bytes.saturating_sub(buffer.filled().len() - before);
            if read.is_pending() {
                *budget = Budget::new(budget.size);
            }
        }
        read
    }

    fn poll_write_budget(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(budget) = &mut self.budget else { return Poll::Ready(()) };
        if budget.writes == 0 {
            return budget.exhausted(cx);
        }
        budget.writes -= 1;
        Poll::Ready(())
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
        let this = self.get_mut();
        let before = buffer.filled().len();
        let read = this.poll_read_client(cx, buffer);
        if let Some(activity) = this.activity.as_ref().filter(|_| buffer.filled().len() > before) {
            activity.hear();
        }
        read
    }
}

impl AsyncWrite for HttpIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_write_budget(cx));
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
        ready!(self.poll_write_budget(cx));
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
