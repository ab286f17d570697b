//! Whether weft-viz sees the meshed pods.

use std::collections::HashMap;

use anyhow::{Result, bail};
use k8s_openapi::api::core::v1::Namespace;
use weft_api::viz::{NodeItem, NodeProxyState, PodItem, StatRow, TapState};

use crate::check::{
    cluster::{Cluster, none},
    model::{Category, Check},
};

pub(super) fn category(in_namespace: bool, on_vm: bool) -> Category {
    let mut checks = Vec::new();
    if in_namespace {
        let anchor = "weft-data-plane-exists";
        checks.push(if on_vm {
            Check::fatal("data plane namespace exists", anchor, |c| Box::pin(vm_namespace(c)))
        } else {
            Check::fatal("data plane namespace exists", anchor, |c| Box::pin(namespace(c)))
        });
    }
    checks.extend([
        Check::error("data plane proxy metrics are present in Prometheus", "weft-viz-data-plane-prom", |c| {
            Box::pin(metrics(c))
        })
        .patient(),
        Check::warning("data plane pods have tap enabled", "weft-viz-data-plane-tap", |c| Box::pin(tap(c))),
    ]);
    Category { name: "weft-viz-data-plane", checks }
}

async fn namespace(cluster: &Cluster) -> Result<()> {
    let name = cluster.data_plane().unwrap_or_default();
    if cluster.get_global::<Namespace>(name).await?.is_none() {
        bail!("The \"{name}\" namespace does not exist");
    }
    Ok(())
}

async fn vm_namespace(cluster: &Cluster) -> Result<()> {
    let name = cluster.data_plane().unwrap_or_default();
    let rows = cluster.viz().await?.get::<Vec<StatRow>>("/api/tps-reports", &[("type", "namespace")]).await?;
    if !rows.data.iter().any(|row| row.resource.name == name) {
        bail!("The \"{name}\" namespace does not exist");
    }
    Ok(())
}

/// The running pods that belong to the mesh, in the namespace that is checked.
async fn meshed(cluster: &Cluster) -> Result<Vec<PodItem>> {
    let query: Vec<_> = cluster.data_plane().map(|name| ("namespace", name)).into_iter().collect();
    let mut pods = cluster.viz().await?.get::<Vec<PodItem>>("/api/pods", &query).await?.data;
    pods.retain(|pod| (pod.meshed || pod.proxy.is_some()) && pod.phase == "Running");
    if pods.is_empty() {
        let place =
            cluster.data_plane().map_or_else(|| "the cluster".to_owned(), |name| format!("\"{name}\""));
        bail!("no running pod in {place} is annotated for the mesh");
    }
    Ok(pods)
}

/// The proxy of every pod's node is scraped.
async fn metrics(cluster: &Cluster) -> Result<()> {
    let pods = meshed(cluster).await?;
    let nodes = cluster.viz().await?.get::<Vec<NodeItem>>("/api/nodes", &[]).await?.data;
    let nodes: HashMap<&str, &NodeItem> = nodes.iter().map(|node| (node.name.as_str(), node)).collect();
    let mut problems = Vec::new();
    for pod in &pods {
        let node = pod.node.as_deref().unwrap_or_default();
        let problem = match nodes.get(node).map(|node| node.proxy.as_ref().map(|proxy| proxy.state)) {
            Some(Some(NodeProxyState::Ready)) => continue,
            Some(Some(NodeProxyState::Starting)) => "is starting",
            Some(Some(NodeProxyState::NotScraped)) => "is not scraped",
            Some(None) | None => "does not exist",
        };
        problems.push(format!("{}/{}: the proxy of its node \"{node}\" {problem}", pod.namespace, pod.name));
    }
    none(&problems, "the figures of these pods are missing:")
}

/// Nobody has to opt out, but who did should know.
async fn tap(cluster: &Cluster) -> Result<()> {
    let pods = meshed(cluster).await?;
    let off = pods.iter().filter(|pod| pod.tap == TapState::Disabled);
    let problems: Vec<_> = off.map(|pod| format!("{}/{}", pod.namespace, pod.name)).collect();
    none(&problems, "these pods cannot be tapped (viz.linkerd.io/disable-tap):")
}
