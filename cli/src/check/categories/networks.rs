//! Whether the value clusterNetworks has the addresses of the cluster: weft looks up only those.

use std::net::IpAddr;

use anyhow::{Context, Result};
use ipnet::IpNet;

use crate::check::cluster::{Cluster, full_name, none};

const HEADING: &str = "these are not in the value clusterNetworks; add their networks to it:";

pub(super) async fn nodes(cluster: &Cluster) -> Result<()> {
    let networks = networks(cluster).await?;
    let mut problems = Vec::new();
    for node in cluster.nodes().await? {
        let spec = node.spec.clone().unwrap_or_default();
        let cidrs = spec.pod_cidrs.unwrap_or_else(|| spec.pod_cidr.into_iter().collect());
        for cidr in cidrs {
            let parsed: IpNet = cidr.parse().with_context(|| format!("the podCIDR {cidr:?} of a node"))?;
            if !networks.iter().any(|network| network.contains(&parsed)) {
                problems.push(format!("podCIDR {cidr} of node {}", full_name(&node.metadata)));
            }
        }
    }
    none(&problems, HEADING)
}

pub(super) async fn pods(cluster: &Cluster) -> Result<()> {
    let networks = networks(cluster).await?;
    let mut problems = Vec::new();
    for pod in cluster.pods().await? {
        let host = pod.spec.as_ref().and_then(|spec| spec.host_network).unwrap_or(false);
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        if host || matches!(phase, Some("Succeeded" | "Failed")) {
            continue;
        }
        for ip in pod.status.iter().flat_map(|status| status.pod_ips.iter().flatten()) {
            if outside(&networks, &ip.ip)? {
                problems.push(format!("pod {} ({})", full_name(&pod.metadata), ip.ip));
            }
        }
    }
    none(&problems, HEADING)
}

pub(super) async fn services(cluster: &Cluster) -> Result<()> {
    let networks = networks(cluster).await?;
    let mut problems = Vec::new();
    for service in cluster.services().await? {
        let ips = service.spec.iter().flat_map(|spec| spec.cluster_ips.iter().flatten());
        for ip in ips.filter(|ip| !ip.is_empty() && *ip != "None") {
            if outside(&networks, ip)? {
                problems.push(format!("service {} ({ip})", full_name(&service.metadata)));
            }
        }
    }
    none(&problems, HEADING)
}

async fn networks(cluster: &Cluster) -> Result<Vec<IpNet>> {
    let values = cluster.values().await?;
    let text = values["clusterNetworks"].as_str().context("the installation has no value clusterNetworks")?;
    let parse = |network: &str| {
        network.trim().parse().with_context(|| format!("clusterNetworks: {network:?} is no CIDR"))
    };
    text.split(',').map(parse).collect()
}

fn outside(networks: &[IpNet], ip: &str) -> Result<bool> {
    let ip: IpAddr = ip.parse().with_context(|| format!("{ip:?} is no IP address"))?;
    Ok(!networks.iter().any(|network| network.contains(&ip)))
}
