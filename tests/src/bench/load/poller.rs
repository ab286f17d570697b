//! How does one thread wait for many sockets, and for a moment, to the microsecond?

use std::{
    io,
    os::fd::AsFd,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, ppoll},
    sys::{
        epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
        time::TimeSpec,
    },
};

use super::PATIENCE;

/// A processor that sleeps wakes up late, and by how much is no property of what is measured. So much before a moment,
/// the one that waits for it is awake.
const AWAKE: Duration = Duration::from_micros(100);

/// Many sockets, each with a number.
pub(super) struct Poller {
    epoll: Epoll,
    events: Vec<EpollEvent>,
}

impl Poller {
    pub(super) fn new() -> Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        Ok(Self { epoll, events: vec![EpollEvent::empty(); 256] })
    }

    /// Something of `interest` on `socket` will be told with `number`.
    pub(super) fn add(&self, socket: impl AsFd, interest: EpollFlags, number: usize) -> Result<()> {
        Ok(self.epoll.add(socket, EpollEvent::new(interest, number as u64))?)
    }

    /// Another interest.
    pub(super) fn change(&self, socket: impl AsFd, interest: EpollFlags, number: usize) -> Result<()> {
        Ok(self.epoll.modify(socket, &mut EpollEvent::new(interest, number as u64))?)
    }

    /// Waits as long as it takes, and gives how many sockets have something.
    pub(super) fn wait(&mut self) -> Result<usize> {
        self.collect(EpollTimeout::NONE)
    }

    /// Waits for what must come; an error if it does not for too long.
    pub(super) fn expect(&mut self) -> Result<usize> {
        let milliseconds = u16::try_from(PATIENCE.as_millis()).unwrap_or(u16::MAX);
        match self.collect(milliseconds.into())? {
            0 => bail!("no answer for {PATIENCE:?}"),
            found => Ok(found),
        }
    }

    /// Waits until `moment` at most; the last of it awake.
    pub(super) fn wait_until(&mut self, moment: Instant) -> Result<usize> {
        let asleep = moment.saturating_duration_since(Instant::now()).saturating_sub(AWAKE);
        // epoll_wait alone knows only milliseconds.
        if asleep > Duration::ZERO && wait_for(&self.epoll.0, PollFlags::POLLIN, asleep)? {
            return self.collect(EpollTimeout::ZERO);
        }
        loop {
            let found = self.collect(EpollTimeout::ZERO)?;
            if found > 0 || Instant::now() >= moment {
                return Ok(found);
            }
        }
    }

    /// The number of the socket that the `index`-th thing to tell is about.
    pub(super) fn number(&self, index: usize) -> usize {
        self.events[index].data() as usize
    }

    fn collect(&mut self, timeout: EpollTimeout) -> Result<usize> {
        match self.epoll.wait(&mut self.events, timeout) {
            Err(Errno::EINTR) => Ok(0),
            result => Ok(result?),
        }
    }
}

/// Waits until `socket` is ready for what is asked for; false: not for so long.
pub(super) fn wait_for(socket: &impl AsFd, flags: PollFlags, long: Duration) -> io::Result<bool> {
    match ppoll(&mut [PollFd::new(socket.as_fd(), flags)], Some(TimeSpec::from_duration(long)), None) {
        Ok(0) => Ok(false),
        Ok(_) | Err(Errno::EINTR) => Ok(true),
        Err(e) => Err(e.into()),
    }
}

/// Interests in a word each.
pub(super) const READ: EpollFlags = EpollFlags::EPOLLIN;
pub(super) const WRITE: EpollFlags = EpollFlags::EPOLLOUT;
