//! A stream that collects small writes until it is flushed.
//!
//! HTTP/2 writes frame by frame. Without this, each frame would be a TLS record and a system call of its own.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What is collected at most before it is written.
const LIMIT: usize = 32 * 1024;

/// A stream whose writes are collected.
pub(super) struct Coalesced<S> {
    io: S,
    collected: BytesMut,
}

impl<S: AsyncWrite + Unpin> Coalesced<S> {
    pub(super) fn new(io: S) -> Self {
        Self { io, collected: BytesMut::new() }
    }

    fn poll_write_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.collected.is_empty() {
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, &self.collected))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.collected.advance(written);
        }
        // An idle connection holds no buffer.
        self.collected = BytesMut::new();
        Poll::Ready(Ok(()))
    }

    fn poll_collect<'a>(
        &mut self,
        cx: &mut Context<'_>,
        slices: impl Iterator<Item = &'a [u8]>,
    ) -> Poll<io::Result<usize>> {
        if self.collected.len() >= LIMIT {
            ready!(self.poll_write_out(cx))?;
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
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Coalesced<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_collect(cx, std::iter::once(bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_collect(cx, slices.iter().map(|slice| &**slice))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_write_out(cx))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_write_out(cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn writes_arrive_together_when_they_are_flushed() {
        let (near, mut far) = tokio::io::duplex(1 << 20);
        let mut stream = Coalesced::new(near);
        stream.write_all(b"one ").await.unwrap();
        let parts = [io::IoSlice::new(b"two "), io::IoSlice::new(b"three")];
        assert_eq!(stream.write_vectored(&parts).await.unwrap(), 9);
        let mut read = [0; 64];
        assert!(
            tokio::time::timeout(std::time::Duration::from_millis(20), far.read(&mut read)).await.is_err()
        );
        stream.flush().await.unwrap();
        assert_eq!(far.read(&mut read).await.unwrap(), 13);
        assert_eq!(&read[..13], b"one two three");
    }

    #[tokio::test]
    async fn what_is_collected_is_bounded_and_nothing_is_lost() {
        let (near, mut far) = tokio::io::duplex(1000);
        let sent: Vec<u8> = (0..1_000_000u32).map(|n| n as u8).collect();
        let expected = sent.clone();
        let writer = tokio::spawn(async move {
            let mut stream = Coalesced::new(near);
            for part in sent.chunks(7_777) {
                stream.write_all(part).await.unwrap();
                assert!(stream.collected.len() <= 2 * LIMIT);
            }
            stream.shutdown().await.unwrap();
        });
        let mut received = Vec::new();
        far.read_to_end(&mut received).await.unwrap();
        writer.await.unwrap();
        assert_eq!(received, expected);
    }
}
