//! How long does a connection with one message take, from connect to the answer, and how many go?

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

/// How many are under way at once when as many as go are wanted.
const AT_ONCE: usize = 8;
/// How many may be under way because others are late.
const MOST: usize = 1024;

/// Connections that come and go.
pub(super) struct Connects {
    poller: Poller,
    target: SocketAddr,
    rate: Option<u32>,
    under_way: HashMap<usize, Call>,
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
        Ok(Self { poller: Poller::new()?, target, rate, under_way: HashMap::new(), next: 0 })
    }

    fn paced(&mut self, rate: u32, duration: Duration, samples: &mut Samples) -> Result<Done> {
        let start = Instant::now();
        let mut schedule = Schedule::new(start, rate, duration);
        let mut answered = 0;
        loop {
            while let Some(due) = schedule.take(Instant::now()) {
                if self.under_way.len() >= MOST {
                    bail!("{MOST} connections are under way: too slow for {rate} in a second");
                }
                self.open(due)?;
            }
            let found = match schedule.next_due() {
                Some(due) => self.poller.wait_until(due)?,
                None if self.under_way.is_empty() => break,
                None => self.poller.expect()?,
            };
            answered += self.go_on(found, samples)?;
        }
        Ok(Done { operations: answered, elapsed: start.elapsed() })
    }

    fn flat_out(&mut self, duration: Duration, samples: &mut Samples) -> Result<Done> {
        let start = Instant::now();
        let mut answered = 0;
        loop {
            while self.under_way.len() < AT_ONCE && start.elapsed() < duration {
                self.open(Instant::now())?;
            }
            if self.under_way.is_empty() {
                return Ok(Done { operations: answered, elapsed: start.elapsed() });
            }
            let found = self.poller.expect()?;
            answered += self.go_on(found, samples)?;
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
        self.under_way.insert(self.next, Call { stream, due, is_sent: false, received: 0 });
        self.next += 1;
        Ok(())
    }

    /// Goes on with those that have something, and gives how many are through.
    fn go_on(&mut self, found: usize, samples: &mut Samples) -> Result<u64> {
        let mut answered = 0;
        for index in 0..found {
            let number = self.poller.number(index);
            let Some(call) = self.under_way.get_mut(&number) else { continue };
            if !call.is_sent {
                call.stream.write_all(&[7; MESSAGE]).context("connecting")?;
                call.is_sent = true;
                self.poller.change(&call.stream, READ, number)?;
            } else if call.receive()? {
                samples.push(call.due.elapsed());
                self.under_way.remove(&number);
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
            None => self.flat_out(duration, samples),
        }
    }
}

impl Call {
    /// Reads what is there, and gives whether that is all.
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
