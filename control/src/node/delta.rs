//! Tells a proxy the workloads of its node, and then what changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use weft_api::node::{Snapshot, Splice, Update, Workload, WorkloadRef, update::Kind};

use super::{splice::splice, workload::workload};
use crate::{
    index::{Cluster, Instance},
    mesh::Mesh,
    model::Name,
};

/// The workloads of a node, for its proxy.
#[derive(Debug)]
pub(super) struct Deltas {
    node: String,
    mesh: Arc<Mesh>,
    sent: Option<BTreeMap<Name, Workload>>,
    unmeshed: BTreeSet<Instance>,
    splice: Splice,
}

impl Deltas {
    pub(super) fn new(node: String, mesh: Arc<Mesh>) -> Self {
        Self { node, mesh, sent: None, unmeshed: BTreeSet::new(), splice: Splice::default() }
    }

    /// The messages for a new state of the cluster: the first time everything, later what changed.
    pub(super) fn update(&mut self, cluster: &Arc<Cluster>) -> Vec<Update> {
        let pods = cluster.pods_on(&self.node);
        // With or without an address: the proxy may learn it before this process does.
        let workloads = pods.iter().filter(|pod| pod.inject);
        let unmeshed: BTreeSet<_> = pods.iter().filter(|pod| !pod.inject).map(|pod| pod.instance()).collect();
        let sent_unmeshed = std::mem::replace(&mut self.unmeshed, unmeshed.clone());
        let now: BTreeMap<Name, Workload> =
            workloads.map(|pod| (pod.name.clone(), workload(pod, &self.mesh))).collect();
        let splice = splice(cluster);
        let is_splice_new = self.splice != splice;
        self.splice = splice.clone();
        let Some(sent) = self.sent.replace(now.clone()) else {
            let unmeshed = unmeshed.iter().map(reference).collect();
            let snapshot =
                Snapshot { workloads: now.into_values().collect(), splice: Some(splice), unmeshed };
            return vec![Update { kind: Some(Kind::Snapshot(snapshot)) }];
        };
        let is_removed =
            |(name, old): &(&Name, &Workload)| now.get(name).is_none_or(|new| new.r#ref != old.r#ref);
        // Removed first: a pod may have the name of one that replaces it.
        let removed: Vec<_> =
            sent.iter().filter(is_removed).filter_map(|(_, old)| old.r#ref.clone()).map(remove).collect();
        let upserts = now
            .iter()
            .filter(|(name, new)| sent.get(name) != Some(new))
            .map(|(_, new)| Update { kind: Some(Kind::Upsert(new.clone())) });
        let splice = is_splice_new.then_some(Update { kind: Some(Kind::Splice(splice)) });
        // A pod that joins the mesh is upserted: that says it all.
        let gone = sent_unmeshed.difference(&unmeshed).filter(|pod| {
            now.get(&pod.name).is_none_or(|new| new.r#ref.as_ref().is_none_or(|new| new.uid != pod.uid))
        });
        let gone: Vec<_> = gone.map(|pod| remove(reference(pod))).collect();
        let unmeshed = unmeshed.difference(&sent_unmeshed);
        let unmeshed = unmeshed.map(|pod| Update { kind: Some(Kind::Unmeshed(reference(pod))) });
        removed.into_iter().chain(gone).chain(upserts).chain(unmeshed).chain(splice).collect()
    }
}

fn reference(pod: &Instance) -> WorkloadRef {
    WorkloadRef { namespace: pod.name.namespace.clone(), name: pod.name.name.clone(), uid: pod.uid.clone() }
}

fn remove(reference: WorkloadRef) -> Update {
    Update { kind: Some(Kind::Remove(reference)) }
}
