//! Selects the pods of a tap: which of a resource's pods are tapped, on which nodes, and why others are not.

use std::collections::{BTreeMap, BTreeSet};

use weft_api::viz::{ErrorCode, Failure, ResourceRef, ResourceType, SkippedPod, TapQuery};
use weft_control::{
    index::{Cluster, Pod},
    model::Name,
};

use crate::missing::missing;

/// The types by which a pod's owner is known, the most telling first.
const OWNERS: [ResourceType; 7] = [
    ResourceType::Deployment,
    ResourceType::DaemonSet,
    ResourceType::StatefulSet,
    ResourceType::CronJob,
    ResourceType::Job,
    ResourceType::ReplicaSet,
    ResourceType::ReplicationController,
];
const HASH_LABEL: &str = "pod_template_hash";
const JOB_LABELS: [&str; 2] = ["batch.kubernetes.io/job-name", "job-name"];

/// The pods of a tap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Targets {
    pub(super) by_node: BTreeMap<String, BTreeSet<Name>>,
    pub(super) skipped: Vec<SkippedPod>,
}

/// # Errors
/// The resource has no pods, or none that can be tapped.
pub(super) fn select(cluster: &Cluster, query: &TapQuery) -> Result<Targets, Failure> {
    let mut targets = Targets::default();
    for pod in pods_of(cluster, query)? {
        match (obstacle(&pod), &pod.node) {
            (None, Some(node)) => {
                targets.by_node.entry(node.clone()).or_default().insert(pod.name.clone());
            }
            (None, None) => targets.skip(&pod.name, "it is on no node yet"),
            (Some(reason), _) => targets.skip(&pod.name, reason),
        }
    }
    let resource = || ResourceRef::new(query.namespace.as_str(), query.kind, query.name.as_str());
    match targets.skipped.first() {
        None if targets.by_node.is_empty() => Err(without_pods(&resource())),
        Some(first) if targets.by_node.is_empty() => {
            Err(Failure::new(ErrorCode::TapDisabled, untappable(&resource(), first)))
        }
        _ => Ok(targets),
    }
}

/// Workloads and namespaces are known by their pods only.
fn without_pods(resource: &ResourceRef) -> Failure {
    let ResourceRef { namespace, kind, name } = resource;
    let text = match kind {
        ResourceType::Pod => return missing(resource),
        ResourceType::Service => format!("service {name} in namespace {namespace} has no pods."),
        ResourceType::Namespace => format!("Namespace {name} does not exist, or has no pods."),
        _ => format!("{kind} {name} does not exist in namespace {namespace}, or has no pods."),
    };
    Failure::new(ErrorCode::NotFound, text)
}

fn untappable(resource: &ResourceRef, example: &SkippedPod) -> String {
    let ResourceRef { namespace, kind, name } = resource;
    let SkippedPod { pod, reason } = example;
    match kind {
        ResourceType::Pod => format!("pod {name} in namespace {namespace} cannot be tapped: {reason}."),
        ResourceType::Namespace => {
            format!("no pod of namespace {name} can be tapped, for example {pod}: {reason}.")
        }
        _ => format!(
            "no pod of {kind} {name} in namespace {namespace} can be tapped, for example {pod}: {reason}."
        ),
    }
}

/// The resource that a pod belongs to: its owner, or itself.
pub(super) fn resource_of(pod: &Pod) -> ResourceRef {
    let owner = OWNERS.into_iter().find_map(|kind| Some((kind, pod.metric_labels.get(kind.as_str())?)));
    let (kind, name) = owner.unwrap_or((ResourceType::Pod, &pod.name.name));
    ResourceRef::new(pod.name.namespace.clone(), kind, name.clone())
}

impl Targets {
    fn skip(&mut self, pod: &Name, reason: impl Into<String>) {
        self.skipped.push(SkippedPod { pod: pod.to_string(), reason: reason.into() });
    }
}

fn pods_of(cluster: &Cluster, query: &TapQuery) -> Result<Vec<std::sync::Arc<Pod>>, Failure> {
    let TapQuery { namespace, kind, name, .. } = query;
    if *kind == ResourceType::Service {
        let service = Name { namespace: namespace.clone(), name: name.clone() };
        let Some(service) = cluster.service(&service) else {
            return Err(missing(&ResourceRef::new(namespace.as_str(), *kind, name.as_str())));
        };
        let endpoints = service.ports().flat_map(|(_, endpoints)| endpoints);
        let pods: BTreeMap<_, _> = endpoints
            .filter_map(|endpoint| endpoint.pod.clone())
            .map(|pod| (pod.name.clone(), pod))
            .collect();
        return Ok(pods.into_values().collect());
    }
    let belongs = |pod: &&std::sync::Arc<Pod>| pod.name.namespace == *namespace && is_of(pod, *kind, name);
    Ok(cluster.pods().filter(belongs).cloned().collect())
}

fn is_of(pod: &Pod, kind: ResourceType, name: &str) -> bool {
    let label = |name: &str| pod.metric_labels.get(name).map(String::as_str);
    match kind {
        ResourceType::Namespace => true,
        ResourceType::Pod => pod.name.name == name,
        ResourceType::Service => false,
        _ if label(kind.as_str()) == Some(name) => true,
        ResourceType::ReplicaSet => {
            let parts = label("deployment").zip(label(HASH_LABEL));
            parts.is_some_and(|(deployment, hash)| name == format!("{deployment}-{hash}"))
        }
        ResourceType::Job => {
            JOB_LABELS.iter().any(|label| pod.labels.get(*label).is_some_and(|job| job == name))
        }
        _ => false,
    }
}

/// Why a pod cannot be tapped.
fn obstacle(pod: &Pod) -> Option<String> {
    if pod.config.tap_disabled {
        return Some("viz.linkerd.io/disable-tap is set on it or its namespace".to_owned());
    }
    if pod.is_meshed() {
        return None;
    }
    Some(pod.obstacle().map_or_else(|| "it is not meshed".to_owned(), |obstacle| obstacle.to_string()))
}
