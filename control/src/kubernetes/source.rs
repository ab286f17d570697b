//! The Kubernetes API as a source of events: starts the watches, and makes batches of what they hear.

use std::{collections::BTreeSet, time::Duration};

use k8s_openapi::api::{
    core::v1::{Namespace, Pod, Service},
    discovery::v1::EndpointSlice,
};
use kube::Client;
use tokio::{sync::mpsc, task::JoinSet, time::Instant};

use super::{
    arrival::{Custom, Metadata},
    watch::{Message, Watch},
};
use crate::{
    metrics::Metrics,
    model::{Event, Kind},
};

/// How long a batch collects changes. A rollout changes pods and slices in bursts.
const BATCH_TIME: Duration = Duration::from_millis(5);
/// Changes of one batch. Beyond that, the watches wait.
const MAX_CHANGES: usize = 4096;
/// Messages between the watches and the source.
const QUEUE: usize = 256;

/// The objects of a cluster, as its API server reports them.
#[derive(Debug)]
pub struct KubernetesSource {
    messages: mpsc::Receiver<Message>,
    batch: Batch,
    /// Ends the watches with the source.
    _watches: JoinSet<()>,
}

/// The events that are passed on together.
#[derive(Debug, Default)]
struct Batch {
    events: Vec<Event>,
    /// The kinds of objects that changed.
    changed: BTreeSet<Kind>,
    /// A list that has to start a batch of its own.
    next: Option<Message>,
}

impl KubernetesSource {
    /// Starts a watch for each of these kinds.
    pub(crate) fn start(client: &Client, kinds: &[Kind], metrics: &Metrics) -> Self {
        let (sender, messages) = mpsc::channel(QUEUE);
        let mut watches = JoinSet::new();
        for kind in kinds.iter().copied() {
            let (client, sender, metrics) = (client.clone(), sender.clone(), metrics.watch(kind));
            match kind {
                Kind::Namespace => {
                    watches.spawn(Watch::<Namespace>::new(kind, client, sender, metrics).run())
                }
                Kind::Service => watches.spawn(Watch::<Service>::new(kind, client, sender, metrics).run()),
                Kind::Pod => watches.spawn(Watch::<Pod>::new(kind, client, sender, metrics).run()),
                Kind::EndpointSlice => {
                    watches.spawn(Watch::<EndpointSlice>::new(kind, client, sender, metrics).run())
                }
                Kind::Server
                | Kind::ServerAuthorization
                | Kind::AuthorizationPolicy
                | Kind::MeshTLSAuthentication
                | Kind::NetworkAuthentication => {
                    watches.spawn(Watch::<Custom>::new(kind, client, sender, metrics).run())
                }
                Kind::ServiceAccount
                | Kind::Node
                | Kind::Deployment
                | Kind::ReplicaSet
                | Kind::StatefulSet
                | Kind::DaemonSet
                | Kind::Job
                | Kind::CronJob => {
                    watches.spawn(Watch::<Metadata>::new(kind, client, sender, metrics).of_metadata().run())
                }
            };
        }
        Self { messages, batch: Batch::default(), _watches: watches }
    }

    /// Waits for changes, and a moment longer for others that belong to them. Nothing is lost if the future is
    /// dropped.
    pub(crate) async fn changed(&mut self) {
        while self.batch.events.is_empty() {
            match self.messages.recv().await {
                Some(message) => self.batch.add(message),
                // The watches never end.
                None => std::future::pending().await,
            }
        }
        let end = Instant::now() + BATCH_TIME;
        while !self.batch.is_full() {
            match tokio::time::timeout_at(end, self.messages.recv()).await {
                Ok(Some(message)) => self.batch.add(message),
                Ok(None) | Err(_) => return,
            }
        }
    }

    /// The batch that has been collected.
    pub(crate) fn read(&mut self) -> Vec<Event> {
        self.batch.take()
    }
}

impl Batch {
    /// A list replaces all objects of its kind that its batch does not apply. Changes from before the list would count
    /// as part of it, so a list starts a batch of its own if there are any.
    fn add(&mut self, message: Message) {
        match message {
            Message::List { kind, .. } if self.changed.contains(&kind) => self.next = Some(message),
            Message::List { events, .. } => self.events.extend(events),
            Message::Change(event) => {
                self.changed.insert(match &event {
                    Event::Applied(object) => object.kind(),
                    Event::Deleted(key) => key.kind,
                    Event::Synced(kind) => *kind,
                });
                self.events.push(event);
            }
        }
    }

    fn is_full(&self) -> bool {
        self.next.is_some() || self.events.len() >= MAX_CHANGES
    }

    fn take(&mut self) -> Vec<Event> {
        let events = std::mem::take(&mut self.events);
        self.changed.clear();
        if let Some(next) = self.next.take() {
            self.add(next);
        }
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Key;

    fn deleted(kind: Kind, name: &str) -> Event {
        Event::Deleted(Key::new(kind, Some("demo"), name))
    }

    fn list(kind: Kind) -> Message {
        Message::List { kind, events: vec![Event::Synced(kind)] }
    }

    #[test]
    fn a_batch_holds_changes_of_all_kinds_in_order() {
        let mut batch = Batch::default();
        batch.add(Message::Change(deleted(Kind::Pod, "a")));
        batch.add(list(Kind::Service));
        batch.add(Message::Change(deleted(Kind::Pod, "b")));
        let expected = [deleted(Kind::Pod, "a"), Event::Synced(Kind::Service), deleted(Kind::Pod, "b")];
        assert_eq!(batch.take(), expected);
        assert_eq!(batch.take(), []);
    }

    #[test]
    fn a_list_does_not_share_a_batch_with_earlier_changes_of_its_kind() {
        let mut batch = Batch::default();
        batch.add(Message::Change(deleted(Kind::Pod, "a")));
        batch.add(list(Kind::Pod));
        assert!(batch.is_full());
        assert_eq!(batch.take(), [deleted(Kind::Pod, "a")]);
        assert_eq!(batch.take(), [Event::Synced(Kind::Pod)]);
    }
}
