//! Messages and their echoes on open connections, timed each way and back.

use std::{
    collections::VecDeque,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::{
    Done, Load, TIMEOUT,
    poller::{Poller, READ},
    schedule::Schedule,
};
use crate::bench::{case::MESSAGE, samples::Samples};

pub(super) struct Echo {
    poller: Poller,
    connections: Vec<Connection>,
    rate: Option<u32>,
}

/// A connection and its unanswered messages.
struct Connection {
    stream: TcpStream,
    /// When each unanswered message was due, the oldest first.
    unanswered: VecDeque<Instant>,
    /// Bytes that did not fit into the send buffer yet.
    unsent: usize,
    /// Bytes of the answer to the oldest message.
    received: usize,
}

impl Echo {
    pub(super) fn start(target: SocketAddr, rate: Option<u32>, connections: usize) -> Result<Self> {
        let poller = Poller::new()?;
        let open: Vec<_> = (0..connections).map(|_| Connection::open(target)).collect::<Result<_>>()?;
        for (number, connection) in open.iter().enumerate() {
            poller.add(&connection.stream, READ, number)?;
        }
        Ok(Self { poller, connections: open, rate })
    }

    /// Messages at their due times, on the connections in turn.
    fn paced(&mut self, rate: u32, duration: Duration, samples: &mut Samples) -> Result<Done> {
        let start = Instant::now();
        let mut schedule = Schedule::new(start, rate, duration);
        let (mut sent, mut answered) = (0, 0);
        loop {
            while let Some(due) = schedule.take(Instant::now()) {
                let next = sent as usize % self.connections.len();
                self.connections[next].send(due)?;
                sent += 1;
            }
            let found = match schedule.next_due() {
                Some(due) => self.poller.wait_until(due)?,
                None if answered == sent => break,
                None => self.poller.expect()?,
            };
            for index in 0..found {
                answered += self.connections[self.poller.number(index)].receive(samples)?;
            }
        }
        Ok(Done { operations: answered, elapsed: start.elapsed() })
    }

    /// On every connection, each message as soon as the last is answered.
    fn unpaced(&mut self, duration: Duration, samples: &mut Samples) -> Result<Done> {
        let start = Instant::now();
        for connection in &mut self.connections {
            connection.send(Instant::now())?;
        }
        let (mut unanswered, mut answered) = (self.connections.len() as u64, 0);
        while unanswered > 0 {
            for index in 0..self.poller.expect()? {
                let connection = &mut self.connections[self.poller.number(index)];
                if connection.receive(samples)? == 0 {
                    continue;
                }
                answered += 1;
                let now = Instant::now();
                if now - start < duration {
                    connection.send(now)?;
                } else {
                    unanswered -= 1;
                }
            }
        }
        Ok(Done { operations: answered, elapsed: start.elapsed() })
    }
}

impl Load for Echo {
    fn run(&mut self, duration: Duration, samples: &mut Samples) -> Result<Done> {
        match self.rate {
            Some(rate) => self.paced(rate, duration, samples),
            None => self.unpaced(duration, samples),
        }
    }
}

impl Connection {
    fn open(target: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&target, TIMEOUT).with_context(|| target.to_string())?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self { stream, unanswered: VecDeque::with_capacity(1 << 12), unsent: 0, received: 0 })
    }

    /// Sends a message, or queues it if the send buffer is full. Its latency counts from when it was due.
    fn send(&mut self, due: Instant) -> Result<()> {
        self.unanswered.push_back(due);
        self.unsent += MESSAGE;
        self.flush()
    }

    /// Sends what is queued. There is room again before the next answer.
    fn flush(&mut self) -> Result<()> {
        while self.unsent > 0 {
            match self.stream.write(&[7; MESSAGE][..self.unsent.min(MESSAGE)]) {
                Ok(length) => self.unsent -= length,
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) => return Err(e).context("sending"),
            }
        }
        Ok(())
    }

    /// Reads what has arrived and returns how many answers that completes.
    fn receive(&mut self, samples: &mut Samples) -> Result<u64> {
        let mut buffer = [0; 16 << 10];
        match self.stream.read(&mut buffer) {
            Ok(0) => bail!("the connection was closed"),
            Ok(length) => self.received += length,
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(0),
            Err(e) => return Err(e).context("receiving"),
        }
        let now = Instant::now();
        let answers = self.received / MESSAGE;
        self.received %= MESSAGE;
        for _ in 0..answers {
            let due = self.unanswered.pop_front().context("an answer without a message")?;
            samples.push(now - due);
        }
        self.flush()?;
        Ok(answers as u64)
    }
}
