//! Connections that carried one message or request and stay open.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::{Done, Load, TIMEOUT, http};
use crate::bench::{case::MESSAGE, samples::Samples};

pub(super) struct Idle<T> {
    open: Vec<T>,
}

impl<T> Idle<T> {
    fn start(target: SocketAddr, connections: usize, open: fn(SocketAddr) -> Result<T>) -> Result<Self> {
        let open = (0..connections).map(|_| open(target)).collect::<Result<_>>();
        Ok(Self { open: open.with_context(|| target.to_string())? })
    }
}

impl Idle<TcpStream> {
    pub(super) fn echoed(target: SocketAddr, connections: usize) -> Result<Self> {
        Self::start(target, connections, open_and_use)
    }
}

impl Idle<http::Connection> {
    pub(super) fn http1(target: SocketAddr, connections: usize) -> Result<Self> {
        Self::start(target, connections, |target| {
            let mut connection = http::Connection::open(target)?;
            connection.exchange()?;
            Ok(connection)
        })
    }
}

impl<T> Load for Idle<T> {
    fn run(&mut self, duration: Duration, _: &mut Samples) -> Result<Done> {
        let start = Instant::now();
        thread::sleep(duration);
        Ok(Done { operations: self.open.len() as u64, elapsed: start.elapsed() })
    }
}

fn open_and_use(target: SocketAddr) -> Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&target, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.write_all(&[7; MESSAGE])?;
    stream.read_exact(&mut [0; MESSAGE])?;
    Ok(stream)
}
