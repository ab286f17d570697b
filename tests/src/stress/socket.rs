//! Helpers for the sockets of both sides.

use std::{
    io,
    net::TcpStream,
    os::fd::{AsFd, AsRawFd},
    time::Duration,
};

use rand::{Rng, rngs::StdRng};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::dial::TIMEOUT;

/// Sets an integer option of the socket level.
pub(super) fn set_option(stream: &TcpStream, name: i32, value: i32) -> io::Result<()> {
    // SAFETY: the kernel reads one integer.
    let result = unsafe {
        libc::setsockopt(
            stream.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            name,
            std::ptr::from_ref(&value).cast(),
            size_of::<i32>() as libc::socklen_t,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Waits until the socket is ready, with a timeout.
pub(super) fn wait_for(stream: &TcpStream, events: PollFlags) -> io::Result<()> {
    let mut fds = [PollFd::from_borrowed_fd(stream.as_fd(), events)];
    let limit = Timespec { tv_sec: TIMEOUT.as_secs() as i64, tv_nsec: 0 };
    match poll(&mut fds, Some(&limit))? {
        0 => Err(io::Error::new(io::ErrorKind::TimedOut, format!("poll {events:?} waited {TIMEOUT:?}"))),
        _ => Ok(()),
    }
}

/// Sometimes sleeps for a moment, to vary the order of the threads.
pub(super) fn maybe_pause(random: &mut StdRng) {
    if random.random_ratio(1, 4) {
        std::thread::sleep(Duration::from_micros(random.random_range(0..2000)));
    }
}
