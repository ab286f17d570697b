//! How is a TCP connection opened, tuned and ended?

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd, OwnedFd},
    pin::pin,
    time::Duration,
};

use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::{TcpSocket, TcpStream},
    task::yield_now,
    time::timeout,
};

/// Linkerd's keepalive. No TCP_USER_TIMEOUT beside it: that would also end connections whose reader pauses.
const KEEPALIVE: Duration = Duration::from_secs(10);
const KEEPALIVE_PROBES: u32 = 3;

/// Why a connection could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The other side refused, or the network did.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Nobody answered in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
}

impl ConnectError {
    /// Whether it may work a moment later: a packet was lost, a route or neighbour is not there yet.
    pub fn may_pass(&self) -> bool {
        match self {
            ConnectError::Io(error) => {
                matches!(error.raw_os_error(), Some(libc::EHOSTUNREACH | libc::ENETUNREACH | libc::ETIMEDOUT))
            }
            ConnectError::Timeout(_) => true,
        }
    }

    /// The errno's name, for the metrics.
    pub fn errno(&self) -> &'static str {
        match self {
            ConnectError::Io(error) => errno(error),
            ConnectError::Timeout(_) => "ETIMEDOUT",
        }
    }
}

/// Connects a socket from a stock (of whatever namespace it was made in) to `to`.
///
/// # Errors
/// The kernel's, or [`ConnectError::Timeout`] after `limit`.
pub async fn connect(socket: OwnedFd, to: SocketAddr, limit: Duration) -> Result<TcpStream, ConnectError> {
    let socket = TcpSocket::from_std_stream(socket.into());
    let mut connecting = pin!(socket.connect(to));
    // A peer on this machine has answered already: a look costs less than a timer.
    tokio::select! {
        biased;
        stream = &mut connecting => return Ok(stream?),
        () = yield_now() => {}
    }
    match timeout(limit, connecting).await {
        Ok(stream) => Ok(stream?),
        Err(_) => Err(ConnectError::Timeout(limit)),
    }
}

/// No delays, and a peer that vanishes is noticed. Of a listener, it holds for what is accepted from it.
pub fn tune(socket: &impl AsFd) -> io::Result<()> {
    let socket = SockRef::from(socket);
    socket.set_tcp_nodelay(true)?;
    let keepalive =
        TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE).with_retries(KEEPALIVE_PROBES);
    socket.set_tcp_keepalive(&keepalive)
}

/// From now on the connection ends with a RST however it ends (this process may be killed), unless
/// [`end_orderly`] is called: a cut stream must not look like a complete one. Of a listener, it holds for what is
/// accepted from it.
pub fn end_by_reset(socket: &impl AsFd) {
    // Fails only for a socket that is no socket.
    let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
}

/// The connection has said all in both directions: its close is an ordinary one.
pub fn end_orderly(stream: &TcpStream) {
    // Fails only for a socket that is no socket.
    let _ = SockRef::from(stream).set_linger(None);
}

/// Ends a connection with a RST instead of a FIN: what the peer has not read may be lost, and it is told so.
pub fn reset(stream: TcpStream) {
    end_by_reset(&stream);
}

/// The name of an error as errno(3) has it.
pub fn errno(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::ECONNREFUSED) => "ECONNREFUSED",
        Some(libc::ECONNRESET) => "ECONNRESET",
        Some(libc::ECONNABORTED) => "ECONNABORTED",
        Some(libc::EPIPE) => "EPIPE",
        Some(libc::ETIMEDOUT) => "ETIMEDOUT",
        Some(libc::EHOSTUNREACH) => "EHOSTUNREACH",
        Some(libc::ENETUNREACH) => "ENETUNREACH",
        Some(libc::EADDRNOTAVAIL) => "EADDRNOTAVAIL",
        Some(libc::EMFILE) => "EMFILE",
        Some(libc::ENFILE) => "ENFILE",
        Some(libc::ENOBUFS) => "ENOBUFS",
        Some(libc::ENOMEM) => "ENOMEM",
        Some(libc::EACCES) => "EACCES",
        Some(libc::EPERM) => "EPERM",
        Some(_) => "OTHER",
        None => match error.kind() {
            io::ErrorKind::UnexpectedEof => "EOF",
            io::ErrorKind::InvalidData => "TLS",
            io::ErrorKind::TimedOut => "ETIMEDOUT",
            _ => "OTHER",
        },
    }
}
