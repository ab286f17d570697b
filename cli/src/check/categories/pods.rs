//! The pods that should be in the mesh, and those that cannot be.

use anyhow::Result;
use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;

use crate::check::{cluster::Cluster, owners::Owners};

/// Part of the reason for which proxies refuse pods in virtual machines and sandboxes.
pub(super) const OWN_KERNEL: &str = "a kernel of its own";

/// The running pods that should be in the mesh, in the namespace that is checked; not those that cannot be.
pub(super) async fn running<'a>(cluster: &'a Cluster, owners: &Owners) -> Result<Vec<&'a Pod>> {
    let mut pods = wanted(cluster, owners).await?;
    pods.retain(|pod| !uses_host_network(pod) && !has_sidecar(pod));
    Ok(pods)
}

pub(super) async fn wanted<'a>(cluster: &'a Cluster, owners: &Owners) -> Result<Vec<&'a Pod>> {
    let pods = cluster.pods().await?.iter().filter(|pod| {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        cluster.data_plane().is_none_or(|namespace| pod.metadata.namespace.as_deref() == Some(namespace))
            && phase == Some("Running")
            && pod.metadata.deletion_timestamp.is_none()
            && owners.meshes(pod)
    });
    Ok(pods.collect())
}

pub(super) fn uses_host_network(pod: &Pod) -> bool {
    pod.spec.as_ref().and_then(|spec| spec.host_network).unwrap_or(false)
}

pub(super) fn has_sidecar(pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    containers.into_iter().any(|container| container.name == "linkerd-proxy")
}

/// The reason for which the node's proxy has refused a workload, if it is this one.
pub(super) fn kernel_of_its_own(workload: &Value) -> Option<&str> {
    let reason = workload["reason"].as_str().filter(|reason| reason.contains(OWN_KERNEL))?;
    (workload["state"] == "REFUSED").then_some(reason)
}
