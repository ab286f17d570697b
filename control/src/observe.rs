//! Keeps metrics of the index, and warns about addresses outside the cluster's networks.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{index::Cluster, mesh::Mesh, metrics::Metrics};

pub(crate) async fn run(
    mut cluster: watch::Receiver<Arc<Cluster>>,
    mesh: Arc<Mesh>,
    metrics: Metrics,
    stop: CancellationToken,
) {
    let mut outside = BTreeSet::new();
    loop {
        let snapshot = cluster.borrow_and_update().clone();
        metrics.set_index_objects(&snapshot);
        outside = warn_about_new(snapshot.outside_networks(&mesh), &outside);
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
