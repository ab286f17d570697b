//! The connections that all workloads of the node may have open together, and the sockets that may be pooled.
//!
//! File descriptors run out first, and all pods of the node share those of the process.

use std::{
    fmt,
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;

use super::ConnectionLimiter;

/// The limits of the connections of all workloads together.
#[derive(Debug)]
pub struct NodeLimiter {
    descriptors: usize,
    max_connections: usize,
    pub(super) workloads: AtomicUsize,
    pub(super) open: AtomicUsize,
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
    pub(super) fn reclaim_if_needed(&self) {
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

impl Drop for PooledPermit {
    fn drop(&mut self) {
        self.0.pooled.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Descriptors of a proxied connection: one socket accepted, one opened.
const PER_CONNECTION: usize = 2;
/// Descriptors of a workload: its listeners (two handles each) and its network namespace.
const PER_WORKLOAD: usize = 16;
/// Pooled sockets may use 1/`FREE_PER_POOLED` of the free descriptors.
const FREE_PER_POOLED: usize = 8;
/// Descriptors of the process itself: programs and maps, control plane, admin server, runtime.
const PER_PROCESS: usize = 256;
