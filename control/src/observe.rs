//! Keeps metrics of the index, and warns about what the mesh cannot serve.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{index::Cluster, mesh::Mesh, metrics::Metrics, model::Name};

/// A look at the whole cluster is too much for every change.
const INTERVAL: Duration = Duration::from_secs(1);

pub(crate) async fn run(
    mut cluster: watch::Receiver<Arc<Cluster>>,
    mesh: Arc<Mesh>,
    metrics: Metrics,
    stop: CancellationToken,
) {
    let (mut outside, mut unmeshed) = (BTreeSet::new(), BTreeMap::new());
    loop {
        let snapshot = cluster.borrow_and_update().clone();
        metrics.set_index_objects(&snapshot);
        outside = warn_about_new(snapshot.outside_networks(&mesh), &outside);
        unmeshed = warn_about_unmeshed(&snapshot, &unmeshed);
        drop(snapshot);
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            changed = cluster.changed() => if changed.is_err() { return },
        }
    }
}

fn warn_about_new(outside: BTreeSet<IpAddr>, before: &BTreeSet<IpAddr>) -> BTreeSet<IpAddr> {
    for ip in outside.difference(before) {
        tracing::warn!("{ip} is an address of a pod or service, but not in --cluster-networks");
    }
    outside
}

/// Pods that ask to be meshed and cannot be, with the reason.
fn warn_about_unmeshed(cluster: &Cluster, before: &BTreeMap<Name, String>) -> BTreeMap<Name, String> {
    let asking = cluster.pods().filter(|pod| pod.inject);
    let unmeshed: BTreeMap<_, _> =
        asking.filter_map(|pod| Some((pod.name.clone(), pod.obstacle()?.to_string()))).collect();
    for (pod, reason) in unmeshed.iter().filter(|(pod, reason)| before.get(pod) != Some(reason)) {
        tracing::warn!(%pod, "a pod asks to be meshed but cannot be: {reason}");
    }
    unmeshed
}
