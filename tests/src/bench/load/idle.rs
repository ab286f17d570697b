//! What does a connection cost that does nothing?

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::{Done, Load, PATIENCE};
use crate::bench::{case::MESSAGE, samples::Samples};

/// Connections that have been used once.
pub(super) struct Idle {
    streams: Vec<TcpStream>,
}

impl Idle {
    pub(super) fn start(target: SocketAddr, connections: usize) -> Result<Self> {
        let streams = (0..connections).map(|_| used_once(target)).collect::<Result<_>>();
        Ok(Self { streams: streams.with_context(|| target.to_string())? })
    }
}

impl Load for Idle {
    fn run(&mut self, duration: Duration, _: &mut Samples) -> Result<Done> {
        let start = Instant::now();
        thread::sleep(duration);
        Ok(Done { operations: self.streams.len() as u64, elapsed: start.elapsed() })
    }
}

fn used_once(target: SocketAddr) -> Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&target, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&[7; MESSAGE])?;
    stream.read_exact(&mut [0; MESSAGE])?;
    Ok(stream)
}
