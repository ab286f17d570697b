//! Tells a proxy the workloads of its node, and then what changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use weft_api::node::{Snapshot, Splice, Update, WorkloadRef, update::Kind};

use super::{splice::splice, workload::workload};
use crate::{
    index::{Cluster, Instance, Obstacle, Pod, Splicing, Topic},
    mesh::Mesh,
    model::Name,
};

/// The workloads of a node, for its proxy.
#[derive(Debug)]
pub(super) struct Deltas {
    node: String,
    mesh: Arc<Mesh>,
    /// The pods as they were in a snapshot, which all streams share. What the proxy was told follows from them.
    sent: Option<Pods>,
    unmeshed: BTreeSet<Instance>,
    splicing: Arc<Splicing>,
    splice: Splice,
}

impl Deltas {
    pub(super) fn new(node: String, mesh: Arc<Mesh>) -> Self {
        Self {
            node,
            mesh,
            sent: None,
            unmeshed: BTreeSet::new(),
            splicing: Arc::default(),
            splice: Splice::default(),
        }
    }

    /// What the workloads depend on.
    pub(super) fn topics(&self) -> Vec<Topic> {
        vec![Topic::Node(self.node.clone()), Topic::Splicing]
    }

    /// The messages for a new state of the cluster: the first time everything, later what changed.
    pub(super) fn update(&mut self, cluster: &Arc<Cluster>) -> Vec<Update> {
        let is_splice_new = self.update_splice(cluster.splicing());
        let before = self.sent.take();
        let (mut now, mut unmeshed) = (BTreeMap::new(), BTreeSet::new());
        for pod in cluster.pods_on(&self.node) {
            if !is_sent(&pod) {
                unmeshed.insert(pod.instance());
                continue;
            }
            now.insert(pod.name.clone(), pod);
        }
        let splice = is_splice_new.then(|| self.splice.clone());
        let messages = match &before {
            Some(before) => changes((before, &self.unmeshed), (&now, &unmeshed), splice, &self.mesh),
            None => {
                let workloads = now.values().map(|pod| workload(pod, &self.mesh)).collect();
                let splice = Some(self.splice.clone());
                let unmeshed = unmeshed.iter().map(reference).collect();
                let snapshot = Snapshot { workloads, splice, unmeshed, issuer: None };
                vec![Update { kind: Some(Kind::Snapshot(snapshot)) }]
            }
        };
        (self.sent, self.unmeshed) = (Some(now), unmeshed);
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

/// Whether the proxy is told about a pod as a workload. A pod is sent before it has an address, because the proxy may
/// learn that first. One that asks to be meshed and cannot be is sent so that the proxy reports it; but a pod with
/// Linkerd's sidecar is none of its business.
fn is_sent(pod: &Pod) -> bool {
    pod.inject && pod.obstacle() != Some(Obstacle::LinkerdSidecar)
}

type Pods = BTreeMap<Name, Arc<Pod>>;

fn changes(
    (before, unmeshed_before): (&Pods, &BTreeSet<Instance>),
    (now, unmeshed): (&Pods, &BTreeSet<Instance>),
    splice: Option<Splice>,
    mesh: &Mesh,
) -> Vec<Update> {
    // Removed first: a pod may have the name of one that replaces it.
    let removed = before.values().filter(|old| now.get(&old.name).is_none_or(|new| new.uid != old.uid));
    let removed = removed.map(|old| remove(reference(&old.instance())));
    // A pod that joins the mesh is upserted: that says it all.
    let is_meshed = |pod: &Instance| now.get(&pod.name).is_some_and(|new| new.uid == pod.uid);
    let ended = unmeshed_before.difference(unmeshed).filter(|pod| !is_meshed(pod));
    let ended = ended.map(|pod| remove(reference(pod)));
    let upsert = |new: &Arc<Pod>| {
        let before = before.get(&new.name);
        if before.is_some_and(|old| Arc::ptr_eq(old, new)) {
            return None;
        }
        let (before, new) = (before.map(|old| workload(old, mesh)), workload(new, mesh));
        (before.as_ref() != Some(&new)).then_some(Update { kind: Some(Kind::Upsert(new)) })
    };
    let upserts = now.values().filter_map(upsert);
    let unmeshed = unmeshed.difference(unmeshed_before);
    let unmeshed = unmeshed.map(|pod| Update { kind: Some(Kind::Unmeshed(reference(pod))) });
    let splice = splice.map(|splice| Update { kind: Some(Kind::Splice(splice)) });
    removed.chain(ended).chain(upserts).chain(unmeshed).chain(splice).collect()
}

fn reference(pod: &Instance) -> WorkloadRef {
    WorkloadRef { namespace: pod.name.namespace.clone(), name: pod.name.name.clone(), uid: pod.uid.clone() }
}

fn remove(reference: WorkloadRef) -> Update {
    Update { kind: Some(Kind::Remove(reference)) }
}
