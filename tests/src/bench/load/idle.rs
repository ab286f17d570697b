//! Connections that carried one message and stay open.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::{Done, Load, TIMEOUT};
use crate::bench::{case::MESSAGE, samples::Samples};

pub(super) struct Idle {
    streams: Vec<TcpStream>,
}

impl Idle {
    pub(super) fn start(target: SocketAddr, connections: usize) -> Result<Self> {
        let streams = (0..connections).map(|_| open_and_use(target)).collect::<Result<_>>();
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

fn open_and_use(target: SocketAddr) -> Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&target, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.write_all(&[7; MESSAGE])?;
    stream.read_exact(&mut [0; MESSAGE])?;
    Ok(stream)
}
