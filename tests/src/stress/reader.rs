//! The ways in which applications read.

use std::{io, net::TcpStream, time::Instant};

use rand::{Rng, rngs::StdRng};
use rustix::{
    buffer::spare_capacity,
    event::{PollFlags, Timespec, epoll},
    io::Errno,
    net::{RecvFlags, recv},
};

use super::socket::{maybe_pause, set_option, wait_for};
use crate::{dial::TIMEOUT, load::Pattern};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
/// Named after the system call, option or flag.
pub enum Reader {
    Blocking,
    Poll,
    EpollEdge,
    Peek,
    Slow,
    Fionread,
    Lowat,
    WaitAll,
    Trunc,
}

pub const READERS: [Reader; 9] = [
    Reader::Blocking,
    Reader::Poll,
    Reader::EpollEdge,
    Reader::Peek,
    Reader::Slow,
    Reader::Fionread,
    Reader::Lowat,
    Reader::WaitAll,
    Reader::Trunc,
];

const BUFFER: usize = 256 << 10;

impl Reader {
    /// Reads exactly `length` bytes of the pattern `seed` and, if `to_end`, the end of the stream.
    pub fn run(
        self,
        stream: &TcpStream,
        seed: u64,
        length: u64,
        to_end: bool,
        random: &mut StdRng,
    ) -> io::Result<()> {
        let epoll = if self == Self::EpollEdge { Some(edge_triggered(stream)?) } else { None };
        let mut pattern = Pattern::new(seed);
        let mut buffer = vec![0; BUFFER];
        let located =
            |at: u64, e: io::Error| io::Error::new(e.kind(), format!("{self:?} at {at} of {length}: {e}"));
        while to_end || pattern.position() < length {
            let at = pattern.position();
            let left = length.saturating_sub(at).max(1);
            let most = 1usize << random.random_range(0..=18);
            let want = if to_end { most } else { most.min(left as usize) };
            let read = self.once(stream, epoll.as_ref(), &mut buffer[..want], left, random);
            match read.map_err(|e| located(at, e))? {
                0 if at == length => return Ok(()),
                0 => return Err(located(at, io::Error::new(io::ErrorKind::UnexpectedEof, "early end"))),
                n if at + n as u64 > length => {
                    return Err(located(at, io::Error::other(format!("{n} bytes were received"))));
                }
                n if self == Self::Trunc => pattern.skip(n as u64),
                n => pattern
                    .check(&buffer[..n])
                    .map_err(|e| located(at, io::Error::new(io::ErrorKind::InvalidData, e)))?,
            }
        }
        Ok(())
    }

    fn once(
        self,
        stream: &TcpStream,
        epoll: Option<&std::os::fd::OwnedFd>,
        buffer: &mut [u8],
        left: u64,
        random: &mut StdRng,
    ) -> io::Result<usize> {
        match self {
            Self::Blocking => blocking(stream, buffer, RecvFlags::empty()),
            Self::WaitAll => {
                let want = buffer.len().min(left as usize);
                blocking(stream, &mut buffer[..want], RecvFlags::WAITALL)
            }
            Self::Trunc => blocking(stream, buffer, RecvFlags::TRUNC),
            Self::Slow => {
                maybe_pause(random);
                blocking(stream, buffer, RecvFlags::empty())
            }
            Self::Peek => {
                let seen = blocking(stream, buffer, RecvFlags::PEEK)?;
                let peeked = buffer[..seen].to_vec();
                let read = blocking(stream, &mut buffer[..seen.max(1)], RecvFlags::empty())?;
                if buffer[..read] != peeked[..read.min(seen)] {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "MSG_PEEK returned other bytes"));
                }
                Ok(read)
            }
            Self::Poll => polled(stream, buffer),
            Self::Fionread => {
                wait_for(stream, PollFlags::IN)?;
                let available = rustix::io::ioctl_fionread(stream)? as usize;
                // May be 0 although there is something to read (docs/operations.md). Reading single bytes would take
                // minutes.
                let want = if available == 0 { buffer.len() } else { available.min(buffer.len()) };
                polled(stream, &mut buffer[..want])
            }
            Self::Lowat => {
                let want = buffer.len().min(left as usize).min(64 << 10);
                set_option(stream, libc::SO_RCVLOWAT, want as i32)?;
                polled(stream, &mut buffer[..want])
            }
            Self::EpollEdge => loop {
                match recv(stream, &mut *buffer, RecvFlags::DONTWAIT) {
                    Err(Errno::AGAIN) => {
                        let epoll = epoll.ok_or_else(|| io::Error::other("no epoll"))?;
                        let limit = Timespec { tv_sec: TIMEOUT.as_secs() as i64, tv_nsec: 0 };
                        let mut events = Vec::with_capacity(1);
                        if epoll::wait(epoll, spare_capacity(&mut events), Some(&limit))? == 0 {
                            return Err(io::Error::new(io::ErrorKind::TimedOut, "no edge"));
                        }
                    }
                    read => return Ok(read?.0),
                }
            },
        }
    }
}

/// A blocking read, retried after EAGAIN: a spliced socket may return that without having waited.
fn blocking(stream: &TcpStream, buffer: &mut [u8], flags: RecvFlags) -> io::Result<usize> {
    let begun = Instant::now();
    loop {
        match recv(stream, &mut *buffer, flags) {
            Err(Errno::AGAIN) if begun.elapsed() < TIMEOUT => {}
            read => return Ok(read?.0),
        }
    }
}

fn polled(stream: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        wait_for(stream, PollFlags::IN)?;
        match recv(stream, &mut *buffer, RecvFlags::DONTWAIT) {
            Err(Errno::AGAIN) => {}
            read => return Ok(read?.0),
        }
    }
}

fn edge_triggered(stream: &TcpStream) -> io::Result<std::os::fd::OwnedFd> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let events = epoll::EventFlags::IN | epoll::EventFlags::ET | epoll::EventFlags::RDHUP;
    epoll::add(&epoll, stream, epoll::EventData::new_u64(0), events)?;
    Ok(epoll)
}
