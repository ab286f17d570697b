//! Whether pods are in the mesh as their annotations say.

use anyhow::{Result, anyhow, bail};
use k8s_openapi::api::core::v1::{Namespace, Pod};

use super::pods::{OWN_KERNEL, has_sidecar, kernel_of_its_own, running, uses_host_network, wanted};
use crate::check::{
    cluster::{Cluster, full_name, none},
    model::{Category, Check},
    owners::Owners,
};

pub(super) fn category(in_namespace: bool) -> Category {
    let mut checks = Vec::new();
    if in_namespace {
        checks.push(Check::fatal("data plane namespace exists", "weft-data-plane-exists", |c| {
            Box::pin(namespace(c))
        }));
    }
    checks.extend([
        Check::fatal("data plane proxies are ready", "weft-data-plane-ready", |c| Box::pin(ready(c)))
            .patient(),
        Check::error("capture is attached to all meshed pods", "weft-data-plane-capture", |c| {
            Box::pin(captured(c))
        })
        .patient(),
        Check::warning(
            "meshed pods have a network namespace of their own",
            "weft-data-plane-host-network",
            |c| Box::pin(host_network(c)),
        ),
        Check::warning("meshed pods share their node's kernel", "weft-data-plane-runtime-class", |c| {
            Box::pin(own_kernel(c))
        }),
        Check::warning("meshed pods have no proxy of their own", "weft-data-plane-sidecars", |c| {
            Box::pin(sidecars(c))
        }),
        Check::warning("no plaintext between meshed pods", "weft-data-plane-plaintext", |c| {
            Box::pin(super::plaintext::none_between_meshed_pods(c))
        }),
        Check::warning("data plane pod labels are configured correctly", "weft-data-plane-pod-labels", |c| {
            Box::pin(pod_labels(c))
        }),
        Check::warning(
            "data plane service labels are configured correctly",
            "weft-data-plane-services-labels",
            |c| Box::pin(service_labels(c)),
        ),
    ]);
    Category { name: "weft-data-plane", checks }
}

async fn namespace(cluster: &Cluster) -> Result<()> {
    let name = cluster.data_plane().unwrap_or_default();
    if cluster.get_global::<Namespace>(name).await?.is_none() {
        bail!("The \"{name}\" namespace does not exist");
    }
    Ok(())
}

fn node(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref())
}

/// Every meshed pod's node has a proxy that knows the pod.
async fn ready(cluster: &Cluster) -> Result<()> {
    let owners = Owners::read(cluster).await?;
    let pods = running(cluster, &owners).await?;
    if pods.is_empty() {
        let place = cluster
            .data_plane()
            .map_or_else(|| "the cluster".to_owned(), |name| format!("the \"{name}\" namespace"));
        bail!(
            "no running pod in {place} is annotated for the mesh; run `kubectl annotate namespace NAME \
             linkerd.io/inject=enabled`, or `weft inject`"
        );
    }
    let proxies = cluster.proxies().await?;
    let mut problems = Vec::new();
    for pod in pods {
        let name = full_name(&pod.metadata);
        let node = node(pod).unwrap_or_default();
        match proxies.get(node).map(|proxy| proxy.config()) {
            None => problems.push(format!("{name}: there is no ready proxy on its node \"{node}\"")),
            Some(Err(error)) => problems.push(format!("{name}: {error:#}")),
            Some(Ok(page)) if page["workloads"].get(&name).is_none() => {
                problems.push(format!("{name}: the proxy of its node \"{node}\" does not know it yet"));
            }
            Some(Ok(_)) => {}
        }
    }
    none(&problems, "these pods have no proxy:")
}

/// The proxy serves every meshed pod.
async fn captured(cluster: &Cluster) -> Result<()> {
    let owners = Owners::read(cluster).await?;
    let proxies = cluster.proxies().await?;
    let mut problems = Vec::new();
    for pod in running(cluster, &owners).await? {
        let name = full_name(&pod.metadata);
        let proxy = node(pod)
            .and_then(|node| proxies.get(node))
            .ok_or_else(|| anyhow!("{name}: its node has no ready proxy"));
        let page = proxy.and_then(|proxy| proxy.config());
        match page.map(|page| {
            (page["workloads"][&name]["state"].as_str(), page["workloads"][&name]["reason"].as_str())
        }) {
            Ok((Some("SERVED"), _)) => {}
            // Another check says so.
            Ok((Some("REFUSED"), Some(reason))) if reason.contains(OWN_KERNEL) => {}
            Ok((Some(state), reason)) => {
                let reason = reason.filter(|reason| !reason.is_empty()).map(|reason| format!(": {reason}"));
                problems.push(format!("{name} is {state}{}", reason.unwrap_or_default()));
            }
            Ok((None, _)) => problems.push(format!("{name}: the proxy of its node does not know it")),
            Err(error) => problems.push(format!("{name}: {error:#}")),
        }
    }
    none(&problems, "these pods' connections do not go through the proxy:")
}

async fn host_network(cluster: &Cluster) -> Result<()> {
    let owners = Owners::read(cluster).await?;
    let pods = wanted(cluster, &owners).await?;
    let problems: Vec<_> =
        pods.into_iter().filter(|pod| uses_host_network(pod)).map(|pod| full_name(&pod.metadata)).collect();
    none(&problems, "these pods share their node's network (hostNetwork), so they cannot be in the mesh:")
}

/// In a virtual machine of its own, a pod has a kernel that weft cannot reach. The node's proxy finds this out.
async fn own_kernel(cluster: &Cluster) -> Result<()> {
    let owners = Owners::read(cluster).await?;
    let proxies = cluster.proxies().await?;
    let mut problems = Vec::new();
    for pod in running(cluster, &owners).await? {
        let name = full_name(&pod.metadata);
        // A proxy that does not answer fails other checks.
        let Some(Ok(page)) = node(pod).and_then(|node| proxies.get(node)).map(|proxy| proxy.config()) else {
            continue;
        };
        if let Some(reason) = kernel_of_its_own(&page["workloads"][&name]) {
            problems.push(format!("{name}: {reason}"));
        }
    }
    none(&problems, "these pods do not share their node's kernel, so they cannot be in the mesh:")
}

/// Pods with Linkerd's proxy are in Linkerd's mesh, with which weft's pods speak mTLS.
async fn sidecars(cluster: &Cluster) -> Result<()> {
    let owners = Owners::read(cluster).await?;
    let pods = wanted(cluster, &owners).await?;
    let problems: Vec<_> =
        pods.into_iter().filter(|pod| has_sidecar(pod)).map(|pod| full_name(&pod.metadata)).collect();
    none(
        &problems,
        "these pods have Linkerd's sidecar and stay with it until they are started again without:",
    )
}

async fn pod_labels(cluster: &Cluster) -> Result<()> {
    let owners = Owners::read(cluster).await?;
    let pods = wanted(cluster, &owners).await?;
    labels(pods.into_iter().map(|pod| &pod.metadata), "Some labels on data plane pods should be annotations:")
}

async fn service_labels(cluster: &Cluster) -> Result<()> {
    let services = cluster.services().await?.iter().map(|service| &service.metadata);
    let ours =
        services.filter(|meta| cluster.data_plane().is_none_or(|ns| meta.namespace.as_deref() == Some(ns)));
    labels(ours, "Some labels on data plane services should be annotations:")
}

fn labels<'a>(all: impl Iterator<Item = &'a kube::core::ObjectMeta>, heading: &str) -> Result<()> {
    let mut problems = Vec::new();
    for meta in all {
        for key in meta.labels.iter().flatten().map(|(key, _)| key) {
            let annotation = key == "linkerd.io/inject"
                || key.starts_with("config.weft.dev/")
                || (key.starts_with("config.linkerd.io/") && key != "config.linkerd.io/admission-webhooks");
            if annotation {
                problems.push(format!("{}: {key}", full_name(meta)));
            }
        }
    }
    none(&problems, heading)
}
