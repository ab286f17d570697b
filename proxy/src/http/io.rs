//! The byte stream under an HTTP connection.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::{
    activity::Activity,
    budget::Budget,
    client_side::{ClientSide, HeadLimits},
    connection::Connection,
    frames::FrameWatch,
    silence::SilenceWatch,
    trailers::{self, Next},
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
    /// `None`: it reads as long as there are bytes.
    budget: Option<Budget>,
    /// For connections of HTTP/1 clients.
    client: Option<Box<ClientSide>>,
    /// For connections to the other side: told when bytes were read.
    activity: Option<Arc<Activity>>,
    /// Set when the client of a request does not wait for its response any more.
    is_abandoned: Option<Arc<AtomicBool>>,
    /// For connections of HTTP/2 clients.
    frames: Option<Box<FrameWatch>>,
    /// For connections of HTTP/1 to the other side.
    silence: Option<Box<SilenceWatch>>,
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
        Self {
            prefix,
            io: Box::new(io),
            ends_orderly: true,
            budget: None,
            client: None,
            activity: None,
            is_abandoned: None,
            frames: None,
            silence: None,
        }
    }

    /// Guards the requests of an HTTP/1 client.
    pub(super) fn guarded(mut self, connection: &Arc<Connection>, limits: HeadLimits) -> Self {
        self.client = Some(Box::new(ClientSide::new(connection, limits)));
        self
    }

    /// Ends the connection of an HTTP/2 client that floods it with frames.
    pub(super) fn with_frames_watched(self, connection: &Arc<Connection>) -> Self {
        Self { frames: Some(Box::new(FrameWatch::new(connection))), ..self }
    }

    /// Yields to other connections after about `size` bytes. hyper and h2 would read small messages on and on.
    pub(super) fn with_budget(self, size: usize) -> Self {
        Self { budget: Some(Budget::new(size)), ..self }
    }

    /// Tells `activity` when bytes were read.
    pub(super) fn heard_by(self, activity: Arc<Activity>) -> Self {
        Self { activity: Some(activity), ..self }
    }

    /// Ends by a reset instead of a shutdown if `abandoned` is set: the other side learns that nobody wants its response.
    pub(super) fn abandoned_by(self, abandoned: &Arc<AtomicBool>) -> Self {
        Self { is_abandoned: Some(abandoned.clone()), ..self }
    }

    /// Fails when the other side has been silent for `timeout`; zero: never.
    pub(super) fn silent_for(self, timeout: Duration) -> Self {
        Self { silence: SilenceWatch::new(timeout).map(Box::new), ..self }
    }

    /// From now on the stream carries something else than HTTP, after `unread`: a shutdown ends one direction only.
    pub(super) fn into_tunnel(mut self, unread: Bytes) -> Self {
        let held = self.client.take().map_or(Bytes::new(), |client| client.guard.into_held());
        self.prefix = [unread, held, self.prefix].concat().into();
        self.ends_orderly = false;
        self.budget = None;
        self.silence = None;
        self
    }

    /// Both directions have ended: the close is an ordinary one.
    pub(super) fn end_orderly(&self) {
        net::end_orderly(self.io.tcp());
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
        client.is_read = result.is_pending();
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
        if let Some(instead) = self.frames.as_mut().and_then(|watch| watch.received(buffer, before)) {
            self.prefix = instead;
            self.frames = None;
        }
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

    /// Looks for a reset while nobody reads.
    fn check_reset(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let Some(client) = &mut self.client else { return Ok(()) };
        if !client.is_read && client.reset.poll(self.io.tcp(), cx).is_ready() {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(())
    }

    /// Whether trailers wait for the end of the response's body.
    fn has_trailers(&self) -> bool {
        self.client.as_ref().is_some_and(|client| client.connection.link().has_trailers())
    }

    /// Writes some of hyper's bytes, and the trailers before the last two.
    fn poll_write_trailers(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Next::Bytes(bytes) = trailers::next(slices) else {
            let Some(client) = &mut self.client else { return Poll::Ready(Ok(0)) };
            client.end_body();
            ready!(client.poll_interim(&mut self.io, cx))?;
            // hyper's last bytes are the empty line after them.
            let Some(rest) = slices.iter().find(|slice| !slice.is_empty()) else { return Poll::Ready(Ok(0)) };
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, rest))?;
            self.wrote(written, trailers::EMPTY_LINE.len());
            return Poll::Ready(Ok(written));
        };
        let written = ready!(Pin::new(&mut self.io).poll_write(cx, bytes))?;
        self.wrote(written, usize::MAX);
        Poll::Ready(Ok(written))
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
        if read.is_pending()
            && let Some(silence) = &mut this.silence
            && silence.poll(this.io.tcp(), cx).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
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
        if self.has_trailers() {
            return self.poll_write_trailers(cx, &[io::IoSlice::new(bytes)]);
        }
        let written = ready!(Pin::new(&mut self.io).poll_write(cx, bytes))?;
        self.wrote(written, bytes.len());
        if let Some(watch) = &mut self.frames {
            watch.sent(bytes, written);
        }
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_write_budget(cx));
        ready!(self.poll_before_write(cx))?;
        if self.has_trailers() {
            return self.poll_write_trailers(cx, slices);
        }
        let written = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, slices))?;
        self.wrote(written, slices.iter().map(|slice| slice.len()).sum());
        if let Some(watch) = &mut self.frames {
            slices.iter().fold(written, |left, slice| left - watch.sent(slice, left));
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_before_write(cx))?;
        self.check_reset(cx)?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_abandoned.as_ref().is_some_and(|abandoned| abandoned.load(Ordering::Relaxed)) {
            // Dropped without a shutdown, the socket ends by a reset.
            return Poll::Ready(Ok(()));
        }
        if self.ends_orderly {
            self.end_orderly();
        }
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use socket2::SockRef;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };
    use tokio_util::{sync::CancellationToken, task::TaskTracker};

    use super::*;
    use crate::limits::NodeRequests;

    impl Stream for TcpStream {
        fn tcp(&self) -> &TcpStream {
            self
        }
    }

    /// The socket takes only a part of the trailers at a time.
    #[tokio::test]
    async fn one_empty_line_follows_trailers_for_which_a_slow_client_has_no_room() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        SockRef::from(&server).set_send_buffer_size(4096).unwrap();
        let token = CancellationToken::new;
        let connection = Connection::new(TaskTracker::new(), token(), token(), ());
        let limits = HeadLimits {
            timeout: Duration::from_secs(10),
            requests: NodeRequests::new(0).limiter(),
            direction: net::Direction::Inbound,
        };
        let trailers = format!("x: {}\r\n", "y".repeat(8 << 20));
        connection.link().set_trailers(trailers.clone().into_bytes());
        let mut io = HttpIo {
            prefix: Bytes::new(),
            io: Box::new(server),
            ends_orderly: true,
            budget: None,
            client: Some(Box::new(ClientSide::new(&connection, limits))),
            activity: None,
            is_abandoned: None,
            frames: None,
            silence: None,
        };
        let write = async {
            io.write_all(b"2\r\nab\r\n0\r\n\r\n").await.unwrap();
            io.write_all(b"HTTP/1.1 204").await.unwrap();
            io.shutdown().await.unwrap();
        };
        let mut arrived = Vec::new();
        let read = async { client.read_to_end(&mut arrived).await.unwrap() };
        tokio::join!(write, read);
        let expected = format!("2\r\nab\r\n0\r\n{trailers}\r\n");
        assert_eq!(
            String::from_utf8_lossy(&arrived[expected.len() - 8..]),
            format!("{}HTTP/1.1 204", &expected[expected.len() - 8..])
        );
        assert_eq!(arrived.len(), expected.len() + "HTTP/1.1 204".len());
    }
}
