//! What makes the work, cheaply enough not to be what is measured?
//!
//! One thread for all clients, one for all servers of a pod, each on a processor of its own, both with epoll.

mod bulk;
mod connects;
mod echo;
mod idle;
mod poller;
pub mod schedule;
mod server;

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use anyhow::Result;
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    sys::prctl,
    unistd::Pid,
};

pub use self::server::{Kind, Server};
use super::{case::Work, samples::Samples};

/// Nothing takes longer; a stuck connection becomes an error.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where the work goes, as dialled by the client.
#[derive(Clone, Debug)]
pub struct Target {
    /// Echoes.
    pub echo: SocketAddr,
    /// Swallows.
    pub sink: SocketAddr,
    /// What the sink has swallowed, in bytes.
    pub swallowed: Arc<AtomicU64>,
}

/// Work that can go on for a while, pause and go on. To be made, and used, by a thread inside the client's namespace.
pub trait Load {
    /// Goes on for `duration`; nothing is under way when it returns.
    fn run(&mut self, duration: Duration, samples: &mut Samples) -> Result<Done>;
}

/// What was done.
#[derive(Clone, Copy, Debug)]
pub struct Done {
    /// How many operations.
    pub operations: u64,
    /// In which time.
    pub elapsed: Duration,
}

/// Opens what `work` needs.
pub fn start(work: Work, target: &Target) -> Result<Box<dyn Load + Send>> {
    Ok(match work {
        Work::Echo { rate, connections } => Box::new(echo::Echo::start(target.echo, rate, connections)?),
        Work::Connect { rate } => Box::new(connects::Connects::new(target.echo, rate)?),
        Work::Bulk { streams } => Box::new(bulk::Bulk::start(target, streams)?),
        Work::Idle { connections } => Box::new(idle::Idle::start(target.echo, connections)?),
        Work::Workloads { connections, .. } => Box::new(idle::Idle::start(target.echo, connections)?),
    })
}

/// Who wants a processor.
#[derive(Clone, Copy, Debug)]
pub enum Side {
    /// The first one.
    Client,
    /// The last one.
    Server,
}

/// Gives the calling thread its processor, for stable figures: whether two threads meet on one is otherwise a matter of
/// luck that changes latencies by half. Timers become exact, too.
pub fn settle(side: Side) -> io::Result<()> {
    let usable = sched_getaffinity(Pid::from_raw(0))?;
    let mut usable = (0..CpuSet::count()).filter(|cpu| usable.is_set(*cpu).unwrap_or(false));
    let chosen = match side {
        Side::Client => usable.next(),
        Side::Server => usable.next_back(),
    };
    if let Some(cpu) = chosen {
        let mut only = CpuSet::new();
        only.set(cpu)?;
        sched_setaffinity(Pid::from_raw(0), &only)?;
    }
    prctl::set_timerslack(1)?;
    Ok(())
}
