//! Which nodes have a proxy, and what of the pods of one that has none any more?
//!
//! A proxy that lives holds a Watch. When a node's last one ends, the proxy is dead, hangs or cannot be heard, and in
//! the kernel the pods' fail modes hold: connections to those that fail open go to the bare application, which would
//! take a client's mTLS for data. So these are announced as unmeshed until a proxy reports them as served again.
//! Those that fail closed stay announced: to their clients, no proxy must mean no connection, never plaintext.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, MissedTickBehavior, interval},
};

use super::ServedFile;
use crate::{index::Index, metrics::Metrics};

/// How much time proxies have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// To come (back) to a control plane that has just started, or stood still: as long as they pause between attempts,
    /// and a little.
    pub(super) grace: Duration,
    /// How often it is looked whether that time is over.
    pub(super) look: Duration,
    /// If this process was not heard of by itself for so long, it stood still, and proxies have turned away from it.
    pub(super) standstill: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(10),
            look: Duration::from_millis(500),
            standstill: Duration::from_secs(2),
        }
    }
}

/// Counts the proxies of each node that watch.
#[derive(Debug, Default)]
pub(crate) struct Attendance {
    patience: Patience,
    nodes: Mutex<Nodes>,
    /// Somebody may have left since it was looked last.
    is_stale: AtomicBool,
    stale: Notify,
}

#[derive(Debug, Default)]
struct Nodes {
    /// How many proxies watch; two while one takes over from another.
    watching: BTreeMap<String, usize>,
    /// Who has come since this process started, or stood still: when they go, they are gone.
    came: BTreeSet<String>,
}

/// A proxy that watches; dropped when it does not any more.
#[derive(Debug)]
pub(super) struct Present {
    attendance: Arc<Attendance>,
    node: String,
}

impl Attendance {
    #[cfg(test)]
    pub(super) fn with(patience: Patience) -> Arc<Self> {
        Arc::new(Self { patience, ..Self::default() })
    }

    /// A proxy of `node` watches from now on.
    pub(super) fn enter(self: &Arc<Self>, node: &str) -> Present {
        let mut nodes = self.nodes.lock();
        *nodes.watching.entry(node.to_owned()).or_default() += 1;
        nodes.came.insert(node.to_owned());
        Present { attendance: self.clone(), node: node.to_owned() }
    }

    /// A node has reported; without a proxy that watches, what it said does not hold.
    pub(super) fn reported(&self, node: &str) {
        if !self.nodes.lock().watching.contains_key(node) {
            self.look_again();
        }
    }

    /// Withdraws what no proxy stands for, until `stopping`.
    pub(crate) async fn follow(
        self: Arc<Self>,
        index: Arc<Index>,
        served: Arc<ServedFile>,
        metrics: Metrics,
        mut stopping: watch::Receiver<bool>,
    ) {
        let mut look = interval(self.patience.look);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last = Instant::now();
        let mut grace = last + self.patience.grace;
        // What the file said of nodes that never came.
        self.is_stale.store(true, Ordering::Relaxed);
        loop {
            tokio::select! {
                // First of all: when this process stops, all streams end, and that says nothing of the proxies.
                biased;
                _ = stopping.wait_for(|stopping| *stopping) => return,
                () = self.stale.notified() => {}
                _ = look.tick() => {}
            }
            let now = Instant::now();
            if now - last > self.patience.standstill {
                tracing::warn!(stood_still = ?(now - last), "this process was not run for a while: proxies have time to come back");
                grace = now + self.patience.grace;
                self.nodes.lock().came.clear();
                self.is_stale.store(true, Ordering::Release);
            }
            last = now;
            let in_grace = now < grace;
            if *stopping.borrow() || !self.is_stale.swap(in_grace, Ordering::AcqRel) {
                continue;
            }
            let (attendance, index, served, metrics) =
                (self.clone(), index.clone(), served.clone(), metrics.clone());
            let looked =
                tokio::task::spawn_blocking(move || attendance.withdraw(&index, &served, &metrics, in_grace))
                    .await;
            if let Err(error) = looked {
                tracing::error!(%error, "pods without a proxy were not withdrawn");
            }
        }
    }

    fn withdraw(&self, index: &Index, served: &ServedFile, metrics: &Metrics, in_grace: bool) {
        // Held throughout: a proxy that comes meanwhile watches afterwards, and reports after that.
        let nodes = self.nodes.lock();
        let withdrawn = index.withdraw_open(|node| {
            nodes.watching.contains_key(node) || (in_grace && !nodes.came.contains(node))
        });
        drop(nodes);
        if withdrawn.is_empty() {
            return;
        }
        for (node, pods) in &withdrawn {
            tracing::warn!(
                node,
                pods,
                "no proxy of this node is there: its pods that fail open are announced as unmeshed"
            );
            metrics.withdrawn(*pods);
        }
        if let Err(error) = served.write(index) {
            tracing::error!("cannot keep which pods are served: {error}");
        }
        metrics.indexed(&index.snapshot());
    }

    fn look_again(&self) {
        self.is_stale.store(true, Ordering::Release);
        self.stale.notify_one();
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        let mut nodes = self.attendance.nodes.lock();
        if let Some(count) = nodes.watching.get_mut(&self.node) {
            *count -= 1;
            if *count == 0 {
                nodes.watching.remove(&self.node);
                self.attendance.look_again();
            }
        }
    }
}
