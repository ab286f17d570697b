//! Tells a proxy the workloads of its node, and then what changed.

use std::{collections::BTreeMap, sync::Arc};

use weft_api::node::{Snapshot, Splice, Update, Workload, WorkloadRef, update::Kind};

use super::{splice::splice, workload::workload};
use crate::{index::Cluster, mesh::Mesh, model::Name};

/// The workloads of a node, for its proxy.
#[derive(Debug)]
pub(super) struct Deltas {
    node: String,
    mesh: Arc<Mesh>,
    sent: Option<BTreeMap<Name, Workload>>,
    splice: Splice,
}

impl Deltas {
    pub(super) fn new(node: String, mesh: Arc<Mesh>) -> Self {
        Self { node, mesh, sent: None, splice: Splice::default() }
    }

    /// The messages for a new state of the cluster: the first time everything, later what changed.
    pub(super) fn update(&mut self, cluster: &Arc<Cluster>) -> Vec<Update> {
        let pods = cluster.pods_on(&self.node);
        // A pod without an address has no connections yet.
        let workloads = pods.iter().filter(|pod| pod.inject && !pod.ips.is_empty());
        let now: BTreeMap<Name, Workload> =
            workloads.map(|pod| (pod.name.clone(), workload(pod, &self.mesh))).collect();
        let splice = splice(cluster);
        let is_splice_new = self.splice != splice;
        self.splice = splice.clone();
        let Some(sent) = self.sent.replace(now.clone()) else {
            let snapshot = Snapshot { workloads: now.into_values().collect(), splice: Some(splice) };
            return vec![Update { kind: Some(Kind::Snapshot(snapshot)) }];
        };
        let is_removed =
            |(name, old): &(&Name, &Workload)| now.get(name).is_none_or(|new| new.r#ref != old.r#ref);
        // Removed first: a pod may have the name of one that replaces it.
        let removed: Vec<_> =
            sent.iter().filter(is_removed).filter_map(|(_, old)| old.r#ref.clone()).map(remove).collect();
        let upserts = now
            .into_iter()
            .filter(|(name, new)| sent.get(name) != Some(new))
            .map(|(_, new)| Update { kind: Some(Kind::Upsert(new)) });
        let splice = is_splice_new.then_some(Update { kind: Some(Kind::Splice(splice)) });
        removed.into_iter().chain(upserts).chain(splice).collect()
    }
}

fn remove(reference: WorkloadRef) -> Update {
    Update { kind: Some(Kind::Remove(reference)) }
}
