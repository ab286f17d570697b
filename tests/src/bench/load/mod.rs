//! The load generator: one thread for all clients and two for the servers of each pod, pinned to a processor, with
//! epoll.

mod bulk;
mod connects;
mod echo;
mod http;
mod idle;
mod poller;
pub mod schedule;
mod server;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use anyhow::{Result, ensure};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    sys::prctl,
    unistd::Pid,
};

use self::http::Pace;
pub(super) use self::http::message;
pub use self::server::Server;
use super::{
    case::{Kind, Protocol, Work},
    samples::Samples,
    variant::Route,
};

const TIMEOUT: Duration = Duration::from_secs(10);

/// The addresses that the client dials.
#[derive(Clone, Debug)]
pub struct Target {
    pub ip: Ipv4Addr,
    pub route: Route,
    /// Bytes that the sink has received.
    pub received: Arc<AtomicU64>,
}

impl Target {
    pub fn at(&self, kind: Kind) -> Result<SocketAddr> {
        ensure!(self.route.kinds().contains(&kind), "there is no {kind:?} server on this route");
        Ok((self.ip, self.route.port(kind)).into())
    }
}

/// Work that can be run repeatedly, by a thread inside the client's namespace.
pub trait Load {
    /// Works for `duration` and waits until everything is answered.
    fn run(&mut self, duration: Duration, samples: &mut Samples) -> Result<Done>;
}

#[derive(Clone, Copy, Debug)]
pub struct Done {
    pub operations: u64,
    pub elapsed: Duration,
}

/// Opens the connections that `work` needs.
pub fn start(work: Work, target: &Target) -> Result<Box<dyn Load + Send>> {
    let at = target.at(work.kind())?;
    Ok(match work {
        Work::Echo { rate, connections } => Box::new(echo::Echo::start(at, rate, connections)?),
        Work::Connect { rate } => Box::new(connects::Connects::new(at, rate)?),
        Work::Bulk { streams } => Box::new(bulk::Bulk::start(at, target.received.clone(), streams)?),
        Work::Idle { connections } | Work::Workloads { connections, .. } => {
            Box::new(idle::Idle::echoed(at, connections)?)
        }
        Work::HttpIdle { connections } => Box::new(idle::Idle::http1(at, connections)?),
        Work::HttpMany { connections, .. } => Box::new(http::Http1::start(at, None, connections)?),
        Work::Http { protocol: Protocol::Http1, rate, connections, .. } => {
            Box::new(http::Http1::start(at, rate, connections)?)
        }
        Work::Http { protocol, rate, connections, streams } => {
            let pace = rate.map_or(Pace::Streams(streams), Pace::Rate);
            Box::new(http::Http2::start(at, protocol == Protocol::Grpc, connections, pace)?)
        }
    })
}

#[derive(Clone, Copy, Debug)]
pub enum Side {
    /// Runs on the first processor.
    Client,
    /// Runs on the last processor.
    Server,
}

/// Pins the calling thread to a processor and makes its timers exact. Without pinning, latencies change by half
/// depending on whether two threads happen to share a processor.
pub fn pin(side: Side) -> io::Result<()> {
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
