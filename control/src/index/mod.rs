//! The index of the cluster, which all services answer from.
//!
//! Sources feed it with events about objects, proxies with reports about the pods that they serve. From both it builds
//! a [`Cluster`], a value that is replaced as a whole: readers take a snapshot, which never changes. Parts that stayed
//! the same are the same `Arc` as in the previous snapshot, so that comparing them is cheap.

mod build;
mod cluster;
mod endpoints;
mod owner;
mod pod;
mod pod_config;
mod selector;
mod servers;
mod service;
mod store;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use parking_lot::Mutex;
use tokio::sync::watch;

pub(crate) use self::pod_config::DEFAULT_OPAQUE_PORTS;
use self::store::Store;
pub use self::{
    cluster::Cluster,
    pod::{Instance, Pod, Served},
    pod_config::{PodConfig, PortPolicy},
    service::{Endpoint, Service},
};
use crate::{model::Event, settings::FailMode};

#[derive(Debug, Default)]
pub struct Index {
    current: watch::Sender<Arc<Cluster>>,
    inputs: Mutex<Inputs>,
}

/// What the cluster is built from.
#[derive(Debug, Default)]
struct Inputs {
    store: Store,
    served: Served,
}

impl Index {
    /// An index without objects. Pods in `served` count as served as soon as they appear.
    pub fn new(served: Served) -> Self {
        let index = Self::default();
        index.inputs.lock().served = served;
        index
    }

    /// Takes a batch of events of a source. If it changes anything, rebuilds the cluster in this thread.
    pub fn apply(&self, events: impl IntoIterator<Item = Event>) {
        let mut inputs = self.inputs.lock();
        if inputs.store.apply(events) {
            self.rebuild(&inputs);
        }
    }

    /// Takes the report of a node's proxy about the pods that it serves and those that it does not serve
    /// (`withdrawn`); for other pods, earlier reports remain valid. Rebuilds the cluster in this thread, or returns
    /// false if the report changes nothing.
    pub fn report(&self, node: &str, mut served: BTreeSet<Instance>, withdrawn: &BTreeSet<Instance>) -> bool {
        let mut inputs = self.inputs.lock();
        let cluster = self.snapshot();
        let exists =
            |instance: &Instance| cluster.pod(&instance.name).is_some_and(|pod| pod.instance() == *instance);
        let before = inputs.served.get(node).cloned().unwrap_or_default();
        served.extend(before.iter().filter(|pod| !withdrawn.contains(pod) && exists(pod)).cloned());
        if before == served {
            return false;
        }
        inputs.served.insert(node.to_owned(), served);
        self.rebuild(&inputs);
        true
    }

    /// No longer counts pods as served if they fail open and their node has no proxy. Returns how many pods of which
    /// nodes this concerns. Rebuilds the cluster in this thread.
    pub fn withdraw_open(&self, has_proxy: impl Fn(&str) -> bool) -> BTreeMap<String, usize> {
        let mut inputs = self.inputs.lock();
        let cluster = self.snapshot();
        let fails_open = |instance: &Instance| {
            cluster
                .pod(&instance.name)
                .is_some_and(|pod| pod.instance() == *instance && pod.config.fail_mode == FailMode::Open)
        };
        let mut withdrawn = BTreeMap::new();
        for (node, served) in inputs.served.iter_mut().filter(|(node, _)| !has_proxy(node)) {
            let before = served.len();
            served.retain(|instance| !fails_open(instance));
            if served.len() < before {
                withdrawn.insert(node.clone(), before - served.len());
            }
        }
        if !withdrawn.is_empty() {
            self.rebuild(&inputs);
        }
        withdrawn
    }

    /// The pods that proxies have reported as served.
    pub fn served(&self) -> Served {
        self.inputs.lock().served.clone()
    }

    /// The cluster as it is now.
    pub fn snapshot(&self) -> Arc<Cluster> {
        self.current.borrow().clone()
    }

    /// Notifies about changes; several changes may arrive as one.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Cluster>> {
        self.current.subscribe()
    }

    fn rebuild(&self, inputs: &Inputs) {
        let next = build::cluster(inputs.store.objects(), &inputs.served, &self.snapshot());
        self.current.send_if_modified(|current| {
            let is_new = **current != next;
            if is_new {
                *current = Arc::new(next);
            }
            is_new
        });
    }
}
