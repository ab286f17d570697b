//! What do all connections share?

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use ipnet::IpNet;
use tokio::sync::{Notify, watch};

use crate::{
    capture::Capture, discovery::Discovery, metrics::Metrics, pass::Passes, share::Budget, splice::Splicing,
    threads::WorkerThreads, workloads::Registry,
};

/// One per process.
pub struct Shared {
    /// The kernel.
    pub capture: Arc<Capture>,
    /// What is spliced in the kernel.
    pub splicing: Arc<Splicing>,
    /// The threads that carry connections.
    pub workers: WorkerThreads,
    /// The workloads of this node.
    pub registry: Arc<Registry>,
    /// What serves an address.
    pub discovery: Arc<Discovery>,
    /// Who may go without the proxy.
    pub passes: Arc<Passes>,
    /// Where everything is counted.
    pub metrics: Metrics,
    /// The networks of the cluster, for policies.
    pub cluster_networks: Vec<IpNet>,
    /// Bounds.
    pub limits: Limits,
    /// What all workloads may have open together.
    pub budget: Arc<Budget>,
    /// The connections that are open.
    pub connections: Arc<Connections>,
    /// Turns true when no new connections are to be accepted.
    pub draining: watch::Receiver<bool>,
}

/// How much, and how long.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections of one workload at a time, both ways together.
    pub connections_per_workload: usize,
    /// How long a client may take to show what it speaks, and for a TLS handshake.
    pub detect: Duration,
    /// How long a connection waits for the workload's first certificate.
    pub certificate: Duration,
    /// How long a connection may be without a byte either way; zero: for ever.
    pub idle: Duration,
}

/// Counts open connections, so that a drain knows when it is done.
#[derive(Debug, Default)]
pub struct Connections {
    open: AtomicUsize,
    closed: Notify,
}

/// An open connection; dropped when it ends.
#[derive(Debug)]
pub struct Connection(Arc<Connections>);

impl Connections {
    /// One more.
    pub fn open(self: &Arc<Self>) -> Connection {
        self.open.fetch_add(1, Ordering::Relaxed);
        Connection(self.clone())
    }

    /// How many are open.
    pub fn count(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Resolves when none is open.
    pub async fn none(&self) {
        loop {
            let closed = self.closed.notified();
            tokio::pin!(closed);
            closed.as_mut().enable();
            if self.count() == 0 {
                return;
            }
            closed.await;
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.0.open.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.closed.notify_waiters();
        }
    }
}
