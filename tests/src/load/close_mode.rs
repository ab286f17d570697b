//! The ways in which a client uses and closes a connection to an echo server.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    time::Duration,
};

use socket2::{Domain, SockRef, Socket, Type};

use super::Pattern;
use crate::dial::{self, RetryingReader};

/// What the client does, in the namespace of the calling thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CloseMode {
    /// Sends, reads the echo, and both sides close.
    Echo,
    /// Sends, closes its half, and only then reads.
    HalfClose,
    /// Closes with unread bytes, which sends a reset.
    LeaveUnread,
    /// Connects and resets.
    ResetAtOnce,
    /// Resets with bytes in flight in both directions.
    ResetInFlight,
    /// Closes the socket before it is connected.
    AbortConnect,
    /// Sends unexpected bytes and resets.
    Garbage(Vec<u8>),
    /// Expects to be refused, reset or closed without receiving a byte.
    Denied,
}

impl CloseMode {
    /// Runs it once; fails on errors that this mode does not cause itself.
    pub fn run(&self, target: SocketAddr, seed: u64) -> io::Result<()> {
        match self {
            Self::Echo => {
                let mut stream = dial::here(target)?;
                let message = message(seed);
                stream.write_all(&message)?;
                let mut answer = vec![0; message.len()];
                RetryingReader(&stream).read_exact(&mut answer)?;
                check(seed, &answer)?;
                stream.shutdown(Shutdown::Write)?;
                end(&stream)
            }
            Self::HalfClose => {
                let mut stream = dial::here(target)?;
                let message = message(seed);
                stream.write_all(&message)?;
                stream.shutdown(Shutdown::Write)?;
                let mut answer = vec![0; message.len()];
                RetryingReader(&stream).read_exact(&mut answer)?;
                check(seed, &answer)?;
                end(&stream)
            }
            Self::LeaveUnread => {
                let mut stream = dial::here(target)?;
                stream.write_all(&message(seed))?;
                RetryingReader(&stream).read_exact(&mut [0])
            }
            Self::ResetAtOnce => reset(dial::here(target)?),
            Self::ResetInFlight => {
                let mut stream = dial::here(target)?;
                for part in 0..4 {
                    stream.write_all(&message(seed + part))?;
                }
                RetryingReader(&stream).read_exact(&mut [0; 16])?;
                reset(stream)
            }
            Self::AbortConnect => abort(target),
            Self::Garbage(bytes) => {
                let mut stream = dial::here(target)?;
                // The peer may have closed already.
                let _ = stream.write_all(bytes);
                reset(stream)
            }
            Self::Denied => denied(target),
        }
    }
}

/// Between 1 byte and 4 KiB.
fn message(seed: u64) -> Vec<u8> {
    let mut message = vec![0; 1 + (seed.wrapping_mul(0x9e37_79b9) >> 7) as usize % 4096];
    Pattern::new(seed).fill(&mut message);
    message
}

fn check(seed: u64, answer: &[u8]) -> io::Result<()> {
    Pattern::new(seed).check(answer).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
}

fn end(stream: &TcpStream) -> io::Result<()> {
    match RetryingReader(stream).read(&mut [0])? {
        0 => Ok(()),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "a byte after the end")),
    }
}

fn reset(stream: TcpStream) -> io::Result<()> {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO))
}

fn abort(target: SocketAddr) -> io::Result<()> {
    let socket = Socket::new(Domain::for_address(target), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&target.into()) {
        Err(e) if e.raw_os_error() != Some(libc::EINPROGRESS) => Err(e),
        _ => socket.set_linger(Some(Duration::ZERO)),
    }
}

fn denied(target: SocketAddr) -> io::Result<()> {
    let Ok(mut stream) = dial::here(target) else { return Ok(()) };
    // The refusal may arrive before the write.
    let asked = stream.write_all(b"may I?").and_then(|()| RetryingReader(&stream).read(&mut [0]));
    match asked {
        Ok(1..) => Err(io::Error::new(io::ErrorKind::InvalidData, "an answer, though access is denied")),
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
            Err(io::Error::new(io::ErrorKind::TimedOut, "neither an answer nor an end"))
        }
        _ => Ok(()),
    }
}
