//! How long does a message take there and back, and how many go?

use std::{
    collections::VecDeque,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::{
    Done, Load, PATIENCE,
    poller::{Poller, READ},
    schedule::Schedule,
};
use crate::bench::{case::MESSAGE, samples::Samples};

/// Connections on which messages go to and fro.
pub(super) struct Echo {
    poller: Poller,
    lines: Vec<Line>,
    rate: Option<u32>,
}

/// A connection and what is under way on it.
struct Line {
    stream: TcpStream,
    /// When each unanswered message was due, the oldest first.
    unanswered: VecDeque<Instant>,
    /// How many bytes of the newest there was no room for.
    unsent: usize,
    /// How much has come of the answer to the oldest.
    received: usize,
}

impl Echo {
    pub(super) fn start(target: SocketAddr, rate: Option<u32>, connections: usize) -> Result<Self> {
        let poller = Poller::new()?;
        let lines: Vec<_> = (0..connections).map(|_| Line::open(target)).collect::<Result<_>>()?;
        for (number, line) in lines.iter().enumerate() {
            poller.add(&line.stream, READ, number)?;
        }
        Ok(Self { poller, lines, rate })
    }

    /// Messages at their due times, on one connection after the other.
    fn paced(&mut self, rate: u32, duration: Duration, samples: &mut Samples) -> Result<Done> {
        let start = Instant::now();
        let mut schedule = Schedule::new(start, rate, duration);
        let (mut sent, mut answered) = (0, 0);
        loop {
            while let Some(due) = schedule.take(Instant::now()) {
                let line = sent as usize % self.lines.len();
                self.lines[line].send(due)?;
                sent += 1;
            }
            let found = match schedule.next_due() {
                Some(due) => self.poller.wait_until(due)?,
                None if answered == sent => break,
                None => self.poller.expect()?,
            };
            for index in 0..found {
                answered += self.lines[self.poller.number(index)].receive(samples)?;
            }
        }
        Ok(Done { operations: answered, elapsed: start.elapsed() })
    }

    /// One message after the other, on all connections at once.
    fn flat_out(&mut self, duration: Duration, samples: &mut Samples) -> Result<Done> {
        let start = Instant::now();
        for line in &mut self.lines {
            line.send(Instant::now())?;
        }
        let (mut under_way, mut answered) = (self.lines.len() as u64, 0);
        while under_way > 0 {
            for index in 0..self.poller.expect()? {
                let line = &mut self.lines[self.poller.number(index)];
                if line.receive(samples)? == 0 {
                    continue;
                }
                answered += 1;
                let now = Instant::now();
                if now - start < duration {
                    line.send(now)?;
                } else {
                    under_way -= 1;
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
            None => self.flat_out(duration, samples),
        }
    }
}

impl Line {
    fn open(target: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&target, PATIENCE).with_context(|| target.to_string())?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self { stream, unanswered: VecDeque::with_capacity(1 << 12), unsent: 0, received: 0 })
    }

    /// One more message, as soon as there is room for it; it counts from when it was due.
    fn send(&mut self, due: Instant) -> Result<()> {
        self.unanswered.push_back(due);
        self.unsent += MESSAGE;
        self.flush()
    }

    /// Sends what there was no room for. There will be, before the next answer.
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

    /// Reads what is there, and gives how many answers that completes.
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
            let due = self.unanswered.pop_front().context("an answer to nothing")?;
            samples.push(now - due);
        }
        self.flush()?;
        Ok(answers as u64)
    }
}
