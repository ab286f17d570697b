//! Whether the control plane is there and runs.

use anyhow::{Result, anyhow, bail};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Namespace, Pod},
};

use super::networks;
use crate::{
    check::{
        cluster::{Cluster, is_ready, none},
        model::{Category, Check},
    },
    kubernetes::CONTROL,
};

pub(super) fn category() -> Category {
    Category {
        name: "weft-existence",
        checks: vec![
            Check::fatal("control plane Namespace exists", "weft-existence-ns", |c| Box::pin(namespace(c)))
                .patient(),
            Check::fatal("'weft-config' config map exists", "weft-existence-weft-config", |c| {
                Box::pin(async { c.config().await.map(|_| ()) })
            })
            .patient(),
            Check::fatal("control plane replica sets are ready", "weft-existence-replicasets", |c| {
                Box::pin(replicas(c))
            })
            .patient(),
            Check::warning("no unschedulable pods", "weft-existence-unschedulable-pods", |c| {
                Box::pin(unschedulable(c))
            }),
            Check::fatal("control plane pods are ready", "weft-api-control-ready", |c| Box::pin(ready(c)))
                .patient(),
            Check::error("cluster networks contains all node podCIDRs", "weft-cluster-networks-cidr", |c| {
                Box::pin(networks::nodes(c))
            }),
            Check::error("cluster networks contains all pods", "weft-cluster-networks-pods", |c| {
                Box::pin(networks::pods(c))
            }),
            Check::error("cluster networks contains all services", "weft-cluster-networks-pods", |c| {
                Box::pin(networks::services(c))
            }),
        ],
    }
}

async fn namespace(cluster: &Cluster) -> Result<()> {
    let name = cluster.control_plane();
    if cluster.get_global::<Namespace>(name).await?.is_none() {
        bail!("The \"{name}\" namespace does not exist");
    }
    Ok(())
}

async fn replicas(cluster: &Cluster) -> Result<()> {
    let deployment = cluster.get::<Deployment>(CONTROL).await?;
    let deployment = deployment.ok_or_else(|| anyhow!("the Deployment \"{CONTROL}\" does not exist"))?;
    let wanted = deployment.spec.and_then(|spec| spec.replicas).unwrap_or(1);
    let status = deployment.status.unwrap_or_default();
    let current = deployment.metadata.generation.unwrap_or(0);
    if status.observed_generation.unwrap_or(0) < current {
        bail!("the Deployment \"{CONTROL}\" was changed, and Kubernetes has not acted on it yet");
    }
    let updated = status.updated_replicas.unwrap_or(0).min(status.available_replicas.unwrap_or(0));
    if updated < wanted {
        bail!("{updated} of {wanted} replicas of the Deployment \"{CONTROL}\" are up to date and available");
    }
    Ok(())
}

async fn unschedulable(cluster: &Cluster) -> Result<()> {
    let mut problems = Vec::new();
    for component in ["control", "proxy"] {
        for pod in cluster.control_plane_pods(component).await? {
            let conditions =
                pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
            let reason = conditions
                .iter()
                .find(|c| c.type_ == "PodScheduled" && c.status == "False")
                .and_then(|c| c.message.clone());
            if let Some(reason) = reason {
                problems.push(format!("{}: {reason}", pod.metadata.name.as_deref().unwrap_or_default()));
            }
        }
    }
    none(&problems, "these pods cannot be scheduled:")
}

async fn ready(cluster: &Cluster) -> Result<()> {
    let pods = cluster.control_plane_pods("control").await?;
    if !pods.iter().any(|pod| is_ready(pod)) {
        let why: Vec<_> = pods.iter().map(|pod| why_not_ready(pod)).collect();
        none(&why, &format!("No running pods for \"{CONTROL}\""))?;
        bail!("No running pods for \"{CONTROL}\"");
    }
    let problems: Vec<_> = pods.iter().filter(|pod| !is_ready(pod)).map(|pod| why_not_ready(pod)).collect();
    none(&problems, "these pods are not ready:")
}

/// The pod's name, and what Kubernetes says about its containers.
pub(super) fn why_not_ready(pod: &Pod) -> String {
    let status = pod.status.clone().unwrap_or_default();
    let phase = status.phase.unwrap_or_else(|| "Unknown".to_owned());
    let waiting = status
        .init_container_statuses
        .into_iter()
        .flatten()
        .chain(status.container_statuses.into_iter().flatten())
        .find_map(|container| {
            let state = container.state.unwrap_or_default();
            let waiting = state.waiting.and_then(|state| Some((state.reason?, state.message)));
            let ended = state.terminated.map(|state| (state.reason.unwrap_or_default(), state.message));
            waiting.or(ended).map(|(reason, message)| match message {
                Some(message) => format!("{reason}: {message}"),
                None => reason,
            })
        });
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    match waiting {
        Some(why) => format!("{name} is {phase}: {why}"),
        None if phase == "Running" => format!("{name} is running, but not ready"),
        None => format!("{name} is {phase}"),
    }
}
