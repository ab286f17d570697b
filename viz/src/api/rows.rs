//! Makes rows of tables out of figures.

use weft_api::viz::{HttpStats, ResourceRef, ResourceType, Spark, StatRow, TcpStats};

use crate::{cluster::ClusterView, figures::ByEnds};

/// Figures by the one end that rows stand for.
#[derive(Default)]
pub(super) struct RowFigures {
    pub(super) http: ByEnds<HttpStats>,
    pub(super) tcp: ByEnds<TcpStats>,
    pub(super) sparks: ByEnds<Spark>,
}

impl RowFigures {
    /// The resources that have any.
    pub(super) fn resources(&self) -> Vec<ResourceRef> {
        let ends = self.http.keys().chain(self.tcp.keys());
        let mut all: Vec<_> = ends.filter_map(|ends| ends.first().cloned().flatten()).collect();
        all.sort();
        all.dedup();
        all
    }

    /// Turns what clients of a service read and wrote into what the service wrote and read, as in rows of other resources.
    pub(super) fn reverse(&mut self) {
        for stats in self.tcp.values_mut() {
            *stats = stats.reversed();
        }
    }

    pub(super) fn row(&self, view: &ClusterView, resource: ResourceRef) -> StatRow {
        let ends = vec![Some(resource.clone())];
        let (status, pods) = match resource.kind {
            ResourceType::Service => (None, None),
            _ => (status(view, &resource), Some(view.count(&resource))),
        };
        StatRow {
            status,
            pods,
            http: self.http.get(&ends).cloned(),
            tcp: Some(self.tcp.get(&ends).copied().unwrap_or_default()),
            spark: self.sparks.get(&ends).cloned(),
            split: None,
            resource,
        }
    }
}

/// `Running` or `Pending` of a pod, `2/3 ready` of others.
fn status(view: &ClusterView, resource: &ResourceRef) -> Option<String> {
    let pods = view.pods_of(resource);
    match resource.kind {
        ResourceType::Pod => pods.first().map(|pod| match pod.is_running() && !pod.ready {
            true => "Not ready".to_owned(),
            false => pod.phase.clone(),
        }),
        ResourceType::Namespace | ResourceType::Service => None,
        _ => Some(format!("{}/{} ready", pods.iter().filter(|pod| pod.ready).count(), pods.len())),
    }
}
