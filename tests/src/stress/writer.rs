//! The ways in which applications write.

use std::{
    fs::File,
    io::{self, IoSlice, Write},
    net::TcpStream,
};

use rand::{Rng, rngs::StdRng};
use rustix::{
    event::PollFlags,
    net::{SendFlags, send},
    pipe::{PipeFlags, SpliceFlags, pipe_with, splice},
};

use super::socket::{set_option, wait_for};
use crate::load::Pattern;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
/// Named after the system call or flag.
pub enum Writer {
    Write,
    Writev,
    Sendfile,
    Splice,
    Zerocopy,
    More,
    NonBlocking,
    /// 1 to 40 bytes at a time.
    Small,
}

pub const WRITERS: [Writer; 8] = [
    Writer::Write,
    Writer::Writev,
    Writer::Sendfile,
    Writer::Splice,
    Writer::Zerocopy,
    Writer::More,
    Writer::NonBlocking,
    Writer::Small,
];

const PIECE: usize = 256 << 10;
const MSG_ZEROCOPY: u32 = libc::MSG_ZEROCOPY as u32;

impl Writer {
    /// Sends `length` bytes of the pattern `seed` in pieces of random size.
    pub fn run(self, stream: &TcpStream, seed: u64, length: u64, random: &mut StdRng) -> io::Result<()> {
        let mut pattern = Pattern::new(seed);
        let mut buffer = vec![0; PIECE];
        let pipe = pipe_with(PipeFlags::CLOEXEC)?;
        let file = if self == Self::Sendfile { Some(tempfile::tempfile()?) } else { None };
        if self == Self::Zerocopy {
            set_option(stream, libc::SO_ZEROCOPY, 1)?;
        }
        while pattern.position() < length {
            let left = (length - pattern.position()) as usize;
            let most = if self == Self::Small { 40 } else { 1 << random.random_range(0..=18) };
            let size = random.random_range(1..=most.min(left));
            let at = pattern.position();
            pattern.fill(&mut buffer[..size]);
            self.piece(stream, &buffer[..size], left == size, file.as_ref(), &pipe, random)
                .map_err(|e| io::Error::new(e.kind(), format!("{self:?} at {at} of {length}: {e}")))?;
        }
        Ok(())
    }

    fn piece(
        self,
        mut stream: &TcpStream,
        bytes: &[u8],
        last: bool,
        file: Option<&File>,
        pipe: &(std::os::fd::OwnedFd, std::os::fd::OwnedFd),
        random: &mut StdRng,
    ) -> io::Result<()> {
        let mut done = 0;
        while done < bytes.len() {
            let rest = &bytes[done..];
            done += match self {
                Self::Write | Self::Small => stream.write(rest)?,
                Self::Writev => {
                    let (a, b) = rest.split_at(rest.len() / 3);
                    stream.write_vectored(&[IoSlice::new(a), IoSlice::new(b)])?
                }
                Self::Sendfile => {
                    let mut file = file.ok_or_else(|| io::Error::other("no file"))?;
                    // The pages of earlier parts may not have been sent yet, so each part is written behind them.
                    let end = file.metadata()?.len();
                    io::Seek::seek(&mut file, io::SeekFrom::End(0))?;
                    file.write_all(rest)?;
                    let mut offset = end;
                    let mut sent = 0;
                    while sent < rest.len() {
                        sent += rustix::fs::sendfile(stream, file, Some(&mut offset), rest.len() - sent)?;
                    }
                    sent
                }
                Self::Splice => {
                    // A pipe holds this much.
                    let size = rest.len().min(32 << 10);
                    rustix::io::write(&pipe.1, &rest[..size])?;
                    let mut left = size;
                    while left > 0 {
                        let flags = if random.random() { SpliceFlags::MORE } else { SpliceFlags::empty() };
                        left -= splice(&pipe.0, None, stream, None, left, flags)?;
                    }
                    size
                }
                Self::Zerocopy => {
                    // The bytes must not change until they are sent, and nothing reports when that is.
                    let kept: &'static [u8] = Box::leak(rest.to_vec().into_boxed_slice());
                    let flags = SendFlags::NOSIGNAL | SendFlags::from_bits_retain(MSG_ZEROCOPY);
                    send(stream, kept, flags)?
                }
                Self::More => {
                    let more = !last && random.random();
                    let flags = if more { SendFlags::MORE } else { SendFlags::empty() };
                    send(stream, rest, flags | SendFlags::NOSIGNAL)?
                }
                Self::NonBlocking => match send(stream, rest, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                    Err(rustix::io::Errno::AGAIN) => {
                        wait_for(stream, PollFlags::OUT)?;
                        0
                    }
                    sent => sent?,
                },
            };
        }
        Ok(())
    }
}
