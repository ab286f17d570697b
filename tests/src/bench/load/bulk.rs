//! Bulk transfer in one direction, counted where the bytes arrive.

use std::{
    io::{ErrorKind, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::{
    Done, Load, TIMEOUT,
    poller::{Poller, WRITE},
};
use crate::bench::{case::BULK_OPERATION, samples::Samples};

/// Connections whose send buffers are kept full.
pub(super) struct Bulk {
    poller: Poller,
    streams: Vec<TcpStream>,
    received: Arc<AtomicU64>,
    bytes: Vec<u8>,
}

impl Bulk {
    pub(super) fn start(sink: SocketAddr, received: Arc<AtomicU64>, streams: usize) -> Result<Self> {
        let poller = Poller::new()?;
        let open = || -> Result<_> {
            let stream = TcpStream::connect_timeout(&sink, TIMEOUT).with_context(|| sink.to_string())?;
            stream.set_nonblocking(true)?;
            Ok(stream)
        };
        let streams: Vec<_> = (0..streams).map(|_| open()).collect::<Result<_>>()?;
        for (number, stream) in streams.iter().enumerate() {
            poller.add(stream, WRITE, number)?;
        }
        Ok(Self { poller, streams, received, bytes: vec![7; 256 << 10] })
    }

    /// Waits until all that was sent has arrived.
    fn drain(&self, expected: u64) -> Result<()> {
        let mut last = (self.received.load(Ordering::Acquire), Instant::now());
        while last.0 < expected {
            thread::sleep(Duration::from_micros(200));
            let now = self.received.load(Ordering::Acquire);
            if now > last.0 {
                last = (now, Instant::now());
            } else if last.1.elapsed() > TIMEOUT {
                bail!("{} bytes did not arrive", expected - now);
            }
        }
        Ok(())
    }
}

impl Load for Bulk {
    fn run(&mut self, duration: Duration, _: &mut Samples) -> Result<Done> {
        let before = self.received.load(Ordering::Acquire);
        let start = Instant::now();
        let mut sent = 0;
        while start.elapsed() < duration {
            for index in 0..self.poller.expect()? {
                match (&self.streams[self.poller.number(index)]).write(&self.bytes) {
                    Ok(length) => sent += length as u64,
                    Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                    Err(e) => return Err(e).context("sending"),
                }
            }
        }
        self.drain(before + sent)?;
        Ok(Done { operations: sent / BULK_OPERATION, elapsed: start.elapsed() })
    }
}
