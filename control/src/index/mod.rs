//! What does the cluster look like now, and when does it change?
//!
//! The index is a value that is replaced as a whole: readers take a snapshot, which never changes under them. Parts
//! that stayed the same are the same `Arc` as in the snapshot before, so that comparing is cheap.

mod cluster;
mod endpoints;
mod mesh;
mod owner;
mod pod;
mod selector;
mod servers;
mod service;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use parking_lot::Mutex;
use tokio::sync::watch;

pub(crate) use self::pod::OPAQUE_PORTS;
pub use self::{
    cluster::{Cluster, Name},
    mesh::Mesh,
    pod::{Instance, Pod, PodConfig, PortPolicy},
    service::{Endpoint, Service},
};
use crate::{manifests::Document, settings::FailMode};

/// The index of the cluster.
#[derive(Debug, Default)]
pub struct Index {
    current: watch::Sender<Arc<Cluster>>,
    /// What the cluster is built from.
    inputs: Mutex<Inputs>,
}

/// By node: the pods that its proxy says it serves.
pub type Served = BTreeMap<String, BTreeSet<Instance>>;

#[derive(Debug, Default)]
struct Inputs {
    documents: Vec<Arc<Document>>,
    served: Served,
}

impl Index {
    /// An index of nothing, but for what is known to be `served` as soon as it appears.
    pub fn new(served: Served) -> Self {
        let index = Self::default();
        index.inputs.lock().served = served;
        index
    }

    /// Makes `documents` all there is. Builds the index in this thread, unless they are the same as before.
    pub fn replace(&self, documents: &[Arc<Document>]) {
        let mut inputs = self.inputs.lock();
        let old = &inputs.documents;
        if old.len() != documents.len() || !old.iter().zip(documents).all(|(old, new)| Arc::ptr_eq(old, new))
        {
            inputs.documents = documents.to_vec();
            self.build(&inputs);
        }
    }

    /// Takes a node's word for which of its pods its proxy serves and which it does not (`withdrawn`); what it
    /// said of others before still holds. False if that is no news. Builds the index in this thread.
    pub fn reported(
        &self,
        node: &str,
        mut served: BTreeSet<Instance>,
        withdrawn: &BTreeSet<Instance>,
    ) -> bool {
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
        self.build(&inputs);
        true
    }

    /// Takes back that pods are served whose node is not present, if they fail open: the nodes, and how many pods
    /// each. Builds the index in this thread.
    pub fn withdraw_open(&self, is_present: impl Fn(&str) -> bool) -> BTreeMap<String, usize> {
        let mut inputs = self.inputs.lock();
        let cluster = self.snapshot();
        let fails_open = |instance: &Instance| {
            cluster
                .pod(&instance.name)
                .is_some_and(|pod| pod.instance() == *instance && pod.config.fail_mode == FailMode::Open)
        };
        let mut withdrawn = BTreeMap::new();
        for (node, served) in inputs.served.iter_mut().filter(|(node, _)| !is_present(node)) {
            let before = served.len();
            served.retain(|instance| !fails_open(instance));
            if served.len() < before {
                withdrawn.insert(node.clone(), before - served.len());
            }
        }
        if !withdrawn.is_empty() {
            self.build(&inputs);
        }
        withdrawn
    }

    /// Which pods are served, as far as their nodes told.
    pub fn all_served(&self) -> Served {
        self.inputs.lock().served.clone()
    }

    /// The cluster as it is now.
    pub fn snapshot(&self) -> Arc<Cluster> {
        self.current.borrow().clone()
    }

    /// Tells about changes; several at once may be told as one.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Cluster>> {
        self.current.subscribe()
    }

    fn build(&self, inputs: &Inputs) {
        let objects = inputs.documents.iter().map(|document| &document.object);
        let next = Cluster::build(objects, &inputs.served, &self.snapshot());
        self.current.send_if_modified(|current| {
            let is_new = **current != next;
            if is_new {
                *current = Arc::new(next);
            }
            is_new
        });
    }
}
