//! How does a client open a connection, and can it wait for ever?

use std::{
    io::{self, Read},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use socket2::{Domain, SockAddr, Socket, Type};

use crate::netns::Netns;

/// No read, write or connect of a scenario waits longer: a stuck connection becomes an error that says where.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Connects from the namespace of the calling thread.
pub fn here(target: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&target, PATIENCE).map_err(|e| to(target, e))?;
    patient(stream)
}

/// Connects from inside `netns`.
pub fn from(netns: &Netns, target: SocketAddr) -> io::Result<TcpStream> {
    netns.run(|| here(target))?
}

/// Connects from inside `netns` with a socket that `prepare` has set up (bound, given options).
pub fn prepared(
    netns: &Netns,
    target: SocketAddr,
    prepare: impl FnOnce(&Socket) -> io::Result<()> + Send,
) -> io::Result<TcpStream> {
    netns.run(|| {
        let socket = Socket::new(Domain::for_address(target), Type::STREAM, None)?;
        prepare(&socket)?;
        socket.connect_timeout(&SockAddr::from(target), PATIENCE).map_err(|e| to(target, e))?;
        patient(socket.into())
    })?
}

/// Gives a stream the scenario's patience.
pub fn patient(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Reads from a stream that may be spliced: then a blocking read may be told EAGAIN without having waited. A read with
/// a limit may be told EINTR too, whatever the kernel had to do with its thread.
#[derive(Debug)]
pub struct Steadfast<'a>(pub &'a TcpStream);

impl Read for Steadfast<'_> {
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
