//! The stream of an HTTP/1 client: its requests are guarded, and what hyper cannot write is written between hyper's bytes.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncWrite, ReadBuf},
    time::Sleep,
};

use super::{connection::Connection, guard::Guard, link::Answer, reset::ResetWatch, settings::MAX_HEAD};
use crate::{
    limits::{RequestLimiter, RequestPermit},
    net::Direction,
};

/// Bounds of heads that are still arriving.
pub(super) struct HeadLimits {
    /// How long a head may take, from its first byte on.
    pub(super) timeout: Duration,
    /// The workload's requests, among which large heads count.
    pub(super) requests: Arc<RequestLimiter>,
    pub(super) direction: Direction,
}

/// Guards what an HTTP/1 client sends, and writes informational responses to it.
pub(super) struct ClientSide {
    pub(super) guard: Guard,
    pub(super) connection: Arc<Connection>,
    /// The rest of an informational response that is being written.
    interim: BytesMut,
    /// hyper's last write was accepted in part: its message goes on.
    pub(super) within_message: bool,
    limits: HeadLimits,
    /// Permission to keep the head that has begun.
    held: Option<RequestPermit>,
    /// When the head that has begun must be complete.
    deadline: Option<Pin<Box<Sleep>>>,
    /// hyper waits for bytes, and so learns of a reset itself.
    pub(super) is_read: bool,
    pub(super) reset: ResetWatch,
}

impl ClientSide {
    pub(super) fn new(connection: &Arc<Connection>, limits: HeadLimits) -> Self {
        Self {
            guard: Guard::new(MAX_HEAD),
            connection: connection.clone(),
            interim: BytesMut::new(),
            within_message: false,
            limits,
            held: None,
            deadline: None,
            is_read: false,
            reset: ResetWatch::default(),
        }
    }

    /// Gives out what was checked and kept, if there is any.
    pub(super) fn read_waiting(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        let waiting = self.guard.waiting();
        let n = waiting.len().min(buffer.remaining());
        buffer.put_slice(&waiting[..n]);
        self.guard.consume(n);
        n > 0
    }

    /// Checks what was read after the first `before` bytes of `buffer`, and leaves what may be passed on.
    pub(super) fn check(&mut self, buffer: &mut ReadBuf<'_>, before: usize) -> io::Result<()> {
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
    pub(super) fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
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

    /// The trailers are written next, and nothing else before the empty line after them.
    pub(super) fn end_body(&mut self) {
        if self.interim.is_empty()
            && let Some(trailers) = self.connection.link().take_trailers()
        {
            self.interim.extend_from_slice(&trailers);
            self.within_message = true;
        }
    }

    /// Writes informational responses, if a message may begin here.
    pub(super) fn poll_interim(
        &mut self,
        io: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
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
