//! What changed about a node's workloads?

use std::{collections::BTreeMap, sync::Arc};

use weft_api::node::{Snapshot, Splice, Update, Workload, WorkloadRef, update::Kind};

use super::{splice::splice, workload::workload};
use crate::index::{Cluster, Mesh, Name};

/// The workloads of a node, as its proxy was told.
#[derive(Debug)]
pub(super) struct Deltas {
    node: String,
    mesh: Arc<Mesh>,
    told: Option<BTreeMap<Name, Workload>>,
    splice: Splice,
}

impl Deltas {
    pub(super) fn new(node: String, mesh: Arc<Mesh>) -> Self {
        Self { node, mesh, told: None, splice: Splice::default() }
    }

    /// What has to be said, the cluster being so: first everything, then what changed.
    pub(super) fn look(&mut self, cluster: &Arc<Cluster>) -> Vec<Update> {
        let pods = cluster.pods_on(&self.node);
        // One without an address has no connections yet.
        let workloads = pods.iter().filter(|pod| pod.inject && !pod.ips.is_empty());
        let now: BTreeMap<Name, Workload> =
            workloads.map(|pod| (pod.name.clone(), workload(pod, &self.mesh))).collect();
        let spliced = splice(cluster);
        let splice_changed = self.splice != spliced;
        self.splice = spliced.clone();
        let Some(told) = self.told.replace(now.clone()) else {
            let workloads = now.into_values().collect();
            let snapshot = Snapshot { workloads, splice: Some(spliced) };
            return vec![Update { kind: Some(Kind::Snapshot(snapshot)) }];
        };
        let is_gone =
            |(name, old): &(&Name, &Workload)| now.get(name).is_none_or(|new| new.r#ref != old.r#ref);
        let gone = told.iter().filter(is_gone).filter_map(|(_, old)| old.r#ref.clone());
        let removes: Vec<_> = gone.map(remove).collect();
        let upserts = now
            .into_iter()
            .filter(|(name, new)| told.get(name) != Some(new))
            .map(|(_, new)| Update { kind: Some(Kind::Upsert(new)) });
        // A predecessor goes before its successor of the same name comes.
        let spliced = splice_changed.then_some(Update { kind: Some(Kind::Splice(spliced)) });
        removes.into_iter().chain(upserts).chain(spliced).collect()
    }
}

fn remove(gone: WorkloadRef) -> Update {
    Update { kind: Some(Kind::Remove(gone)) }
}
