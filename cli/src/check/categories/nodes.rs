//! Whether every node can run a proxy, and does.

use anyhow::{Result, anyhow, bail};
use k8s_openapi::api::{apps::v1::DaemonSet, core::v1::Node};

use super::existence::why_not_ready;
use crate::{
    check::{
        cluster::{Cluster, NodeProxy, full_name, none},
        model::{Category, Check},
    },
    kubernetes::{PROXY, VERSION_LABEL},
};

const MINIMUM: (u32, u32) = (6, 1);

pub(super) fn pre_category() -> Category {
    Category { name: "weft-nodes", checks: vec![platform(), kernel()] }
}

pub(super) fn category() -> Category {
    Category {
        name: "weft-node-proxies",
        checks: vec![
            platform(),
            kernel(),
            Check::fatal("node proxy DaemonSet exists", "weft-proxy-ds-exists", |c| {
                Box::pin(async { daemon_set(c).await.map(|_| ()) })
            }),
            Check::error("node proxy is running on all nodes", "weft-proxy-on-all-nodes", |c| {
                Box::pin(on_all(c))
            })
            .patient(),
            Check::error("node proxies can be read", "weft-proxy-readable", |c| Box::pin(readable(c))),
            Check::error("node kernels have BTF", "weft-node-btf", |c| Box::pin(btf(c))),
            Check::error("nodes have cgroup v2", "weft-node-cgroup-v2", |c| Box::pin(cgroup(c))),
            Check::warning("node proxies and cli versions match", "weft-proxy-cli-version", |c| {
                Box::pin(versions(c))
            }),
        ],
    }
}

fn platform() -> Check {
    Check::error("nodes run Linux on amd64 or arm64", "weft-node-platform", |c| Box::pin(platforms(c)))
}

fn kernel() -> Check {
    Check::error("node kernels are 6.1 or newer", "weft-node-kernel", |c| Box::pin(kernels(c)))
}

async fn platforms(cluster: &Cluster) -> Result<()> {
    let mut problems = Vec::new();
    for node in linux_first(cluster).await? {
        let info = node.status.as_ref().and_then(|status| status.node_info.as_ref());
        let name = full_name(&node.metadata);
        match info {
            None => problems.push(format!("{name} does not say what it runs")),
            Some(info) if info.operating_system != "linux" => {
                problems
                    .push(format!("{name} runs {}: its pods cannot be in the mesh", info.operating_system));
            }
            Some(info) if !["amd64", "arm64"].contains(&info.architecture.as_str()) => {
                problems.push(format!("{name} is {}", info.architecture));
            }
            Some(_) => {}
        }
    }
    none(&problems, "these nodes cannot run the proxy:")
}

async fn kernels(cluster: &Cluster) -> Result<()> {
    let mut problems = Vec::new();
    for node in linux_first(cluster).await? {
        let info = node.status.as_ref().and_then(|status| status.node_info.as_ref());
        let name = full_name(&node.metadata);
        match info.map(|info| info.kernel_version.as_str()) {
            None | Some("") => problems.push(format!("{name} does not say which kernel it has")),
            Some(kernel) if !is_enough(kernel) => problems.push(format!("{name} has kernel {kernel}")),
            Some(_) => {}
        }
    }
    none(&problems, "these nodes have no kernel of 6.1 or newer:")
}

/// The nodes; it is an error if there are none.
async fn linux_first(cluster: &Cluster) -> Result<&[Node]> {
    let nodes = cluster.nodes().await?;
    if nodes.is_empty() {
        bail!("the cluster has no nodes");
    }
    Ok(nodes)
}

fn is_enough(kernel: &str) -> bool {
    let mut numbers =
        kernel.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse::<u32>().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= MINIMUM
}

async fn daemon_set(cluster: &Cluster) -> Result<DaemonSet> {
    let found = cluster.get::<DaemonSet>(PROXY).await?;
    found.ok_or_else(|| {
        anyhow!("the DaemonSet \"{PROXY}\" does not exist in the namespace \"{}\"", cluster.control_plane())
    })
}

/// Not only on those that the DaemonSet wants: a node that it leaves out has unmeshed pods.
async fn on_all(cluster: &Cluster) -> Result<()> {
    let mut problems = Vec::new();
    let pods = cluster.control_plane_pods("proxy").await?;
    for node in linux_first(cluster).await? {
        let name = full_name(&node.metadata);
        let here: Vec<_> = pods
            .iter()
            .filter(|pod| pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) == Some(name.as_str()))
            .collect();
        if here.iter().any(|pod| crate::check::cluster::is_ready(pod)) {
            continue;
        }
        match here.first() {
            Some(pod) => problems.push(format!("{name}: {}", why_not_ready(pod))),
            None if is_ready(node) => problems.push(format!("{name}: no pod of the DaemonSet \"{PROXY}\"")),
            None => problems.push(format!("{name}: the node itself is not ready")),
        }
    }
    none(&problems, "no proxy serves the pods of these nodes:")
}

pub(super) fn is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// The checks that follow ask the proxies.
async fn readable(cluster: &Cluster) -> Result<()> {
    let mut problems = Vec::new();
    for (node, proxy) in cluster.proxies().await? {
        if let Err(error) = proxy.config().map(|_| ()).and_then(|()| proxy.metrics().map(|_| ())) {
            problems.push(format!("{node}: {error:#}"));
        }
    }
    none(&problems, "the admin pages of these nodes' proxies cannot be read:")
}

async fn btf(cluster: &Cluster) -> Result<()> {
    ask(cluster, "these nodes' kernels have no BTF (CONFIG_DEBUG_INFO_BTF):", |page| {
        match page["kernel"]["btf"].as_bool() {
            Some(true) => None,
            Some(false) => Some("/sys/kernel/btf/vmlinux does not exist".to_owned()),
            None => Some("its proxy does not say whether there is BTF; is it of another version?".to_owned()),
        }
    })
    .await
}

async fn cgroup(cluster: &Cluster) -> Result<()> {
    ask(cluster, "these nodes have no cgroup v2:", |page| match page["kernel"]["cgroup_v2"].as_bool() {
        Some(true) => None,
        Some(false) => Some("no cgroup2 file system is mounted".to_owned()),
        None => {
            Some("its proxy does not say whether there is cgroup v2; is it of another version?".to_owned())
        }
    })
    .await
}

/// Asks the page /config of every ready proxy. A proxy that cannot be asked is a problem, and so is none at all.
async fn ask(
    cluster: &Cluster,
    heading: &str,
    question: impl Fn(&serde_json::Value) -> Option<String>,
) -> Result<()> {
    let proxies = cluster.proxies().await?;
    if proxies.is_empty() {
        bail!("no node proxy is ready, so none can be asked");
    }
    let problem = |(node, proxy): (&String, &NodeProxy)| match proxy.config() {
        Ok(page) => question(page).map(|problem| format!("{node}: {problem}")),
        Err(error) => Some(format!("{node}: {error:#}")),
    };
    none(&proxies.iter().filter_map(problem).collect::<Vec<_>>(), heading)
}

async fn versions(cluster: &Cluster) -> Result<()> {
    let mut problems = Vec::new();
    for (node, proxy) in cluster.proxies().await? {
        let version = proxy.pod.metadata.labels.as_ref().and_then(|labels| labels.get(VERSION_LABEL));
        match version {
            Some(version) if version == cluster.expected_version() => {}
            Some(version) => problems.push(format!("{node}: {version}")),
            None => problems.push(format!("{node}: the proxy's pod has no label {VERSION_LABEL}")),
        }
    }
    none(&problems, &format!("these proxies' versions are not {}:", cluster.expected_version()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_versions_of_distributions_are_understood() {
        for kernel in ["6.1.0-18-amd64", "6.1", "6.12.5+bpo", "7.0.0", "10.1"] {
            assert!(is_enough(kernel), "{kernel}");
        }
        for kernel in ["5.15.0-105-generic", "6.0.19", "4.18.0-553.el8", "", "linux"] {
            assert!(!is_enough(kernel), "{kernel}");
        }
    }
}
