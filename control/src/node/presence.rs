//! Tracks which nodes have a proxy, and withdraws pods whose node has none.
//!
//! A proxy that is alive has a Watch stream open. When the last stream of a node ends, its proxy is dead, hangs or
//! cannot be reached, and in the kernel the fail modes of its pods apply: connections to pods that fail open go directly
//! to the application, which would take a client's mTLS for data. So these pods are announced as unmeshed until a proxy
//! reports them as served again. Pods that fail closed stay announced as meshed: without a proxy, their clients must get
//! no connection rather than one in plaintext.

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
    sync::Notify,
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use super::report::ServedFile;
use crate::{index::Index, metrics::Metrics};

#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    /// How long proxies may take to connect (again) after this process started or stalled: the longest pause between
    /// their attempts, and a little more.
    pub(super) grace: Duration,
    pub(super) check_interval: Duration,
    /// If this process did not run for this long, it has stalled, and proxies have disconnected from it.
    pub(super) stall: Duration,
}

/// The nodes whose proxies watch.
#[derive(Debug, Default)]
pub(crate) struct ProxyPresence {
    timing: Timing,
    nodes: Mutex<Nodes>,
    /// A proxy may have disconnected since the last check.
    is_stale: AtomicBool,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Nodes {
    /// The number of proxies that watch; two while one takes over from another.
    watching: BTreeMap<String, usize>,
    /// Nodes whose proxy has connected since this process started or stalled. They have no grace period.
    connected: BTreeSet<String>,
}

/// A proxy that watches counts as present until this is dropped.
#[derive(Debug)]
pub(super) struct PresenceGuard {
    presence: Arc<ProxyPresence>,
    node: String,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(10),
            check_interval: Duration::from_millis(500),
            stall: Duration::from_secs(2),
        }
    }
}

impl ProxyPresence {
    #[cfg(test)]
    pub(super) fn with(timing: Timing) -> Arc<Self> {
        Arc::new(Self { timing, ..Self::default() })
    }

    /// A proxy of `node` begins to watch.
    pub(super) fn enter(self: &Arc<Self>, node: &str) -> PresenceGuard {
        let mut nodes = self.nodes.lock();
        *nodes.watching.entry(node.to_owned()).or_default() += 1;
        nodes.connected.insert(node.to_owned());
        PresenceGuard { presence: self.clone(), node: node.to_owned() }
    }

    /// A proxy of `node` has reported. False if none watches: the report does not count then.
    pub(super) fn reported(&self, node: &str) -> bool {
        let is_watching = self.nodes.lock().watching.contains_key(node);
        if !is_watching {
            self.check_soon();
        }
        is_watching
    }

    /// Withdraws pods without a proxy until `stop`.
    pub(crate) async fn run(
        self: Arc<Self>,
        index: Arc<Index>,
        served: Arc<ServedFile>,
        metrics: Metrics,
        stop: CancellationToken,
    ) {
        let mut check = interval(self.timing.check_interval);
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last = Instant::now();
        let mut grace = last + self.timing.grace;
        // The file of served pods may name nodes whose proxy never connects.
        self.is_stale.store(true, Ordering::Relaxed);
        loop {
            tokio::select! {
                // Checked first: when this process stops, all streams end, whether their proxies are alive or not.
                biased;
                () = stop.cancelled() => return,
                () = self.wake.notified() => {}
                _ = check.tick() => {}
            }
            let now = Instant::now();
            if now - last > self.timing.stall {
                tracing::warn!(stalled_for = ?(now - last), "this process did not run for a while; giving proxies time to reconnect");
                grace = now + self.timing.grace;
                self.nodes.lock().connected.clear();
                self.is_stale.store(true, Ordering::Release);
            }
            last = now;
            let in_grace = now < grace;
            if stop.is_cancelled() || !self.is_stale.swap(in_grace, Ordering::AcqRel) {
                continue;
            }
            let (presence, index, served, metrics) =
                (self.clone(), index.clone(), served.clone(), metrics.clone());
            let checked =
                tokio::task::spawn_blocking(move || presence.withdraw(&index, &served, &metrics, in_grace));
            if let Err(error) = checked.await {
                tracing::error!(%error, "failed to withdraw pods whose node has no proxy");
            }
        }
    }

    fn withdraw(&self, index: &Index, served: &ServedFile, metrics: &Metrics, in_grace: bool) {
        // Locked throughout: a proxy that connects meanwhile counts as present afterwards, and reports after that.
        let nodes = self.nodes.lock();
        let withdrawn = index.withdraw_open(|node| {
            nodes.watching.contains_key(node) || (in_grace && !nodes.connected.contains(node))
        });
        drop(nodes);
        if withdrawn.is_empty() {
            return;
        }
        for (node, pods) in &withdrawn {
            tracing::warn!(
                node,
                pods,
                "node has no proxy: its pods that fail open are announced as unmeshed"
            );
            metrics.withdrawn(*pods);
        }
        served.write_or_log(index);
    }

    fn check_soon(&self) {
        self.is_stale.store(true, Ordering::Release);
        self.wake.notify_one();
    }
}

impl Drop for PresenceGuard {
    fn drop(&mut self) {
        let mut nodes = self.presence.nodes.lock();
        if let Some(count) = nodes.watching.get_mut(&self.node) {
            *count -= 1;
            if *count == 0 {
                nodes.watching.remove(&self.node);
                self.presence.check_soon();
            }
        }
    }
}
