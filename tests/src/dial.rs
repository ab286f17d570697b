//! Client connections with timeouts.

use std::{
    io::{self, Read},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use socket2::{Domain, SockAddr, Socket, Type};

use crate::netns::Netns;

/// The limit of every read, write and connect of a scenario.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// Connects from the namespace of the calling thread.
pub fn here(target: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&target, TIMEOUT).map_err(|e| to(target, e))?;
    with_timeouts(stream)
}

/// Connects from inside `netns`.
pub fn from(netns: &Netns, target: SocketAddr) -> io::Result<TcpStream> {
    netns.run(|| here(target))?
}

/// Connects from inside `netns` with a socket that `prepare` has bound or given options.
pub fn prepared(
    netns: &Netns,
    target: SocketAddr,
    prepare: impl FnOnce(&Socket) -> io::Result<()> + Send,
) -> io::Result<TcpStream> {
    netns.run(|| {
        let socket = Socket::new(Domain::for_address(target), Type::STREAM, None)?;
        prepare(&socket)?;
        socket.connect_timeout(&SockAddr::from(target), TIMEOUT).map_err(|e| to(target, e))?;
        with_timeouts(socket.into())
    })?
}

/// Sets read and write timeouts, and TCP_NODELAY.
pub fn with_timeouts(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Retries reads that end early: on a spliced socket, a blocking read may return EAGAIN before its timeout, and a read
/// with a timeout may return EINTR.
#[derive(Debug)]
pub struct RetryingReader<'a>(pub &'a TcpStream);

impl Read for RetryingReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let begun = Instant::now();
        loop {
            match self.0.read(buffer) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    if self.0.read_timeout()?.is_some_and(|limit| begun.elapsed() >= limit) {
                        return Err(e);
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }
}

fn to(target: SocketAddr, e: io::Error) -> io::Error {
    io::Error::new(e.kind(), format!("connecting to {target}: {e}"))
}
