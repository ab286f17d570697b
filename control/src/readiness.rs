//! Whether this replica may answer: it knows the cluster, and which pods are served.
//!
//! A replica has no state of its own. If it answered before the node proxies have reported, it would announce meshed
//! pods as unmeshed, and connections to them would go in plaintext. So it waits, after its source has listed everything,
//! for a report of every node whose proxy is ready. A proxy that cannot reach it is waited for only for a while; after
//! that its pods that fail closed count as served: without a connection to their proxy, their clients must get none
//! rather than one in plaintext.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::{
    index::{Cluster, Index, Instance, Pod},
    metrics::Metrics,
    settings::FailMode,
};

/// How long node proxies may take to find this replica and report. Names in DNS may be cached for 30 s, and proxies look
/// them up every 10 s.
const GRACE: Duration = Duration::from_secs(60);

/// The pods that are node proxies.
#[derive(Clone, Debug)]
pub(crate) struct ProxyPods {
    pub(crate) namespace: String,
    pub(crate) service_account: &'static str,
}

#[derive(Debug)]
pub(crate) struct Readiness {
    proxies: ProxyPods,
    grace: Duration,
    ready: watch::Sender<bool>,
    synced: AtomicBool,
    /// The kinds whose objects are not known yet.
    lists: Mutex<String>,
    reported: Mutex<BTreeSet<String>>,
    wake: Notify,
}

impl Readiness {
    pub(crate) fn new(proxies: ProxyPods) -> Arc<Self> {
        Self::with_grace(proxies, GRACE)
    }

    pub(crate) fn with_grace(proxies: ProxyPods, grace: Duration) -> Arc<Self> {
        let (synced, wake) = (AtomicBool::new(false), Notify::new());
        let (ready, reported) = (watch::Sender::new(false), Mutex::default());
        Arc::new(Self { proxies, grace, ready, synced, lists: Mutex::default(), reported, wake })
    }

    /// The source has not listed these kinds yet.
    pub(crate) fn waits_for_lists(&self, kinds: String) {
        *self.lists.lock() = kinds;
    }

    /// The source has listed everything, and the index has it. Ready at once if no node proxy is to be waited for.
    pub(crate) fn source_synced(&self, index: &Index) {
        self.synced.store(true, Ordering::Release);
        if self.silent(&index.snapshot()).is_empty() {
            self.ready.send_replace(true);
        }
        self.wake.notify_one();
    }

    /// A node's proxy, which watches, has reported.
    pub(crate) fn node_reported(&self, node: &str) {
        // Nothing waits for it any more.
        if !*self.ready.borrow() && self.reported.lock().insert(node.to_owned()) {
            self.wake.notify_one();
        }
    }

    /// Answers at once, whatever is missing: what is served is known from a file.
    pub(crate) fn skip(&self) {
        self.synced.store(true, Ordering::Release);
        self.ready.send_replace(true);
    }

    /// # Errors
    /// The answer to calls until this replica is ready.
    pub(crate) fn check(&self) -> Result<(), Status> {
        match *self.ready.borrow() {
            true => Ok(()),
            false => Err(Status::unavailable(format!("this replica is not ready: {}", self.missing()))),
        }
    }

    /// What is still missing.
    pub(crate) fn missing(&self) -> String {
        if self.synced.load(Ordering::Acquire) {
            return "it waits for the reports of the node proxies".into();
        }
        match self.lists.lock().as_str() {
            "" => "it has not read the cluster yet".into(),
            kinds => format!("it waits for the lists of {kinds}"),
        }
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<bool> {
        self.ready.subscribe()
    }

    /// Becomes ready, then waits for `stop`.
    pub(crate) async fn run(self: Arc<Self>, index: Arc<Index>, metrics: Metrics, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => return,
            () = self.become_ready(&index) => metrics.set_ready(),
        }
        stop.cancelled().await;
    }

    async fn become_ready(&self, index: &Index) {
        while !self.synced.load(Ordering::Acquire) {
            self.wake.notified().await;
        }
        if *self.ready.borrow() {
            return;
        }
        let mut cluster = index.subscribe();
        let deadline = Instant::now() + self.grace;
        let silent = loop {
            let silent = self.silent(&cluster.borrow_and_update());
            if silent.is_empty() {
                break silent;
            }
            tracing::debug!(?silent, "waiting for the reports of node proxies");
            tokio::select! {
                () = self.wake.notified() => {}
                changed = cluster.changed() => if changed.is_err() { break silent },
                () = sleep_until(deadline) => break silent,
            }
        };
        for node in &silent {
            let pods = failing_closed(&index.snapshot(), node);
            tracing::warn!(
                node,
                assumed = pods.len(),
                "the node's proxy has not reported; its pods that fail closed are announced as meshed, the others as unmeshed"
            );
            index.report(node, pods, &BTreeSet::new());
        }
        self.ready.send_replace(true);
        self.reported.lock().clear();
        tracing::info!("this replica is ready");
    }

    /// Nodes with a proxy that is ready and has not reported here.
    fn silent(&self, cluster: &Cluster) -> BTreeSet<String> {
        let reported = self.reported.lock();
        let is_proxy = |pod: &&Arc<Pod>| {
            pod.name.namespace == self.proxies.namespace
                && pod.service_account == self.proxies.service_account
                && pod.ready
        };
        let nodes = cluster.pods().filter(is_proxy).filter_map(|pod| pod.node.clone());
        nodes.filter(|node| !reported.contains(node)).collect()
    }
}

fn failing_closed(cluster: &Cluster, node: &str) -> BTreeSet<Instance> {
    let fails_closed =
        |pod: &&Arc<Pod>| pod.is_meshed() && pod.ready && pod.config.fail_mode == FailMode::Closed;
    cluster.pods_on(node).iter().filter(fails_closed).map(|pod| pod.instance()).collect()
}

#[cfg(test)]
mod tests;
