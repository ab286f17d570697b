//! Limits on open connections, per node, workload and client.
//!
//! File descriptors run out first, and all pods of the node share those of the process. A workload may have as many
//! connections as it leaves free for others: one alone gets half of the node's connections, two get a third each, and
//! the next one always finds room. (This is the dynamic threshold of shared switch buffers, Choudhury and Hahne 1998,
//! with a factor of 1.) The same rule holds between the clients of one workload.

mod requests;

use std::{
    collections::HashMap,
    fmt,
    net::IpAddr,
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::gauge::ConstGauge,
};

pub use self::requests::{NodeRequests, RequestLimiter, RequestPermit};
use crate::refusal::Reason;

/// Descriptors of a proxied connection: one socket accepted, one opened.
const PER_CONNECTION: usize = 2;
/// Descriptors of a workload: its listeners (two handles each) and its network namespace.
const PER_WORKLOAD: usize = 16;
/// Pooled sockets may use 1/`FREE_PER_POOLED` of the free descriptors.
const FREE_PER_POOLED: usize = 8;
/// Descriptors of the process itself: programs and maps, control plane, admin server, runtime.
const PER_PROCESS: usize = 256;

/// The limits of the connections of all workloads together.
#[derive(Debug)]
pub struct NodeLimiter {
    descriptors: usize,
    max_connections: usize,
    workloads: AtomicUsize,
    open: AtomicUsize,
    pooled: AtomicUsize,
    pools: Mutex<Vec<Weak<dyn Reclaimable>>>,
}

/// A pool of sockets whose descriptors can be taken back when connections need them.
pub trait Reclaimable: fmt::Debug + Send + Sync {
    /// Closes all pooled sockets.
    fn reclaim(&self);
}

/// Counts one pooled socket; drop it when the socket is used or closed.
#[derive(Debug)]
pub struct PooledPermit(Arc<NodeLimiter>);

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

impl NodeLimiter {
    /// Limits for a process that may have `descriptors` open. `max_connections` is an additional limit; 0 means none.
    pub fn new(descriptors: usize, max_connections: usize) -> Arc<Self> {
        let max_connections = if max_connections == 0 { usize::MAX } else { max_connections };
        Arc::new(Self {
            descriptors,
            max_connections,
            workloads: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            pooled: AtomicUsize::new(0),
            pools: Mutex::default(),
        })
    }

    /// Limits for one more workload, which may have at most `max_connections`.
    pub fn limiter(self: &Arc<Self>, max_connections: usize) -> Arc<ConnectionLimiter> {
        self.workloads.fetch_add(1, Ordering::Relaxed);
        Arc::new(ConnectionLimiter { node: self.clone(), max_connections, held: Mutex::default() })
    }

    /// How many connections all workloads may have open.
    pub fn total(&self) -> usize {
        (self.available_descriptors() / PER_CONNECTION).min(self.max_connections)
    }

    /// Descriptors for connections and for pooled sockets.
    fn available_descriptors(&self) -> usize {
        let reserved = PER_PROCESS + PER_WORKLOAD * self.workloads.load(Ordering::Relaxed);
        self.descriptors.saturating_sub(reserved)
    }

    /// How many of `wanted` sockets may be created in advance.
    pub fn pool_allowance(&self, wanted: usize) -> usize {
        let free = self.available_descriptors().saturating_sub(PER_CONNECTION * self.open());
        wanted.min((free / FREE_PER_POOLED).saturating_sub(self.pooled.load(Ordering::Relaxed)))
    }

    /// Counts one more pooled socket.
    pub fn pool_permit(self: &Arc<Self>) -> PooledPermit {
        self.pooled.fetch_add(1, Ordering::Relaxed);
        PooledPermit(self.clone())
    }

    /// Registers a pool that is reclaimed when connections need its descriptors.
    pub fn register_pool(&self, pool: Weak<dyn Reclaimable>) {
        let mut pools = self.pools.lock();
        pools.retain(|pool| pool.strong_count() > 0);
        pools.push(pool);
    }

    /// Closes pooled sockets if connections need their descriptors: no connection is refused because of the pools.
    fn reclaim_if_needed(&self) {
        if PER_CONNECTION * self.open() + self.pooled.load(Ordering::Relaxed) <= self.available_descriptors()
        {
            return;
        }
        let pools: Vec<_> = self.pools.lock().iter().filter_map(Weak::upgrade).collect();
        for pool in pools {
            pool.reclaim();
        }
    }

    /// How many connections all workloads have open.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
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

impl Drop for PooledPermit {
    fn drop(&mut self) {
        self.0.pooled.fetch_sub(1, Ordering::Relaxed);
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

/// Exports the metrics of the node's limits.
#[derive(Debug)]
pub struct LimitsCollector(pub Arc<NodeLimiter>);

impl Collector for LimitsCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for (name, help, value) in [
            ("weft_connections_open", "Open connections of all workloads", self.0.open()),
            (
                "weft_connections_limit",
                "The maximum number of open connections of all workloads",
                self.0.total(),
            ),
        ] {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    fn node(connections: usize) -> Arc<NodeLimiter> {
        NodeLimiter::new(1 << 20, connections)
    }

    fn fill(limiter: &Arc<ConnectionLimiter>, client: Option<IpAddr>) -> (Vec<Permit>, LimitExceeded) {
        let mut permits = Vec::new();
        loop {
            match limiter.acquire(client) {
                Ok(permit) => permits.push(permit),
                Err(limit) => return (permits, limit),
            }
        }
    }

    #[test]
    fn a_greedy_workload_leaves_as_much_as_it_takes() {
        let node = node(120);
        let (greedy, second, late) = (node.limiter(1000), node.limiter(1000), node.limiter(1000));
        let (first, limit) = fill(&greedy, None);
        assert_eq!((first.len(), limit), (60, LimitExceeded::Node));
        let (more, _) = fill(&second, None);
        assert_eq!(more.len(), 30);
        // The last workload finds room, too.
        assert_eq!(fill(&late, None).0.len(), 15);
        drop((first, more));
        assert_eq!(node.open(), 0);
        assert_eq!(fill(&late, None).0.len(), 60);
    }

    #[test]
    fn the_limit_per_workload_holds() {
        let limiter = node(1000).limiter(7);
        let (permits, limit) = fill(&limiter, None);
        assert_eq!((permits.len(), limit), (7, LimitExceeded::Workload));
    }

    #[test]
    fn a_greedy_client_leaves_room_for_others() {
        let limiter = node(1000).limiter(100);
        let (greedy, limit) = fill(&limiter, Some(ONE));
        assert_eq!((greedy.len(), limit), (50, LimitExceeded::Client));
        let (other, limit) = fill(&limiter, Some(OTHER));
        assert_eq!((other.len(), limit), (25, LimitExceeded::Client));
        drop((greedy, other));
        assert!(limiter.held.lock().clients.is_empty(), "a client without connections still has an entry");
    }

    #[test]
    fn descriptors_limit_the_total() {
        let node = NodeLimiter::new(20_000, 0);
        let limiters: Vec<_> = (0..100).map(|_| node.limiter(usize::MAX)).collect();
        assert_eq!(node.total(), (20_000 - 256 - 1600) / 2);
        drop(limiters);
        assert_eq!(node.total(), (20_000 - 256) / 2);
        assert_eq!(fill(&NodeLimiter::new(100, 0).limiter(10), None).1, LimitExceeded::Node);
    }

    #[test]
    fn pooled_sockets_are_counted_and_leave_room() {
        let node = NodeLimiter::new(20_000, 0);
        let limiter = node.limiter(usize::MAX);
        assert_eq!(node.pool_allowance(128), 128);
        let mut pooled = Vec::new();
        // Many busy workloads that fill their pools as far as they may.
        while node.pool_allowance(128) > 0 {
            pooled.extend((0..node.pool_allowance(128)).map(|_| node.pool_permit()));
        }
        let left = 20_000 - 256 - 16;
        assert_eq!(pooled.len(), left / 8);
        assert_eq!(node.total(), left / 2, "pooled sockets must not reduce the limit of connections");
        drop(pooled);
        let (permits, _) = fill(&limiter, None);
        assert_eq!(node.pool_allowance(10_000), (left - 2 * permits.len()) / 8);
    }

    #[test]
    fn pools_are_reclaimed_when_connections_need_the_descriptors() {
        #[derive(Debug, Default)]
        struct Pool(Mutex<Vec<PooledPermit>>);
        impl Reclaimable for Pool {
            fn reclaim(&self) {
                self.0.lock().clear();
            }
        }
        let node = NodeLimiter::new(256 + 1000 + 3 * 16, 0);
        let (dropped, kept) = (Arc::new(Pool::default()), Arc::new(Pool::default()));
        for pool in [&dropped, &kept] {
            let pool: Arc<dyn Reclaimable> = pool.clone();
            node.register_pool(Arc::downgrade(&pool));
        }
        drop(dropped);
        kept.0.lock().extend((0..node.pool_allowance(1000)).map(|_| node.pool_permit()));
        let pooled = kept.0.lock().len();
        assert_eq!(pooled, (1000 + 3 * 16) / 8);
        let limiters: Vec<_> = (0..3).map(|_| node.limiter(usize::MAX)).collect();
        let (first, _) = fill(&limiters[0], None);
        let (second, _) = fill(&limiters[1], None);
        assert_eq!((first.len(), second.len()), (250, 125));
        assert_eq!(kept.0.lock().len(), pooled, "there was room for both, but the pool was reclaimed");
        let (third, _) = fill(&limiters[2], None);
        assert_eq!(third.len(), 63);
        assert!(kept.0.lock().is_empty());
    }
}
