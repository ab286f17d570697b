//! A connection to or from an application, whose socket may be in the kernel's socket map.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// A connection between the proxy and an application of its node.
///
/// In the socket map (proxy-ebpf/src/splice.rs) a read gives what the kernel put there or what came by TCP, not both:
/// a read that fills the buffer only in part does not mean that there is no more, and tokio takes it for that. Only
/// EAGAIN says so.
pub struct AppStream {
    tcp: TcpStream,
    in_socket_map: bool,
}

impl AppStream {
    pub fn new(tcp: TcpStream) -> Self {
        Self { tcp, in_socket_map: false }
    }

    pub fn get_ref(&self) -> &TcpStream {
        &self.tcp
    }

    /// From now on the kernel may put bytes into the socket beside TCP.
    pub fn set_in_socket_map(&mut self) {
        self.in_socket_map = true;
    }
}

impl AsyncRead for AppStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.in_socket_map {
            return Pin::new(&mut self.tcp).poll_read(cx, buffer);
        }
        loop {
            ready!(self.tcp.poll_read_ready(cx))?;
            match self.tcp.try_read(buffer.initialize_unfilled()) {
                Ok(read) => {
                    buffer.advance(read);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for AppStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if !self.in_socket_map {
            return Pin::new(&mut self.tcp).poll_write(cx, bytes);
        }
        loop {
            ready!(self.tcp.poll_write_ready(cx))?;
            match self.tcp.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.in_socket_map {
            let first = slices.iter().find(|slice| !slice.is_empty()).map_or(&[][..], |slice| &slice[..]);
            return self.poll_write(cx, first);
        }
        Pin::new(&mut self.tcp).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        !self.in_socket_map
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
