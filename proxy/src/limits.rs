//! Limits on open connections, per node, workload and client.
//!
//! File descriptors run out first, and all pods of the node share those of the process. A workload may hold as many
//! connections as it leaves free for others: alone it gets half of what the node can carry, two greedy ones get a
//! third each, and the next one always finds room (the dynamic threshold of shared switch buffers, Choudhury and Hahne
//! 1998, with a factor of 1). The same rule holds between the clients of one workload.

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

use crate::refusal::Reason;

/// Descriptors of a proxied connection: one accepted socket, one opened.
const PER_CONNECTION: usize = 2;
/// Descriptors of a workload: its listeners (two handles each) and its network namespace.
const PER_WORKLOAD: usize = 16;
/// Pooled sockets may take one of this many free descriptors.
const FREE_PER_POOLED: usize = 8;
/// Descriptors of the process itself: programs and maps, control plane, admin server, runtime.
const OF_PROCESS: usize = 256;

/// What the connections of all workloads may use together.
#[derive(Debug)]
pub struct NodeLimiter {
    descriptors: usize,
    most: usize,
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
    most: usize,
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
    /// The workload has as many as one may have at all.
    Workload,
    /// The workload has as many as it leaves to the other workloads of the node.
    Node,
    /// The client has as many to this workload as it leaves to other clients.
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
            LimitExceeded::Workload => "the workload has as many connections open as one may have",
            LimitExceeded::Node => {
                "the workload has as many connections open as it leaves to the node's others"
            }
            LimitExceeded::Client => "the client has as many connections open as it leaves to other clients",
        })
    }
}

impl NodeLimiter {
    /// For a process that may have so many descriptors; at most `most` connections (0: what these allow).
    pub fn new(descriptors: usize, most: usize) -> Arc<Self> {
        let most = if most == 0 { usize::MAX } else { most };
        Arc::new(Self {
            descriptors,
            most,
            workloads: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            pooled: AtomicUsize::new(0),
            pools: Mutex::default(),
        })
    }

    /// Limits for one more workload, of at most `most` connections.
    pub fn limiter(self: &Arc<Self>, most: usize) -> Arc<ConnectionLimiter> {
        self.workloads.fetch_add(1, Ordering::Relaxed);
        Arc::new(ConnectionLimiter { node: self.clone(), most, held: Mutex::default() })
    }

    /// How many connections all workloads may have together.
    pub fn total(&self) -> usize {
        (self.left() / PER_CONNECTION).min(self.most)
    }

    /// Descriptors for connections and for what is in stock for them.
    fn left(&self) -> usize {
        let others = OF_PROCESS + PER_WORKLOAD * self.workloads.load(Ordering::Relaxed);
        self.descriptors.saturating_sub(others)
    }

    /// How many of `wanted` sockets may be made in advance.
    pub fn pool_allowance(&self, wanted: usize) -> usize {
        let free = self.left().saturating_sub(PER_CONNECTION * self.open());
        wanted.min((free / FREE_PER_POOLED).saturating_sub(self.pooled.load(Ordering::Relaxed)))
    }

    /// One socket more is in stock.
    pub fn pool_permit(self: &Arc<Self>) -> PooledPermit {
        self.pooled.fetch_add(1, Ordering::Relaxed);
        PooledPermit(self.clone())
    }

    /// Descriptors that `spare` holds in advance are asked back when connections have no others left.
    pub fn register_pool(&self, spare: Weak<dyn Reclaimable>) {
        let mut pools = self.pools.lock();
        pools.retain(|stock| stock.strong_count() > 0);
        pools.push(spare);
    }

    /// Nobody is refused for the sake of what is in stock.
    fn make_room(&self) {
        if PER_CONNECTION * self.open() + self.pooled.load(Ordering::Relaxed) <= self.left() {
            return;
        }
        let pools: Vec<_> = self.pools.lock().iter().filter_map(Weak::upgrade).collect();
        for stock in pools {
            stock.reclaim();
        }
    }

    /// How many they have.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

impl ConnectionLimiter {
    /// One more connection; from `client`, where that is not the workload itself.
    ///
    /// # Errors
    /// The limit that was reached.
    pub fn acquire(self: &Arc<Self>, client: Option<IpAddr>) -> Result<Permit, LimitExceeded> {
        let mut held = self.held.lock();
        let free = self.node.total().saturating_sub(self.node.open());
        if held.open >= self.most {
            return Err(LimitExceeded::Workload);
        }
        if held.open >= free {
            return Err(LimitExceeded::Node);
        }
        if let Some(client) = client {
            let room = free.min(self.most) - held.open;
            let of_client = held.clients.get(&client).copied().unwrap_or(0);
            if of_client >= room {
                return Err(LimitExceeded::Client);
            }
            held.clients.insert(client, of_client + 1);
        }
        held.open += 1;
        self.node.open.fetch_add(1, Ordering::Relaxed);
        drop(held);
        self.node.make_room();
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
            && let Some(of_client) = held.clients.get_mut(&client)
        {
            *of_client -= 1;
            if *of_client == 0 {
                held.clients.remove(&client);
            }
        }
        self.limiter.node.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Tells of a node when metrics are scraped.
#[derive(Debug)]
pub struct LimitsCollector(pub Arc<NodeLimiter>);

impl Collector for LimitsCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for (name, help, value) in [
            ("weft_connections_open", "Connections of workloads that are open", self.0.open()),
            ("weft_connections_limit", "Connections that all workloads may have together", self.0.total()),
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
                Err(full) => return (permits, full),
            }
        }
    }

    #[test]
    fn a_greedy_workload_leaves_as_much_as_it_takes() {
        let node = node(120);
        let (greedy, second, late) = (node.limiter(1000), node.limiter(1000), node.limiter(1000));
        let (first, full) = fill(&greedy, None);
        assert_eq!((first.len(), full), (60, LimitExceeded::Node));
        let (more, _) = fill(&second, None);
        assert_eq!(more.len(), 30);
        // Whoever comes last finds room, and nobody ever finds none.
        assert_eq!(fill(&late, None).0.len(), 15);
        drop((first, more));
        assert_eq!(node.open(), 0);
        assert_eq!(fill(&late, None).0.len(), 60);
    }

    #[test]
    fn a_workloads_own_bound_holds_too() {
        let share = node(1000).limiter(7);
        let (permits, full) = fill(&share, None);
        assert_eq!((permits.len(), full), (7, LimitExceeded::Workload));
    }

    #[test]
    fn a_greedy_client_leaves_room_for_others() {
        let share = node(1000).limiter(100);
        let (greedy, full) = fill(&share, Some(ONE));
        assert_eq!((greedy.len(), full), (50, LimitExceeded::Client));
        let (other, full) = fill(&share, Some(OTHER));
        assert_eq!((other.len(), full), (25, LimitExceeded::Client));
        drop((greedy, other));
        assert!(share.held.lock().clients.is_empty(), "clients without connections are forgotten");
    }

    #[test]
    fn descriptors_bound_the_whole() {
        let node = NodeLimiter::new(20_000, 0);
        let shares: Vec<_> = (0..100).map(|_| node.limiter(usize::MAX)).collect();
        assert_eq!(node.total(), (20_000 - 256 - 1600) / 2);
        drop(shares);
        assert_eq!(node.total(), (20_000 - 256) / 2);
        assert_eq!(fill(&NodeLimiter::new(100, 0).limiter(10), None).1, LimitExceeded::Node);
    }

    #[test]
    fn the_stock_counts_and_leaves_room() {
        let node = NodeLimiter::new(20_000, 0);
        let share = node.limiter(usize::MAX);
        assert_eq!(node.pool_allowance(128), 128);
        let mut stock = Vec::new();
        // As many busy workloads as there may be, all wanting as much as they can get.
        while node.pool_allowance(128) > 0 {
            stock.extend((0..node.pool_allowance(128)).map(|_| node.pool_permit()));
        }
        let left = 20_000 - 256 - 16;
        assert_eq!(stock.len(), left / 8);
        assert_eq!(node.total(), left / 2, "connections come first");
        drop(stock);
        let (permits, _) = fill(&share, None);
        assert_eq!(node.pool_allowance(10_000), (left - 2 * permits.len()) / 8);
    }

    #[test]
    fn the_stock_is_given_back_when_connections_need_it() {
        #[derive(Debug, Default)]
        struct Stock(Mutex<Vec<PooledPermit>>);
        impl Reclaimable for Stock {
            fn reclaim(&self) {
                self.0.lock().clear();
            }
        }
        let node = NodeLimiter::new(256 + 1000 + 3 * 16, 0);
        let (gone, kept) = (Arc::new(Stock::default()), Arc::new(Stock::default()));
        for stock in [&gone, &kept] {
            let stock: Arc<dyn Reclaimable> = stock.clone();
            node.register_pool(Arc::downgrade(&stock));
        }
        drop(gone);
        kept.0.lock().extend((0..node.pool_allowance(1000)).map(|_| node.pool_permit()));
        let pooled = kept.0.lock().len();
        assert_eq!(pooled, (1000 + 3 * 16) / 8);
        let shares: Vec<_> = (0..3).map(|_| node.limiter(usize::MAX)).collect();
        let (first, _) = fill(&shares[0], None);
        let (second, _) = fill(&shares[1], None);
        assert_eq!((first.len(), second.len()), (250, 125));
        assert_eq!(kept.0.lock().len(), pooled, "there is room for both");
        let (third, _) = fill(&shares[2], None);
        assert_eq!(third.len(), 63);
        assert!(kept.0.lock().is_empty());
    }
}
