//! Clients that send as much as they can, and count what comes of it.

use std::{
    collections::BTreeMap,
    fmt,
    io::{self, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;

use super::http2::Frame;
use crate::{dial, netns::Netns};

/// Who floods, and for how long.
#[derive(Clone)]
pub struct Flood<'a> {
    pub netns: &'a Netns,
    pub target: SocketAddr,
    /// How many connections are open at a time. A connection that ends is opened anew.
    pub clients: usize,
    pub lasts: Duration,
}

/// What came of a flood.
#[derive(Debug, Default)]
pub struct Flooded {
    pub connections: u64,
    /// Connections that the other side has ended.
    pub ended: u64,
    pub sent: u64,
    /// How often each error code came in a GOAWAY.
    pub goaways: BTreeMap<u32, u64>,
}

impl Flood<'_> {
    /// Sends `first` on each connection, and then `next(n)` for n = 0, 1, … The answers are read.
    pub fn run(&self, first: &[u8], next: impl Fn(u32) -> Vec<u8> + Sync) -> Result<Flooded> {
        let deadline = Instant::now() + self.lasts;
        let next = &next;
        thread::scope(|scope| {
            let clients: Vec<_> =
                (0..self.clients).map(|_| scope.spawn(move || self.client(deadline, first, next))).collect();
            let mut all = Flooded::default();
            for client in clients {
                all.add(client.join().unwrap_or_else(|panicked| std::panic::resume_unwind(panicked))?);
            }
            Ok(all)
        })
    }

    fn client(&self, deadline: Instant, first: &[u8], next: &impl Fn(u32) -> Vec<u8>) -> io::Result<Flooded> {
        let mut flooded = Flooded::default();
        while Instant::now() < deadline {
            let stream = dial::from(self.netns, self.target)?;
            flooded.connections += 1;
            thread::scope(|scope| {
                let answers = scope.spawn(|| read_goaways(&stream));
                let ended = send(&stream, deadline, first, next, &mut flooded.sent);
                if ended {
                    flooded.ended += 1;
                } else {
                    let _ = stream.shutdown(Shutdown::Both);
                }
                for code in answers.join().unwrap_or_default() {
                    *flooded.goaways.entry(code).or_default() += 1;
                }
            });
        }
        Ok(flooded)
    }
}

/// Sends until the deadline; true if the other side has ended the connection before.
fn send(
    mut stream: &TcpStream,
    deadline: Instant,
    first: &[u8],
    next: &impl Fn(u32) -> Vec<u8>,
    sent: &mut u64,
) -> bool {
    let mut write = |bytes: &[u8]| {
        *sent += bytes.len() as u64;
        stream.write_all(bytes).is_err()
    };
    if write(first) {
        return true;
    }
    for n in 0.. {
        if Instant::now() >= deadline {
            break;
        }
        if write(&next(n)) {
            return true;
        }
    }
    false
}

/// Reads HTTP/2 to its end.
fn read_goaways(stream: &TcpStream) -> Vec<u32> {
    let mut reader = io::BufReader::new(stream);
    let mut codes = Vec::new();
    while let Ok(Some(frame)) = Frame::read(&mut reader) {
        codes.extend(frame.goaway());
    }
    codes
}

impl Flooded {
    fn add(&mut self, other: Self) {
        self.connections += other.connections;
        self.ended += other.ended;
        self.sent += other.sent;
        for (code, count) in other.goaways {
            *self.goaways.entry(code).or_default() += count;
        }
    }
}

impl fmt::Display for Flooded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { connections, ended, sent, goaways } = self;
        write!(f, "{connections} connections, {ended} ended, {} KiB sent", sent / 1024)?;
        if !goaways.is_empty() {
            write!(f, ", GOAWAY {goaways:?}")?;
        }
        Ok(())
    }
}
