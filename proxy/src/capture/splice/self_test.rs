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

use super::{InstalledRedirect, State};
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
    let step = |what: &'static str| {
        move |error: std::io::Error| format!("the self-test of splicing: {what}: {error}")
    };
    unshare(CloneFlags::CLONE_NEWNET).map_err(|error| step("a network namespace")(error.into()))?;
    sys::loopback_up().map_err(step("its loopback"))?;
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).map_err(step("a socket"))?;
    let netns = sys::netns_cookie(&socket).map_err(step("the namespace's cookie"))?;
    let known = |result: Result<(), crate::capture::CaptureError>| result.map_err(|error| error.to_string());
    known(capture.maps.lock().set_workload(netns, Workload::default()))?;
    let result = exchange(capture, socket);
    known(capture.maps.lock().forget(netns, &[]))?;
    result
}

/// The accepted socket sends, `source` receives.
fn exchange(capture: &Capture, source: Socket) -> Result<(), String> {
    let step = |what: &'static str| {
        move |error: std::io::Error| format!("the self-test of splicing: {what}: {error}")
    };
    let splice = &capture.splice;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(step("listening"))?;
    let addr = listener.local_addr().map_err(step("listening"))?;
    capture.stand_for(&source, addr, true).map_err(|error| error.to_string())?;
    source.connect(&addr.into()).map_err(step("connecting"))?;
    let cookie = sys::socket_cookie(&source).map_err(step("a cookie"))?;
    let (mut application, _) = listener.accept().map_err(step("accepting"))?;
    let pair =
        splice.pair(cookie).ok_or("the self-test of splicing: the kernel side did not see the connection")?;
    splice.join(source.as_fd(), cookie).map_err(|error| error.to_string())?;
    let to_source = SpliceRedirect {
        sender: pair.app,
        sender_sock: pair.app_sock,
        target: cookie,
        target_sock: pair.proxy_sock,
        feeder: pair.app,
        feeder_sock: pair.app_sock,
        may_sleep: 1,
        ..SpliceRedirect::default()
    };
    let back = SpliceRedirect {
        sender: cookie,
        sender_sock: pair.proxy_sock,
        target: pair.app,
        target_sock: pair.app_sock,
        feeder: cookie,
        feeder_sock: pair.proxy_sock,
        may_sleep: 1,
        ..SpliceRedirect::default()
    };
    let spliced = |check: &mut dyn FnMut(InstalledRedirect) -> Result<(), String>| {
        let routed = splice.begin([to_source, back], [0; 2]).map_err(|error| error.to_string())?;
        let result = check(routed[0]);
        for routed in routed {
            splice.end(routed);
        }
        result
    };
    let mut source = TcpStream::from(OwnedFd::from(source));
    source.set_read_timeout(Some(TIMEOUT)).map_err(step("a time limit"))?;
    let sent: Vec<u8> = (0..BYTES).map(|i| i as u8).collect();
    spliced(&mut |routed| {
        application.write_all(&sent).map_err(step("sending"))?;
        let queued = sys::receive_queue(&source).map_err(step("the queue's length"))?;
        let moved = splice.moved(routed);
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
        source.read_exact(&mut got).map_err(step("receiving"))?;
        if got == sent { Ok(()) } else { Err("the self-test of splicing: bytes arrived damaged".to_owned()) }
    })?;
    // Of these routes the program does not know that the sleeper waits for what is put into the queue, too.
    spliced(&mut |routed| {
        let source = &source;
        std::thread::scope(|scope| {
            let (report, asleep) = mpsc::channel();
            let reader = scope.spawn(move || {
                let _ = report.send(File::open("/proc/thread-self/stat"));
                (&*source).read_exact(&mut [0])
            });
            let seen = asleep.recv().map_err(std::io::Error::other).flatten().and_then(until_asleep);
            let sent = application.write_all(&sent[..1]);
            let read = reader.join().unwrap_or_else(|_| Err(std::io::Error::other("the reader panicked")));
            seen.and(sent).and(read).map_err(step("a reader that sleeps"))?;
            match splice.moved(routed) {
                Some(0) => Ok(()),
                _ => Err("the self-test of splicing: a reader that sleeps was not seen".to_owned()),
            }
        })
    })
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
