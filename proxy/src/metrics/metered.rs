//! A stream that counts its bytes, and records how its connection ended when it is dropped.
//!
//! The code that reads and writes the stream (a copy loop, an HTTP library) does not deal with metrics.

use std::{
    io,
    os::fd::AsFd,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::transport::{OpenConn, Transport};
use crate::{
    capture::tcp_info,
    net::{OverTcp, errno},
};

/// One TCP connection of the proxy and its counters.
///
/// Without a call of [`Metered::finish`], the first I/O error, if any, is recorded as the reason of the close.
pub struct Metered<S: OverTcp> {
    io: S,
    record: ConnectionRecord,
}

/// The counters of one TCP connection. A connection between two workloads of one node counts for both.
pub struct ConnectionRecord {
    counters: Vec<OpenConn>,
    /// Count the connection from its other end: what is written here, they have read.
    mirrored: Vec<OpenConn>,
    errno: Option<&'static str>,
}

impl<S: OverTcp> Metered<S> {
    /// Counts `io` as open from now on.
    pub fn new(io: S, record: ConnectionRecord) -> Self {
        let metered = Self { io, record };
        metered.measure();
        metered
    }

    pub fn tcp(&self) -> &tokio::net::TcpStream {
        self.io.tcp()
    }

    pub fn io_mut(&mut self) -> &mut S {
        &mut self.io
    }

    /// The counters of the connection.
    pub fn counters(&self) -> impl Iterator<Item = &Arc<Transport>> {
        self.record.counters.iter().map(OpenConn::transport)
    }

    /// Counts the connection for one more workload from now on.
    pub fn add(&mut self, counter: OpenConn) {
        self.record.counters.push(counter);
    }

    /// Counts the connection from its other end for one more workload.
    pub fn add_mirrored(&mut self, counter: OpenConn) {
        self.record.mirrored.push(counter);
    }

    /// Sets the reason of the close to record (`ECONNRESET`, …); `None` is a regular close.
    pub fn finish(&mut self, errno: Option<&'static str>) {
        self.record.errno = errno;
    }

    /// Records the round-trip time, and returns how many segments the kernel has retransmitted so far. Both are
    /// recorded only for connections between pods.
    fn measure(&self) -> u32 {
        if !self.record.counters.iter().any(OpenConn::has_path) {
            return 0;
        }
        let Some((rtt, retransmits)) = tcp_info(&self.io.tcp().as_fd()) else { return 0 };
        if !rtt.is_zero() {
            self.record.counters.iter().for_each(|counter| counter.rtt(rtt));
        }
        retransmits
    }

    fn failed(&mut self, error: io::Error) -> io::Error {
        self.record.errno.get_or_insert(errno(&error));
        error
    }
}

impl<S: OverTcp> Drop for Metered<S> {
    fn drop(&mut self) {
        let retransmits = self.measure();
        for counter in self.record.counters.drain(..) {
            counter.retransmits(retransmits.into());
            counter.close(self.record.errno);
        }
        for counter in self.record.mirrored.drain(..) {
            counter.close(self.record.errno);
        }
    }
}

impl ConnectionRecord {
    pub fn new(counter: OpenConn) -> Self {
        Self { counters: vec![counter], mirrored: Vec::new(), errno: None }
    }
}

impl<S: OverTcp> OverTcp for Metered<S> {
    fn tcp(&self) -> &tokio::net::TcpStream {
        self.io.tcp()
    }
}

impl<S: OverTcp> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = ready!(Pin::new(&mut self.io).poll_read(cx, buffer));
        let read = buffer.filled().len() - before;
        self.record.counters.iter().for_each(|counter| counter.read(read as u64));
        self.record.mirrored.iter().for_each(|counter| counter.wrote(read as u64));
        Poll::Ready(result.map_err(|error| self.failed(error)))
    }
}

impl<S: OverTcp> AsyncWrite for Metered<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = ready!(Pin::new(&mut self.io).poll_write(cx, bytes));
        Poll::Ready(self.wrote(result))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, slices));
        Poll::Ready(self.wrote(result))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = ready!(Pin::new(&mut self.io).poll_flush(cx));
        Poll::Ready(result.map_err(|error| self.failed(error)))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = ready!(Pin::new(&mut self.io).poll_shutdown(cx));
        Poll::Ready(result.map_err(|error| self.failed(error)))
    }
}

impl<S: OverTcp> Metered<S> {
    fn wrote(&mut self, result: io::Result<usize>) -> io::Result<usize> {
        match result {
            Ok(written) => {
                self.record.counters.iter().for_each(|counter| counter.wrote(written as u64));
                self.record.mirrored.iter().for_each(|counter| counter.read(written as u64));
                Ok(written)
            }
            Err(error) => Err(self.failed(error)),
        }
    }
}
