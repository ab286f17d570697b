//! Clients that keep sending until they are stopped, while a scenario changes the cluster.

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Result, ensure};

use super::Pattern;
use crate::{dial, netns::Netns, wait};

/// What each client repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// A new connection each time: connect, one checked echo, close.
    Fresh,
    /// One connection, one checked echo after the other.
    Kept,
}

/// Running clients. Their servers must echo.
pub struct Steady {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Correct echoes.
    pub echoes: u64,
    /// Opened connections.
    pub connections: u64,
    /// Errors, and how often they occurred.
    pub failures: BTreeMap<String, u64>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    echoes: AtomicU64,
    connections: AtomicU64,
    failures: Mutex<BTreeMap<String, u64>>,
}

impl Steady {
    /// Starts `clients` inside `netns`, each with a pause between two echoes, which sets the rate.
    pub fn start(netns: &Netns, target: SocketAddr, style: Style, clients: usize, pause: Duration) -> Self {
        let shared = Arc::new(Shared::default());
        let workers = (0..clients)
            .map(|_| {
                let (shared, netns) = (shared.clone(), netns.clone());
                thread::spawn(move || {
                    let worked = netns.run(|| shared.work(target, style, pause));
                    if let Err(e) = worked {
                        shared.failed(&e);
                    }
                })
            })
            .collect();
        Self { shared, workers }
    }

    pub fn so_far(&self) -> Outcome {
        self.shared.outcome()
    }

    /// Waits for `more` further echoes, so that the clients have noticed what has changed.
    pub fn keep_on(&self, more: u64) -> Result<()> {
        let goal = self.so_far().echoes + more;
        let reached = wait::until(&format!("{more} more echoes"), || self.so_far().echoes >= goal);
        reached.map_err(|e| e.context(format!("{:?}", self.so_far())))
    }

    /// Stops the clients.
    pub fn stop(mut self) -> Outcome {
        self.end();
        self.shared.outcome()
    }

    fn end(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for worker in self.workers.drain(..) {
            // A panic has already been printed.
            let _ = worker.join();
        }
    }
}

impl Drop for Steady {
    fn drop(&mut self) {
        self.end();
    }
}

// === impl Outcome ===

impl Outcome {
    /// Fails unless there were echoes and no failures.
    pub fn no_failures(&self) -> Result<()> {
        ensure!(self.echoes > 0, "the load made no echo");
        ensure!(
            self.failures.is_empty(),
            "beside {} echoes there were failures: {:?}",
            self.echoes,
            self.failures
        );
        Ok(())
    }
}

// === impl Shared ===

impl Shared {
    fn work(&self, target: SocketAddr, style: Style, pause: Duration) {
        let mut kept: Option<TcpStream> = None;
        let mut round = 0;
        while !self.stop.load(Ordering::Relaxed) {
            round += 1;
            let done = self.stream(&mut kept, target).and_then(|stream| {
                echo(stream, round)?;
                if style == Style::Fresh { end(stream) } else { Ok(()) }
            });
            match &done {
                Ok(()) => {
                    self.echoes.fetch_add(1, Ordering::Relaxed);
                }
                Err(e) => self.failed(e),
            }
            if style == Style::Fresh || done.is_err() {
                kept = None;
            }
            thread::sleep(pause);
        }
    }

    fn stream<'a>(
        &self,
        kept: &'a mut Option<TcpStream>,
        target: SocketAddr,
    ) -> io::Result<&'a mut TcpStream> {
        if kept.is_none() {
            let stream = dial::here(target)?;
            self.connections.fetch_add(1, Ordering::Relaxed);
            *kept = Some(stream);
        }
        kept.as_mut().ok_or_else(|| io::Error::other("just opened"))
    }

    fn failed(&self, e: &io::Error) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        *failures.entry(e.to_string()).or_default() += 1;
    }

    fn outcome(&self) -> Outcome {
        Outcome {
            echoes: self.echoes.load(Ordering::Relaxed),
            connections: self.connections.load(Ordering::Relaxed),
            failures: self.failures.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

/// One message and its echo.
fn echo(stream: &mut TcpStream, seed: u64) -> io::Result<()> {
    let mut message = [0; 256];
    Pattern::new(seed).fill(&mut message);
    stream.write_all(&message).map_err(|e| during("sending", e))?;
    stream.read_exact(&mut message).map_err(|e| during("receiving", e))?;
    Pattern::new(seed).check(&message).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
}

/// Closes this half and reads the end of stream: a reset after the answer is a failure too.
fn end(stream: &mut TcpStream) -> io::Result<()> {
    stream.shutdown(Shutdown::Write).map_err(|e| during("closing", e))?;
    match stream.read(&mut [0; 1]).map_err(|e| during("ending", e))? {
        0 => Ok(()),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "a byte after the end")),
    }
}

fn during(step: &str, e: io::Error) -> io::Error {
    io::Error::new(e.kind(), format!("{step}: {e}"))
}
