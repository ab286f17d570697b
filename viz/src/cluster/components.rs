//! The components of weft in a cluster: its Deployments and DaemonSets with their pods.

use std::collections::BTreeMap;

use k8s_openapi::api::{
    apps::v1::{DaemonSet, Deployment},
    core::v1::Pod,
};
use kube::{Api, Client, api::ListParams};
use weft_api::viz::{ComponentItem, ComponentPod, Failure};

use super::{bounded, view::seconds};

/// Objects of one kind in one namespace.
const MAX_OBJECTS: u32 = 5000;

pub(super) async fn of_namespaces(
    client: &Client,
    namespaces: &[&str],
) -> Result<Vec<ComponentItem>, Failure> {
    let mut all = Vec::new();
    for namespace in namespaces {
        let list = ListParams::default().limit(MAX_OBJECTS);
        let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
        let daemons: Api<DaemonSet> = Api::namespaced(client.clone(), namespace);
        let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
        let (deployments, daemons, pods) = futures::try_join!(
            bounded("deployments", deployments.list(&list)),
            bounded("daemonsets", daemons.list(&list)),
            bounded("pods", pods.list(&list)),
        )?;
        for deployment in deployments {
            let desired = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
            let selector = deployment.spec.map(|spec| spec.selector.match_labels.unwrap_or_default());
            all.push(component(&deployment.metadata, selector, desired, &pods.items));
        }
        for daemon in daemons {
            let desired = daemon.status.as_ref().map_or(0, |status| status.desired_number_scheduled);
            let selector = daemon.spec.map(|spec| spec.selector.match_labels.unwrap_or_default());
            all.push(component(&daemon.metadata, selector, desired, &pods.items));
        }
    }
    Ok(all)
}

fn component(
    metadata: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta,
    selector: Option<BTreeMap<String, String>>,
    desired: i32,
    pods: &[Pod],
) -> ComponentItem {
    let selector = selector.unwrap_or_default();
    let selected = |pod: &&Pod| {
        let labels = pod.metadata.labels.as_ref();
        !selector.is_empty()
            && selector.iter().all(|(name, value)| labels.and_then(|labels| labels.get(name)) == Some(value))
    };
    let label = |name: &str| metadata.labels.as_ref().and_then(|labels| labels.get(name)).cloned();
    ComponentItem {
        name: metadata.name.clone().unwrap_or_default(),
        namespace: metadata.namespace.clone().unwrap_or_default(),
        version: label("app.kubernetes.io/version"),
        desired: u32::try_from(desired).unwrap_or_default(),
        pods: pods.iter().filter(selected).map(pod).collect(),
    }
}

fn pod(pod: &Pod) -> ComponentPod {
    let status = pod.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let containers = status.and_then(|status| status.container_statuses.as_deref()).unwrap_or_default();
    let restarts: i32 = containers.iter().map(|container| container.restart_count).sum();
    ComponentPod {
        name: pod.metadata.name.clone().unwrap_or_default(),
        phase: status.and_then(|status| status.phase.clone()).unwrap_or_else(|| "Unknown".into()),
        ready: conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True"),
        restarts: u32::try_from(restarts).unwrap_or_default(),
        started_at: status.and_then(|status| status.start_time.as_ref()).map(|time| seconds(&time.0)),
    }
}
