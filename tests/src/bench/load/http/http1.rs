//! HTTP/1.1 requests on connections that are kept alive, one at a time on each.

use std::{
    collections::VecDeque,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::{
    super::{
        Done, Load, TIMEOUT,
        poller::{Poller, READ},
        schedule::Schedule,
    },
    answer,
};
use crate::bench::samples::Samples;

pub(in crate::bench::load) struct Http1 {
    poller: Poller,
    connections: Vec<Connection>,
    /// Connections without a request. The one that was used last is used next, as in the pools of clients.
    idle: Vec<usize>,
    /// When each request was due that waits for a connection, the oldest first.
    waiting: VecDeque<Instant>,
    rate: Option<u32>,
    buffer: Vec<u8>,
}

pub(in crate::bench::load) struct Connection {
    stream: TcpStream,
    request: Vec<u8>,
    /// When the request that is in progress was due.
    due: Instant,
    /// What has arrived of an answer that did not come in one piece.
    part: Vec<u8>,
}

const BUFFER: usize = 16 << 10;

impl Http1 {
    pub(in crate::bench::load) fn start(
        target: SocketAddr,
        rate: Option<u32>,
        connections: usize,
    ) -> Result<Self> {
        let poller = Poller::new()?;
        let open: Vec<_> = (0..connections).map(|_| Connection::open(target)).collect::<Result<_>>()?;
        for (number, connection) in open.iter().enumerate() {
            connection.stream.set_nonblocking(true)?;
            poller.add(&connection.stream, READ, number)?;
        }
        Ok(Self {
            poller,
            idle: (0..open.len()).rev().collect(),
            connections: open,
            waiting: VecDeque::with_capacity(1 << 12),
            rate,
            buffer: vec![0; BUFFER],
        })
    }

    fn paced(&mut self, rate: u32, duration: Duration, samples: &mut Samples) -> Result<Done> {
        let start = Instant::now();
        let mut schedule = Schedule::new(start, rate, duration);
        let mut answered = 0;
        loop {
            while let Some(due) = schedule.take(Instant::now()) {
                self.waiting.push_back(due);
            }
            self.send_waiting()?;
            let found = match schedule.next_due() {
                Some(due) => self.poller.wait_until(due)?,
                None if self.idle.len() == self.connections.len() => break,
                None => self.poller.expect()?,
            };
            answered += self.receive(found, samples)?;
        }
        Ok(Done { operations: answered, elapsed: start.elapsed() })
    }

    /// On every connection, each request as soon as the last is answered.
    fn unpaced(&mut self, duration: Duration, samples: &mut Samples) -> Result<Done> {
        let start = Instant::now();
        let mut answered = 0;
        loop {
            let now = Instant::now();
            if now - start < duration {
                self.waiting.extend(std::iter::repeat_n(now, self.idle.len()));
                self.send_waiting()?;
            } else if self.idle.len() == self.connections.len() {
                return Ok(Done { operations: answered, elapsed: start.elapsed() });
            }
            let found = self.poller.expect()?;
            answered += self.receive(found, samples)?;
        }
    }

    /// Sends requests as long as one waits and a connection is idle.
    fn send_waiting(&mut self) -> Result<()> {
        while !self.waiting.is_empty()
            && let Some(number) = self.idle.pop()
            && let Some(due) = self.waiting.pop_front()
        {
            self.connections[number].send(due)?;
        }
        Ok(())
    }

    /// Reads from the connections that are ready and returns how many answers that completes.
    fn receive(&mut self, found: usize, samples: &mut Samples) -> Result<u64> {
        let mut answered = 0;
        for index in 0..found {
            let number = self.poller.number(index);
            let connection = &mut self.connections[number];
            if connection.receive(&mut self.buffer)? {
                samples.push(connection.due.elapsed());
                self.idle.push(number);
                answered += 1;
            }
        }
        Ok(answered)
    }
}

impl Load for Http1 {
    fn run(&mut self, duration: Duration, samples: &mut Samples) -> Result<Done> {
        match self.rate {
            Some(rate) => self.paced(rate, duration, samples),
            None => self.unpaced(duration, samples),
        }
    }
}

impl Connection {
    /// The socket blocks.
    pub(in crate::bench::load) fn open(target: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&target, TIMEOUT).with_context(|| target.to_string())?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        let request = format!("GET /bench HTTP/1.1\r\nhost: {target}\r\naccept: */*\r\n\r\n").into_bytes();
        Ok(Self { stream, request, due: Instant::now(), part: Vec::new() })
    }

    /// A request and its answer, on a socket that blocks.
    pub(in crate::bench::load) fn exchange(&mut self) -> Result<()> {
        self.send(Instant::now())?;
        let mut buffer = vec![0; BUFFER];
        while !self.receive(&mut buffer)? {
            if self.due.elapsed() > TIMEOUT {
                bail!("no answer for {TIMEOUT:?}");
            }
        }
        Ok(())
    }

    /// Sends a request; there is room, because no other is in progress.
    fn send(&mut self, due: Instant) -> Result<()> {
        self.due = due;
        self.stream.write_all(&self.request).context("sending")
    }

    /// Reads what has arrived; true if that completes the answer.
    fn receive(&mut self, buffer: &mut [u8]) -> Result<bool> {
        let length = match self.stream.read(buffer) {
            Ok(0) => bail!("the connection was closed"),
            Ok(length) => length,
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(e) => return Err(e).context("receiving"),
        };
        let arrived = if self.part.is_empty() && is_whole(&buffer[..length])? {
            true
        } else {
            self.part.extend_from_slice(&buffer[..length]);
            is_whole(&self.part)?
        };
        if arrived {
            self.part.clear();
        }
        Ok(arrived)
    }
}

/// Whether the bytes are a whole answer.
fn is_whole(bytes: &[u8]) -> Result<bool> {
    match answer::length(bytes)? {
        Some(length) if bytes.len() > length => bail!("more than an answer"),
        Some(length) => Ok(bytes.len() == length),
        None => Ok(false),
    }
}
