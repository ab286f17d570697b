//! The index of the cluster, which all services answer from.
//!
//! Sources feed it with events about objects, proxies with reports about the pods that they serve. From both it keeps a
//! [`Cluster`]. A change builds again only what depends on it ([`state`]). Readers take a snapshot, which never changes,
//! and are woken when a [`Topic`] changes that they asked for.

mod authorization;
mod cluster;
mod containers;
mod dirty;
mod endpoints;
mod links;
mod multimap;
mod owner;
mod pod;
mod pod_config;
mod select;
mod selector;
mod servers;
mod service;
mod state;
mod store;
mod topics;
mod zones;

#[cfg(test)]
mod authorization_tests;
#[cfg(test)]
mod defaults_tests;
#[cfg(test)]
mod mesh_tests;
#[cfg(test)]
mod random_tests;
#[cfg(test)]
mod select_tests;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use parking_lot::Mutex;
use tokio::sync::watch;

pub(crate) use self::authorization::POLICY_GROUP;
pub use self::{
    authorization::{Authorization, ClientIdentity, Clients, Network, Networks},
    cluster::{Cluster, Splicing},
    containers::Probe,
    pod::{Instance, Obstacle, Pod, Served, Sidecar},
    pod_config::{PodConfig, PortPolicy},
    select::Place,
    service::{Endpoint, EndpointState, Service, ServiceSettings},
    topics::{Subscription, Topic},
};
use self::{
    state::{State, Topics},
    topics::Subscribers,
};
use crate::{
    model::{Event, Kind, Object},
    settings::{Annotations, FailMode},
};

#[derive(Debug)]
pub struct Index {
    state: Mutex<State>,
    current: watch::Sender<Arc<Cluster>>,
    subscribers: Arc<Subscribers>,
}

impl Index {
    /// An index without objects. Pods in `served` count as served as soon as they appear.
    pub fn new(served: Served) -> Self {
        Self::with_defaults(served, Annotations::default())
    }

    /// The same, with settings for everything that neither pods, owners, services nor namespaces have an annotation for.
    pub fn with_defaults(served: Served, defaults: Annotations) -> Self {
        let state = State::new(served, defaults);
        let current = watch::Sender::new(Arc::new(state.cluster.clone()));
        Self { state: Mutex::new(state), current, subscribers: Arc::default() }
    }

    /// Takes a batch of events of a source, and builds in this thread what depends on them.
    pub fn apply(&self, events: impl IntoIterator<Item = Event>) {
        let mut state = self.state.lock();
        let topics = state.apply(events);
        self.publish(&state, &topics);
    }

    /// Takes the report of a node's proxy about the pods that it serves and those that it does not serve
    /// (`withdrawn`); for other pods, earlier reports remain valid. Returns false if the report changes nothing.
    pub fn report(&self, node: &str, mut served: BTreeSet<Instance>, withdrawn: &BTreeSet<Instance>) -> bool {
        let mut state = self.state.lock();
        let exists =
            |pod: &Instance| state.cluster.pod(&pod.name).is_some_and(|found| found.instance() == *pod);
        let before = state.served.get(node).cloned().unwrap_or_default();
        served.extend(before.iter().filter(|pod| !withdrawn.contains(pod) && exists(pod)).cloned());
        if before == served {
            return false;
        }
        let changed = before.symmetric_difference(&served).map(|pod| pod.name.clone()).collect();
        state.served.insert(node.to_owned(), served);
        let topics = state.served_changed(changed);
        self.publish(&state, &topics);
        true
    }

    /// No longer counts pods as served if they fail open and their node has no proxy. Returns how many pods of which
    /// nodes this concerns.
    pub fn withdraw_open(&self, has_proxy: impl Fn(&str) -> bool) -> BTreeMap<String, usize> {
        let mut state = self.state.lock();
        let State { cluster, served, .. } = &mut *state;
        let fails_open = |instance: &Instance| {
            cluster
                .pod(&instance.name)
                .is_some_and(|pod| pod.instance() == *instance && pod.config.fail_mode == FailMode::Open)
        };
        let (mut withdrawn, mut changed) = (BTreeMap::new(), BTreeSet::new());
        for (node, served) in served.iter_mut().filter(|(node, _)| !has_proxy(node)) {
            let gone: Vec<_> = served.iter().filter(|instance| fails_open(instance)).cloned().collect();
            for instance in &gone {
                served.remove(instance);
                changed.insert(instance.name.clone());
            }
            if !gone.is_empty() {
                withdrawn.insert(node.clone(), gone.len());
            }
        }
        let topics = state.served_changed(changed);
        self.publish(&state, &topics);
        withdrawn
    }

    /// The pods that proxies have reported as served.
    pub fn served(&self) -> Served {
        self.state.lock().served.clone()
    }

    /// The objects of a kind as the source reported them, trimmed. For readers that need more than the cluster's view.
    pub fn objects(&self, kind: Kind) -> Vec<Arc<Object>> {
        self.state.lock().objects(kind)
    }

    /// The cluster as it is now.
    pub fn snapshot(&self) -> Arc<Cluster> {
        self.current.borrow().clone()
    }

    /// Notifies about every change; several changes may arrive as one. For readers that need the whole cluster.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Cluster>> {
        self.current.subscribe()
    }

    /// Notifies about changes of `topics`. A reader subscribes before it takes its first snapshot, so that it misses
    /// nothing.
    pub fn subscribe_to(&self, topics: Vec<Topic>) -> Subscription {
        self.subscribers.subscribe(topics)
    }

    /// Wakes the readers of a topic of which the index has no state.
    pub(crate) fn wake(&self, topic: Topic) {
        self.subscribers.notify(&BTreeSet::from([topic]));
    }

    fn publish(&self, state: &State, topics: &Topics) {
        if topics.is_empty() {
            return;
        }
        self.current.send_replace(Arc::new(state.cluster.clone()));
        self.subscribers.notify(topics);
    }
}
