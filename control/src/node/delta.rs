//! Tells a proxy the workloads of its node, and then what changed.

use std::{collections::BTreeMap, sync::Arc};

use weft_api::node::{Snapshot, Splice, Update, Workload, WorkloadRef, update::Kind};

use super::{splice::splice, workload::workload};
use crate::{
    index::{Cluster, Obstacle, Pod, Splicing, Topic},
    mesh::Mesh,
    model::Name,
};

/// The workloads of a node, for its proxy.
#[derive(Debug)]
pub(super) struct Deltas {
    node: String,
    mesh: Arc<Mesh>,
    /// The pods as they were in a snapshot, with what the proxy was told about them.
    sent: Option<BTreeMap<Name, (Arc<Pod>, Workload)>>,
    splicing: Arc<Splicing>,
    splice: Splice,
}

impl Deltas {
    pub(super) fn new(node: String, mesh: Arc<Mesh>) -> Self {
        Self { node, mesh, sent: None, splicing: Arc::default(), splice: Splice::default() }
    }

    /// What the workloads depend on.
    pub(super) fn topics(&self) -> Vec<Topic> {
        vec![Topic::Node(self.node.clone()), Topic::Splicing]
    }

    /// The messages for a new state of the cluster: the first time everything, later what changed.
    pub(super) fn update(&mut self, cluster: &Arc<Cluster>) -> Vec<Update> {
        let is_splice_new = self.update_splice(cluster.splicing());
        let before = self.sent.take();
        let mut now = BTreeMap::new();
        for pod in cluster.pods_on(&self.node).into_iter().filter(|pod| is_sent(pod)) {
            let same = before
                .as_ref()
                .and_then(|sent| sent.get(&pod.name))
                .filter(|(old, _)| Arc::ptr_eq(old, &pod));
            let workload = same.map_or_else(|| workload(&pod, &self.mesh), |(_, workload)| workload.clone());
            now.insert(pod.name.clone(), (pod, workload));
        }
        let splice = is_splice_new.then(|| self.splice.clone());
        let messages = match &before {
            Some(before) => changes(before, &now, splice),
            None => {
                let workloads = now.values().map(|(_, workload)| workload.clone()).collect();
                let snapshot = Snapshot { workloads, splice: Some(self.splice.clone()) };
                vec![Update { kind: Some(Kind::Snapshot(snapshot)) }]
            }
        };
        self.sent = Some(now);
        messages
    }

    /// True if the addresses have changed.
    fn update_splice(&mut self, now: &Arc<Splicing>) -> bool {
        if Arc::ptr_eq(&self.splicing, now) {
            return false;
        }
        self.splicing = now.clone();
        let before = std::mem::replace(&mut self.splice, splice(now));
        before != self.splice
    }
}

/// A pod without an address has no connections yet. One in its node's network cannot be meshed, and its proxy is told so
/// that it can report it.
fn is_sent(pod: &Pod) -> bool {
    let is_in_nodes_network = || pod.inject && pod.obstacle() == Some(Obstacle::HostNetwork);
    !pod.ips.is_empty() && (pod.is_meshed() || is_in_nodes_network())
}

fn changes(
    before: &BTreeMap<Name, (Arc<Pod>, Workload)>,
    now: &BTreeMap<Name, (Arc<Pod>, Workload)>,
    splice: Option<Splice>,
) -> Vec<Update> {
    let is_removed =
        |name: &Name, old: &Workload| now.get(name).is_none_or(|(_, new)| new.r#ref != old.r#ref);
    // Removed first: a pod may have the name of one that replaces it.
    let removed = before.iter().filter(|(name, (_, old))| is_removed(name, old));
    let removed = removed.filter_map(|(_, (_, old))| old.r#ref.clone()).map(remove);
    let is_new = |name: &Name, pod: &Arc<Pod>, new: &Workload| {
        before.get(name).is_none_or(|(old_pod, old)| !Arc::ptr_eq(old_pod, pod) && old != new)
    };
    let upserts = now.iter().filter(|(name, (pod, new))| is_new(name, pod, new));
    let upserts = upserts.map(|(_, (_, new))| Update { kind: Some(Kind::Upsert(new.clone())) });
    let splice = splice.map(|splice| Update { kind: Some(Kind::Splice(splice)) });
    removed.chain(upserts).chain(splice).collect()
}

fn remove(reference: WorkloadRef) -> Update {
    Update { kind: Some(Kind::Remove(reference)) }
}
