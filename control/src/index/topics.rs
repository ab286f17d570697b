//! Wakes the readers of the index that a change concerns, and no others.

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::model::Name;

/// A part of the cluster that can change.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Topic {
    /// Whether a service exists, and everything about it but its endpoints.
    Service(Name),
    /// A service with its endpoints.
    Endpoints(Name),
    Pod(Name),
    /// The pods and the service that have this address. Of the service, everything but its endpoints.
    Address(IpAddr),
    /// The pods of a node.
    Node(String),
    /// The zone of a node.
    Zone(String),
    /// The pods and services that opted in to splicing, with their endpoints.
    Splicing,
    /// The issuer of certificates. It is no part of the index; readers are only woken here.
    Issuer,
}

/// Who waits for which part.
#[derive(Debug, Default)]
pub(super) struct Subscribers {
    waiting: Mutex<HashMap<Topic, HashMap<u64, Arc<Notify>>>>,
    next: AtomicU64,
}

/// Tells its owner when one of its topics changed. It ends when it is dropped.
#[derive(Debug)]
pub struct Subscription {
    subscribers: Arc<Subscribers>,
    id: u64,
    topics: Vec<Topic>,
    changed: Arc<Notify>,
}

impl Subscribers {
    pub(super) fn subscribe(self: &Arc<Self>, topics: Vec<Topic>) -> Subscription {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let changed = Arc::new(Notify::new());
        let mut waiting = self.waiting.lock();
        for topic in &topics {
            waiting.entry(topic.clone()).or_default().insert(id, changed.clone());
        }
        drop(waiting);
        Subscription { subscribers: self.clone(), id, topics, changed }
    }

    /// Wakes everybody who waits for one of `topics`.
    pub(super) fn notify(&self, topics: &BTreeSet<Topic>) {
        let waiting = self.waiting.lock();
        for subscriber in topics.iter().filter_map(|topic| waiting.get(topic)).flat_map(HashMap::values) {
            subscriber.notify_one();
        }
    }
}

impl Subscription {
    /// Waits until a topic has changed since the last call. Several changes may be reported as one.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut waiting = self.subscribers.waiting.lock();
        for topic in &self.topics {
            if let Some(subscribers) = waiting.get_mut(topic) {
                subscribers.remove(&self.id);
                if subscribers.is_empty() {
                    waiting.remove(topic);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn only_subscribers_of_a_changed_topic_are_woken() {
        let subscribers = Arc::new(Subscribers::default());
        let subscribe = |node: &str| subscribers.subscribe(vec![Topic::Node(node.into()), Topic::Splicing]);
        let (one, two) = (subscribe("one"), subscribe("two"));
        subscribers.notify(&BTreeSet::from([Topic::Node("one".into())]));
        assert!(one.changed().now_or_never().is_some());
        assert!(one.changed().now_or_never().is_none(), "the change was reported before");
        assert!(two.changed().now_or_never().is_none());
        subscribers.notify(&BTreeSet::from([Topic::Node("two".into()), Topic::Splicing]));
        assert!(one.changed().now_or_never().is_some() && two.changed().now_or_never().is_some());
        drop((one, two));
        assert!(subscribers.waiting.lock().is_empty());
    }
}
