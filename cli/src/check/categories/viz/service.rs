//! Asks weft-viz itself.

use anyhow::{Context, Result, bail};
use weft_api::viz::{NodeItem, NodeProxyState, StatRow, VersionInfo};

use crate::check::cluster::{Cluster, none};

/// It can be reached, and answers.
pub(super) async fn client(cluster: &Cluster) -> Result<()> {
    version(cluster).await?;
    Ok(())
}

async fn version(cluster: &Cluster) -> Result<VersionInfo> {
    Ok(cluster.viz().await?.get("/api/version", &[]).await?.data)
}

/// It reads the cluster, and figures, if it has a Prometheus.
pub(super) async fn self_check(cluster: &Cluster) -> Result<()> {
    let query = [("type", "namespace"), ("window", "1m")];
    let rows = cluster.viz().await?.get::<Vec<StatRow>>("/api/tps-reports", &query).await;
    let answer = rows.context("figures cannot be read")?;
    if answer.data.is_empty() {
        bail!("weft-viz sees no namespace: it cannot read the cluster");
    }
    let mut warnings = answer.meta.warnings.iter();
    if let Some(away) = warnings.find(|warning| warning.code == "prometheus_unavailable") {
        bail!("{}", away.message);
    }
    Ok(())
}

/// Every node's proxy is scraped.
pub(super) async fn scraped(cluster: &Cluster) -> Result<()> {
    let nodes = cluster.viz().await?.get::<Vec<NodeItem>>("/api/nodes", &[]).await?.data;
    if nodes.is_empty() {
        bail!("weft-viz sees no node");
    }
    let problems: Vec<_> = nodes
        .iter()
        .filter_map(|node| {
            let Some(proxy) = &node.proxy else {
                return Some(format!("{}: no proxy answers there", node.name));
            };
            let why = match proxy.reason.as_deref().filter(|reason| !reason.is_empty()) {
                Some(reason) => format!(": {reason}"),
                None => String::new(),
            };
            (proxy.state == NodeProxyState::NotScraped).then(|| format!("{}{why}", node.name))
        })
        .collect();
    none(&problems, "the figures of these nodes' proxies are missing:")
}
