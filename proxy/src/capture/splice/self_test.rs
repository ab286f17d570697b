//! Tests once whether this kernel splices correctly.
//!
//! Uses a connection of its own in a temporary network namespace. Checks that every byte is put into the queue in order,
//! that the queue's length shows it, and that a sleeping reader is seen. Kernels before 6.13 (fixed in later stable
//! ones) do not count what is put there: the queue of a reader that does not read would grow without bound.

use std::{
    fs::File,
    io::{Read, Seek, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::fd::{AsFd, OwnedFd},
    sync::mpsc,
    time::{Duration, Instant},
};

use nix::sched::{CloneFlags, unshare};
use socket2::{Domain, Protocol, Socket, Type};
use weft_common::{SpliceRedirect, Workload};

use super::{InstalledRedirect, Splice, State};
use crate::capture::{Capture, sys};

const BYTES: usize = 4000;
const TIMEOUT: Duration = Duration::from_secs(2);

/// Runs the test unless it has run already; if it fails, splicing is turned off.
pub(in crate::capture) fn run_once(capture: &Capture) {
    if *capture.splice.state.read() != State::Untried {
        return;
    }
    let result = std::thread::scope(|scope| {
        scope.spawn(|| self_test(capture)).join().unwrap_or_else(|_| Err("the self-test panicked".to_owned()))
    });
    match result {
        Ok(()) => {
            *capture.splice.state.write() = State::On;
            tracing::info!("connections that opt in are spliced");
        }
        Err(reason) => capture.splice.turn_off(reason),
    }
}

fn self_test(capture: &Capture) -> Result<(), String> {
    unshare(CloneFlags::CLONE_NEWNET).map_err(|error| failed("a network namespace")(error.into()))?;
    sys::loopback_up().map_err(failed("its loopback"))?;
    let source = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).map_err(failed("a socket"))?;
    let netns = sys::netns_cookie(&source).map_err(failed("the namespace's cookie"))?;
    capture.maps.lock().set_workload(netns, Workload::default()).map_err(text)?;
    let result = TestConnection::open(capture, source).and_then(|mut connection| {
        connection.moves_every_byte()?;
        connection.sees_a_sleeping_reader()
    });
    capture.maps.lock().forget(netns, &[]).map_err(text)?;
    result
}

/// A connection within the namespace of the test: `application`, the accepted socket, sends, and `source` receives.
struct TestConnection<'a> {
    splice: &'a Splice,
    application: TcpStream,
    source: TcpStream,
    redirects: [SpliceRedirect; 2],
}

impl<'a> TestConnection<'a> {
    fn open(capture: &'a Capture, source: Socket) -> Result<Self, String> {
        let splice = &capture.splice;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed("listening"))?;
        let addr = listener.local_addr().map_err(failed("listening"))?;
        capture.stand_for(&source, addr, true).map_err(text)?;
        source.connect(&addr.into()).map_err(failed("connecting"))?;
        let cookie = sys::socket_cookie(&source).map_err(failed("a cookie"))?;
        let (application, _) = listener.accept().map_err(failed("accepting"))?;
        let pair = splice
            .pair(cookie)
            .ok_or("the self-test of splicing: the kernel side did not see the connection")?;
        splice.join(source.as_fd(), cookie).map_err(text)?;
        let source = TcpStream::from(OwnedFd::from(source));
        source.set_read_timeout(Some(TIMEOUT)).map_err(failed("a time limit"))?;
        let (source_end, application_end) = ((cookie, pair.proxy_sock), (pair.app, pair.app_sock));
        let redirects = [redirect(application_end, source_end), redirect(source_end, application_end)];
        Ok(Self { splice, application, source, redirects })
    }

    /// Every byte is put into the reader's queue, in order, and the kernel counts it there.
    fn moves_every_byte(&mut self) -> Result<(), String> {
        let sent: Vec<u8> = (0..BYTES).map(|i| i as u8).collect();
        let spliced = Spliced::begin(self.splice, self.redirects)?;
        self.application.write_all(&sent).map_err(failed("sending"))?;
        let queued = sys::receive_queue(&self.source).map_err(failed("the queue's length"))?;
        let moved = spliced.moved();
        if moved != Some(BYTES as u64) {
            let moved = moved.unwrap_or(0);
            return Err(format!("the self-test of splicing: {moved} of {BYTES} bytes were moved"));
        }
        if queued < BYTES as u32 {
            return Err(format!(
                "this kernel does not count what is put into a queue ({queued} of {BYTES} bytes), so that it could grow without bound; kernels from 6.13 do"
            ));
        }
        let mut got = vec![0; BYTES];
        self.source.read_exact(&mut got).map_err(failed("receiving"))?;
        if got == sent { Ok(()) } else { Err("the self-test of splicing: bytes arrived damaged".to_owned()) }
    }

    /// A reader that sleeps gets its byte over TCP: the program cannot know whether it waits for what is put into the
    /// queue, too.
    fn sees_a_sleeping_reader(&mut self) -> Result<(), String> {
        let spliced = Spliced::begin(self.splice, self.redirects)?;
        let mut source = &self.source;
        std::thread::scope(|scope| {
            let (report, asleep) = mpsc::channel();
            let reader = scope.spawn(move || {
                let _ = report.send(File::open("/proc/thread-self/stat"));
                source.read_exact(&mut [0])
            });
            let seen = asleep.recv().map_err(std::io::Error::other).flatten().and_then(until_asleep);
            let sent = self.application.write_all(&[0]);
            let read = reader.join().unwrap_or_else(|_| Err(std::io::Error::other("the reader panicked")));
            seen.and(sent).and(read).map_err(failed("a reader that sleeps"))
        })?;
        match spliced.moved() {
            Some(0) => Ok(()),
            _ => Err("the self-test of splicing: a reader that sleeps was not seen".to_owned()),
        }
    }
}

/// Both ways of the connection, spliced until this is dropped.
struct Spliced<'a> {
    splice: &'a Splice,
    to_source: InstalledRedirect,
    back: InstalledRedirect,
}

impl<'a> Spliced<'a> {
    fn begin(splice: &'a Splice, redirects: [SpliceRedirect; 2]) -> Result<Self, String> {
        let [to_source, back] = splice.begin(redirects, [0; 2]).map_err(text)?;
        Ok(Self { splice, to_source, back })
    }

    /// How many bytes were put into the source's queue.
    fn moved(&self) -> Option<u64> {
        self.splice.moved(self.to_source)
    }
}

impl Drop for Spliced<'_> {
    fn drop(&mut self) {
        self.splice.end(self.to_source);
        self.splice.end(self.back);
    }
}

/// The way from one end to the other, each a cookie and the address of the kernel's socket.
fn redirect((sender, sender_sock): (u64, u64), (target, target_sock): (u64, u64)) -> SpliceRedirect {
    SpliceRedirect {
        sender,
        sender_sock,
        target,
        target_sock,
        feeder: sender,
        feeder_sock: sender_sock,
        may_sleep: 1,
        ..SpliceRedirect::default()
    }
}

fn failed(what: &'static str) -> impl Fn(std::io::Error) -> String {
    move |error| format!("the self-test of splicing: {what}: {error}")
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Waits until the task whose status this is sleeps.
fn until_asleep(mut status: File) -> std::io::Result<()> {
    let begun = Instant::now();
    while begun.elapsed() < TIMEOUT {
        let mut text = String::new();
        status.rewind()?;
        status.read_to_string(&mut text)?;
        // The name, in parentheses, may contain anything.
        if text.rsplit(')').next().is_some_and(|rest| rest.starts_with(" S")) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Err(std::io::ErrorKind::TimedOut.into())
}
