//! Waits until a due time to the microsecond, inside a tokio runtime, whose own timers count milliseconds.

use std::{
    fs::File,
    io::{self, ErrorKind},
    os::fd::AsFd,
    time::Instant,
};

use nix::sys::{
    timer::{Expiration, TimerSetTimeFlags},
    timerfd::{ClockId, TimerFd, TimerFlags},
};
use tokio::{net::unix::pipe, task};

use super::super::poller::SPIN;

pub(super) struct Timer {
    timer: TimerFd,
    /// The same timer for the runtime, which needs no more than that it is read like a pipe.
    end: pipe::Receiver,
}

impl Timer {
    /// Must be called inside a runtime.
    pub(super) fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        let end = File::from(timer.as_fd().try_clone_to_owned()?);
        Ok(Self { end: pipe::Receiver::from_file_unchecked(end)?, timer })
    }

    /// Sleeps at first and polls at the end, as [`super::super::poller::Poller::wait_until`] does.
    pub(super) async fn until(&self, moment: Instant) -> io::Result<()> {
        let asleep = moment.saturating_duration_since(Instant::now()).saturating_sub(SPIN);
        if !asleep.is_zero() {
            // Setting it discards an earlier end that nobody has read.
            self.timer.set(Expiration::OneShot(asleep.into()), TimerSetTimeFlags::empty())?;
            self.wait().await?;
        }
        while Instant::now() < moment {
            task::yield_now().await;
        }
        Ok(())
    }

    async fn wait(&self) -> io::Result<()> {
        loop {
            self.end.readable().await?;
            match self.end.try_read(&mut [0; size_of::<u64>()]) {
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                result => return result.map(drop),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_ends_at_the_moment_and_not_before() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("runtime");
        runtime.block_on(async {
            let timer = Timer::new().expect("timer");
            for microseconds in [0, 50, 700, 1500] {
                let moment = Instant::now() + Duration::from_micros(microseconds);
                timer.until(moment).await.expect("waiting");
                assert!(Instant::now() >= moment);
            }
        });
    }

    #[test]
    fn a_wait_that_was_given_up_does_not_end_the_next_one() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("runtime");
        runtime.block_on(async {
            let timer = Timer::new().expect("timer");
            let start = Instant::now();
            let first = timer.until(start + Duration::from_millis(1));
            tokio::select! { biased; _ = first => panic!("too early"), () = task::yield_now() => {} }
            std::thread::sleep(Duration::from_millis(2));
            let moment = start + Duration::from_millis(20);
            timer.until(moment).await.expect("waiting");
            assert!(Instant::now() >= moment);
        });
    }
}
