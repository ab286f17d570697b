//! Waits for many sockets in one thread, and for a point in time to the microsecond.

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

use super::TIMEOUT;

/// A sleeping processor wakes up late, by an amount that has nothing to do with what is measured. The thread therefore
/// stops sleeping this long before a due time and polls.
pub(super) const SPIN: Duration = Duration::from_micros(100);

/// Sockets, each with a number.
pub(super) struct Poller {
    epoll: Epoll,
    events: Vec<EpollEvent>,
}

impl Poller {
    pub(super) fn new() -> Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        Ok(Self { epoll, events: vec![EpollEvent::empty(); 256] })
    }

    /// Events of `interest` on `socket` will be reported with `number`.
    pub(super) fn add(&self, socket: impl AsFd, interest: EpollFlags, number: usize) -> Result<()> {
        Ok(self.epoll.add(socket, EpollEvent::new(interest, number as u64))?)
    }

    /// Replaces the interest.
    pub(super) fn change(&self, socket: impl AsFd, interest: EpollFlags, number: usize) -> Result<()> {
        Ok(self.epoll.modify(socket, &mut EpollEvent::new(interest, number as u64))?)
    }

    /// Waits without a limit; returns how many sockets are ready.
    pub(super) fn wait(&mut self) -> Result<usize> {
        self.collect(EpollTimeout::NONE)
    }

    /// Waits for at most the timeout, whose end is an error.
    pub(super) fn expect(&mut self) -> Result<usize> {
        let milliseconds = u16::try_from(TIMEOUT.as_millis()).unwrap_or(u16::MAX);
        match self.collect(milliseconds.into())? {
            0 => bail!("no answer for {TIMEOUT:?}"),
            found => Ok(found),
        }
    }

    /// Waits until `moment` at most; polls at the end.
    pub(super) fn wait_until(&mut self, moment: Instant) -> Result<usize> {
        let asleep = moment.saturating_duration_since(Instant::now()).saturating_sub(SPIN);
        // epoll_wait takes milliseconds only.
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

    /// The number of the `index`-th ready socket.
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

/// Waits until `socket` is ready; false after `timeout`.
pub(super) fn wait_for(socket: &impl AsFd, flags: PollFlags, timeout: Duration) -> io::Result<bool> {
    match ppoll(&mut [PollFd::new(socket.as_fd(), flags)], Some(TimeSpec::from_duration(timeout)), None) {
        Ok(0) => Ok(false),
        Ok(_) | Err(Errno::EINTR) => Ok(true),
        Err(e) => Err(e.into()),
    }
}

pub(super) const READ: EpollFlags = EpollFlags::EPOLLIN;
pub(super) const WRITE: EpollFlags = EpollFlags::EPOLLOUT;
