//! Opens, tunes and ends TCP connections.

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

use crate::refusal::Reason;

/// Linkerd's keepalive. No TCP_USER_TIMEOUT beside it: that would also end connections whose reader pauses. HTTP has a
/// timeout of its own (`http/silence.rs`).
const KEEPALIVE: Duration = Duration::from_secs(10);
const KEEPALIVE_PROBES: u32 = 3;

/// Why a connection could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ConnectFailure {
    /// The other side refused, or the network did.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Nobody answered in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
}

impl ConnectFailure {
    /// Whether a later attempt may succeed: a packet was lost, a route or neighbour is not known yet.
    pub fn is_transient(&self) -> bool {
        match self {
            ConnectFailure::Io(error) => {
                matches!(error.raw_os_error(), Some(libc::EHOSTUNREACH | libc::ENETUNREACH | libc::ETIMEDOUT))
            }
            ConnectFailure::Timeout(_) => true,
        }
    }

    /// Why, for metrics and logs.
    pub fn reason(&self) -> Reason {
        match self {
            ConnectFailure::Timeout(_) => Reason::EndpointUnreachable,
            ConnectFailure::Io(error) => match error.raw_os_error() {
                Some(libc::ECONNREFUSED | libc::ECONNRESET) => Reason::RefusedByEndpoint,
                Some(libc::EHOSTUNREACH | libc::ENETUNREACH | libc::ETIMEDOUT) => Reason::EndpointUnreachable,
                _ => Reason::Io,
            },
        }
    }

    /// For the metric label `errno`.
    pub fn errno(&self) -> &'static str {
        match self {
            ConnectFailure::Io(error) => errno(error),
            ConnectFailure::Timeout(_) => "ETIMEDOUT",
        }
    }
}

/// Connects a socket from a pool (of the network namespace in which it was made) to `to`.
///
/// # Errors
/// The kernel's, or [`ConnectFailure::Timeout`] after `limit`.
pub async fn connect(socket: OwnedFd, to: SocketAddr, limit: Duration) -> Result<TcpStream, ConnectFailure> {
    let socket = TcpSocket::from_std_stream(socket.into());
    let mut connecting = pin!(socket.connect(to));
    // A peer on this machine has answered already: one more poll costs less than a timer.
    tokio::select! {
        biased;
        stream = &mut connecting => return Ok(stream?),
        () = yield_now() => {}
    }
    match timeout(limit, connecting).await {
        Ok(stream) => Ok(stream?),
        Err(_) => Err(ConnectFailure::Timeout(limit)),
    }
}

/// Turns off Nagle's algorithm and turns on keepalive. Accepted sockets inherit both from their listener.
pub fn tune(socket: &impl AsFd) -> io::Result<()> {
    let socket = SockRef::from(socket);
    socket.set_tcp_nodelay(true)?;
    let keepalive =
        TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE).with_retries(KEEPALIVE_PROBES);
    socket.set_tcp_keepalive(&keepalive)
}

/// Makes the connection end with a RST however it ends (this process may be killed), unless [`end_orderly`] is called:
/// a truncated stream must not look like a complete one. Accepted sockets inherit this from their listener.
pub fn end_by_reset(socket: &impl AsFd) {
    // Fails only if the descriptor is not a socket.
    let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
}

/// Both directions have ended: the close is an ordinary one.
pub fn end_orderly(stream: &TcpStream) {
    // Fails only if the descriptor is not a socket.
    let _ = SockRef::from(stream).set_linger(None);
}

/// Closes a connection with a RST instead of a FIN: what the peer has not read may be lost, and it learns so.
pub fn reset(stream: TcpStream) {
    end_by_reset(&stream);
}

/// The name of an error as in errno(3), for the metric label `errno`.
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
