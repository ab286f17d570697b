//! A stream that collects small writes, and writes them together.
//!
//! HTTP/2 writes frame by frame, and h2 flushes after each larger one. Without this, each would be a TLS record and a
//! system call of its own. So what is flushed is collected too, and written when the tasks that are ready have run: they
//! often add to it.

use std::{
    cell::Cell,
    io, mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What is collected at most before it is written.
const LIMIT: usize = 32 * 1024;

thread_local! {
    /// The buffer of the connection that was flushed last: the next one need not grow its own step by step.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A stream whose writes are collected.
pub(super) struct Coalesced<S> {
    shared: Arc<Mutex<Shared<S>>>,
}

/// Writes what was collected. The task of the connection polls it after the connection.
pub(super) struct Outgoing<S>(Arc<Mutex<Shared<S>>>);

struct Shared<S> {
    io: S,
    collected: Vec<u8>,
    /// How many of them were written.
    written: usize,
    /// All was written, and is not known to have left `io`.
    unflushed: bool,
    /// The other tasks have had their turn since something was collected.
    has_waited: bool,
    failed: Option<io::Error>,
}

impl<S: AsyncWrite + Unpin> Coalesced<S> {
    pub(super) fn new(io: S) -> (Self, Outgoing<S>) {
        let (collected, written) = (Vec::new(), 0);
        let shared = Shared { io, collected, written, unflushed: false, has_waited: false, failed: None };
        let shared = Arc::new(Mutex::new(shared));
        (Self { shared: shared.clone() }, Outgoing(shared))
    }
}

impl<S: AsyncWrite + Unpin> Outgoing<S> {
    /// Writes what can be written, when the other tasks have run once.
    pub(super) fn poll(&self, cx: &mut Context<'_>) {
        let mut shared = self.0.lock();
        if shared.is_empty() {
            return;
        }
        if mem::replace(&mut shared.has_waited, true) {
            shared.write(cx);
        } else {
            cx.waker().wake_by_ref();
        }
    }

    /// Writes what can be written now: the connection has ended.
    pub(super) fn end(&self, cx: &mut Context<'_>) {
        self.0.lock().write(cx);
    }
}

impl<S: AsyncWrite + Unpin> Shared<S> {
    fn is_empty(&self) -> bool {
        self.collected.is_empty() && !self.unflushed
    }

    fn write(&mut self, cx: &mut Context<'_>) {
        match self.poll_flush(cx) {
            Poll::Ready(Ok(())) | Poll::Pending => {}
            Poll::Ready(Err(error)) => {
                // The connection learns of it when it is polled again.
                self.failed = Some(error);
                (self.collected, self.written, self.unflushed) = (Vec::new(), 0, false);
                cx.waker().wake_by_ref();
            }
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_write_out(cx))?;
        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        (self.unflushed, self.has_waited) = (false, false);
        Poll::Ready(Ok(()))
    }

    fn poll_write_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.collected.len() {
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, &self.collected[self.written..]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += written;
        }
        if self.written > 0 {
            // An idle connection holds no buffer.
            let mut buffer = mem::take(&mut self.collected);
            buffer.clear();
            SPARE.set(buffer);
            (self.written, self.unflushed) = (0, true);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_collect<'a>(
        &mut self,
        cx: &mut Context<'_>,
        slices: impl Iterator<Item = &'a [u8]>,
    ) -> Poll<io::Result<usize>> {
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Err(error));
        }
        if self.collected.len() >= LIMIT {
            ready!(self.poll_write_out(cx))?;
        }
        if self.collected.capacity() == 0 {
            self.collected = SPARE.take();
        }
        let before = self.collected.len();
        for slice in slices {
            let room = (2 * LIMIT).saturating_sub(self.collected.len());
            self.collected.extend_from_slice(&slice[..slice.len().min(room)]);
        }
        Poll::Ready(Ok(self.collected.len() - before))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Coalesced<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.shared.lock().io).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Coalesced<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.shared.lock().poll_collect(cx, std::iter::once(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.shared.lock().poll_collect(cx, slices.iter().map(|slice| &**slice))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // [`Outgoing`] does it.
        Poll::Ready(self.shared.lock().failed.take().map_or(Ok(()), Err))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut shared = self.shared.lock();
        ready!(shared.poll_write_out(cx))?;
        Pin::new(&mut shared.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Duration};

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    use super::*;

    /// Writes as the task of a connection does, until it is aborted.
    fn run(outgoing: Outgoing<DuplexStream>) -> tokio::task::JoinHandle<()> {
        tokio::spawn(async move {
            loop {
                poll_fn(|cx| {
                    outgoing.poll(cx);
                    Poll::Ready(())
                })
                .await;
                tokio::time::sleep(Duration::from_micros(10)).await;
            }
        })
    }

    #[tokio::test]
    async fn writes_arrive_together_also_when_each_is_flushed() {
        let (near, mut far) = tokio::io::duplex(1 << 20);
        let (mut stream, outgoing) = Coalesced::new(near);
        stream.write_all(b"one ").await.unwrap();
        stream.flush().await.unwrap();
        let parts = [io::IoSlice::new(b"two "), io::IoSlice::new(b"three")];
        assert_eq!(stream.write_vectored(&parts).await.unwrap(), 9);
        stream.flush().await.unwrap();
        let mut read = [0; 64];
        assert!(tokio::time::timeout(Duration::from_millis(20), far.read(&mut read)).await.is_err());
        let running = run(outgoing);
        assert_eq!(far.read(&mut read).await.unwrap(), 13);
        assert_eq!(&read[..13], b"one two three");
        running.abort();
    }

    #[tokio::test]
    async fn what_is_collected_is_bounded_and_nothing_is_lost() {
        let (near, mut far) = tokio::io::duplex(1000);
        let sent: Vec<u8> = (0..1_000_000u32).map(|n| n as u8).collect();
        let expected = sent.clone();
        let (mut stream, outgoing) = Coalesced::new(near);
        let running = run(outgoing);
        let writer = tokio::spawn(async move {
            for part in sent.chunks(7_777) {
                stream.write_all(part).await.unwrap();
                stream.flush().await.unwrap();
                assert!(stream.shared.lock().collected.len() <= 2 * LIMIT);
            }
            stream.shutdown().await.unwrap();
        });
        let mut received = Vec::new();
        far.read_to_end(&mut received).await.unwrap();
        writer.await.unwrap();
        running.abort();
        assert_eq!(received, expected);
    }

    #[tokio::test]
    async fn an_error_is_told_to_the_connection() {
        let (near, far) = tokio::io::duplex(1000);
        let (mut stream, outgoing) = Coalesced::new(near);
        drop(far);
        stream.write_all(b"lost").await.unwrap();
        let running = run(outgoing);
        let error = loop {
            match stream.flush().await {
                Ok(()) => tokio::time::sleep(Duration::from_millis(1)).await,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        running.abort();
    }
}
