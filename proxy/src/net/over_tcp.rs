//! Streams that run over one TCP connection.

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

use super::{AppStream, Prefixed};

/// A byte stream whose socket can be reached: to tune it, to measure it, to end it by a reset.
pub trait OverTcp: AsyncRead + AsyncWrite + Unpin {
    /// The TCP connection underneath.
    fn tcp(&self) -> &TcpStream;
}

impl OverTcp for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl OverTcp for AppStream {
    fn tcp(&self) -> &TcpStream {
        self.get_ref()
    }
}

impl<IO: OverTcp> OverTcp for Prefixed<IO> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().tcp()
    }
}
