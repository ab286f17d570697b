//! Limits on open connections, per node, workload and client.
//!
//! A workload may have as many connections as it leaves free for others: one alone gets half of the node's connections,
//! two get a third each, and the next one always finds room. (This is the dynamic threshold of shared switch buffers,
//! Choudhury and Hahne 1998, with a factor of 1.) The same rule holds between the clients of one workload.

mod metrics;
mod node;
mod requests;

use std::{
    collections::HashMap,
    fmt,
    net::IpAddr,
    sync::{Arc, atomic::Ordering},
};

use parking_lot::Mutex;

pub use self::{
    metrics::LimitsCollector,
    node::{NodeLimiter, PooledPermit, Reclaimable},
    requests::{NodeRequests, RequestLimiter, RequestPermit},
};
use crate::refusal::Reason;

/// The limits of one workload and its clients.
#[derive(Debug)]
pub struct ConnectionLimiter {
    node: Arc<NodeLimiter>,
    max_connections: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    open: usize,
    /// No more entries than connections.
    clients: HashMap<IpAddr, usize>,
}

/// Permission to have one connection open; drop it when the connection ends.
#[derive(Debug)]
pub struct Permit {
    limiter: Arc<ConnectionLimiter>,
    client: Option<IpAddr>,
}

/// The limit that was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitExceeded {
    /// The workload has the maximum number of connections per workload.
    Workload,
    /// The workload has used up its quota of the node's connections.
    Node,
    /// The client has used up its quota of the workload's connections.
    Client,
}

impl LimitExceeded {
    pub const fn reason(self) -> Reason {
        match self {
            LimitExceeded::Workload => Reason::WorkloadLimit,
            LimitExceeded::Node => Reason::NodeLimit,
            LimitExceeded::Client => Reason::ClientLimit,
        }
    }
}

impl fmt::Display for LimitExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LimitExceeded::Workload => "the workload has the maximum number of connections open",
            LimitExceeded::Node => "the workload has used up its quota of the node's connections",
            LimitExceeded::Client => "the client has used up its quota of the workload's connections",
        })
    }
}

impl ConnectionLimiter {
    /// Permits one more connection. `client` is the peer, if that is not the workload itself.
    ///
    /// # Errors
    /// The limit that was reached.
    pub fn acquire(self: &Arc<Self>, client: Option<IpAddr>) -> Result<Permit, LimitExceeded> {
        let mut held = self.held.lock();
        let free = self.node.total().saturating_sub(self.node.open());
        if held.open >= self.max_connections {
            return Err(LimitExceeded::Workload);
        }
        if held.open >= free {
            return Err(LimitExceeded::Node);
        }
        if let Some(client) = client {
            let room = free.min(self.max_connections) - held.open;
            let open = held.clients.get(&client).copied().unwrap_or(0);
            if open >= room {
                return Err(LimitExceeded::Client);
            }
            held.clients.insert(client, open + 1);
        }
        held.open += 1;
        self.node.open.fetch_add(1, Ordering::Relaxed);
        drop(held);
        self.node.reclaim_if_needed();
        Ok(Permit { limiter: self.clone(), client })
    }
}

impl Drop for ConnectionLimiter {
    fn drop(&mut self) {
        self.node.workloads.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut held = self.limiter.held.lock();
        held.open -= 1;
        if let Some(client) = self.client
            && let Some(open) = held.clients.get_mut(&client)
        {
            *open -= 1;
            if *open == 0 {
                held.clients.remove(&client);
            }
        }
        self.limiter.node.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
