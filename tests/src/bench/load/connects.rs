//! New connections with one message each, timed from connect to the answer.

use std::{
    collections::HashMap,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::libc;
use socket2::{Domain, Socket, Type};

use super::{
    Done, Load,
    poller::{Poller, READ, WRITE},
    schedule::Schedule,
};
use crate::bench::{case::MESSAGE, samples::Samples};

/// Connections open at once when no rate is given.
const CONCURRENT: usize = 8;
/// With a rate, more open connections than this mean that the rate cannot be kept.
const MAX_OPEN: usize = 1024;

pub(super) struct Connects {
    poller: Poller,
    target: SocketAddr,
    rate: Option<u32>,
    calls: HashMap<usize, Call>,
    next: usize,
}

/// A connection with one message.
struct Call {
    stream: TcpStream,
    due: Instant,
    is_sent: bool,
    received: usize,
}

impl Connects {
    pub(super) fn new(target: SocketAddr, rate: Option<u32>) -> Result<Self> {
        Ok(Self { poller: Poller::new()?, target, rate, calls: HashMap::new(), next: 0 })
    }

    fn paced(&mut self, rate: u32, duration: Duration, samples: &mut Samples) -> Result<Done> {
        let start = Instant::now();
        let mut schedule = Schedule::new(start, rate, duration);
        let mut answered = 0;
        loop {
            while let Some(due) = schedule.take(Instant::now()) {
                if self.calls.len() >= MAX_OPEN {
                    bail!("{MAX_OPEN} connections are open: too slow for {rate} a second");
                }
                self.open(due)?;
            }
            let found = match schedule.next_due() {
                Some(due) => self.poller.wait_until(due)?,
                None if self.calls.is_empty() => break,
                None => self.poller.expect()?,
            };
            answered += self.advance(found, samples)?;
        }
        Ok(Done { operations: answered, elapsed: start.elapsed() })
    }

    fn unpaced(&mut self, duration: Duration, samples: &mut Samples) -> Result<Done> {
        let start = Instant::now();
        let mut answered = 0;
        loop {
            while self.calls.len() < CONCURRENT && start.elapsed() < duration {
                self.open(Instant::now())?;
            }
            if self.calls.is_empty() {
                return Ok(Done { operations: answered, elapsed: start.elapsed() });
            }
            let found = self.poller.expect()?;
            answered += self.advance(found, samples)?;
        }
    }

    fn open(&mut self, due: Instant) -> Result<()> {
        let socket = Socket::new(Domain::for_address(self.target), Type::STREAM.nonblocking(), None)?;
        socket.set_tcp_nodelay(true)?;
        match socket.connect(&self.target.into()) {
            Err(e) if e.raw_os_error() != Some(libc::EINPROGRESS) => return Err(e).context("connecting"),
            _ => {}
        }
        let stream = TcpStream::from(socket);
        self.poller.add(&stream, WRITE, self.next)?;
        self.calls.insert(self.next, Call { stream, due, is_sent: false, received: 0 });
        self.next += 1;
        Ok(())
    }

    /// Serves the connections that are ready and returns how many were answered.
    fn advance(&mut self, found: usize, samples: &mut Samples) -> Result<u64> {
        let mut answered = 0;
        for index in 0..found {
            let number = self.poller.number(index);
            let Some(call) = self.calls.get_mut(&number) else { continue };
            if !call.is_sent {
                call.stream.write_all(&[7; MESSAGE]).context("connecting")?;
                call.is_sent = true;
                self.poller.change(&call.stream, READ, number)?;
            } else if call.receive()? {
                samples.push(call.due.elapsed());
                self.calls.remove(&number);
                answered += 1;
            }
        }
        Ok(answered)
    }
}

impl Load for Connects {
    fn run(&mut self, duration: Duration, samples: &mut Samples) -> Result<Done> {
        match self.rate {
            Some(rate) => self.paced(rate, duration, samples),
            None => self.unpaced(duration, samples),
        }
    }
}

impl Call {
    /// Reads what has arrived; true if the answer is complete.
    fn receive(&mut self) -> Result<bool> {
        match self.stream.read(&mut [0; MESSAGE]) {
            Ok(0) => bail!("the connection was closed before the answer"),
            Ok(length) => self.received += length,
            Err(e) if e.kind() == ErrorKind::WouldBlock => {}
            Err(e) => return Err(e).context("receiving"),
        }
        Ok(self.received == MESSAGE)
    }
}
