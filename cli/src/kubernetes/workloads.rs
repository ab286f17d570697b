//! Finds the pods of a resource such as `deploy/web`.

use anyhow::{Result, anyhow, bail};
use k8s_openapi::{
    api::{
        apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet},
        batch::v1::Job,
        core::v1::{Pod, Service},
    },
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use kube::{
    Api, Client, Resource,
    api::ListParams,
    core::{NamespaceResourceScope, Selector},
};
use serde::de::DeserializeOwned;

use super::errors::{explain, not_found};
use crate::global::Global;

const KINDS: &str = "pod/NAME, deploy/NAME, sts/NAME, ds/NAME, rs/NAME, job/NAME, svc/NAME or ns/NAME";

/// The namespace of the option -n, else that of the kubeconfig's context.
pub(crate) fn namespace(global: &Global, client: &Client) -> String {
    global.namespace.clone().unwrap_or_else(|| client.default_namespace().to_owned())
}

/// The pods of `KIND/NAME` or `KIND NAME` in a namespace, ordered by name; at least one.
pub(crate) async fn pods_of(client: &Client, namespace: &str, resource: &str) -> Result<Vec<Pod>> {
    let (kind, name) = resource.split_once('/').unwrap_or(("pod", resource));
    if name.is_empty() {
        bail!("{resource:?} has no name; write {KINDS}");
    }
    let selector = match kind.to_ascii_lowercase().as_str() {
        "po" | "pod" | "pods" => return Ok(vec![get::<Pod>(client, namespace, name).await?]),
        "ns" | "namespace" | "namespaces" => return list(client, name, None, resource).await,
        "deploy" | "deployment" | "deployments" => {
            get::<Deployment>(client, namespace, name).await?.spec.map(|spec| spec.selector)
        }
        "sts" | "statefulset" | "statefulsets" => {
            get::<StatefulSet>(client, namespace, name).await?.spec.map(|spec| spec.selector)
        }
        "ds" | "daemonset" | "daemonsets" => {
            get::<DaemonSet>(client, namespace, name).await?.spec.map(|spec| spec.selector)
        }
        "rs" | "replicaset" | "replicasets" => {
            get::<ReplicaSet>(client, namespace, name).await?.spec.map(|spec| spec.selector)
        }
        "job" | "jobs" => get::<Job>(client, namespace, name).await?.spec.and_then(|spec| spec.selector),
        "svc" | "service" | "services" => {
            let service = get::<Service>(client, namespace, name).await?;
            let labels = service.spec.and_then(|spec| spec.selector).filter(|labels| !labels.is_empty());
            labels.map(|labels| LabelSelector { match_labels: Some(labels), ..LabelSelector::default() })
        }
        other => bail!("{other:?} is no kind whose pods can be found; write {KINDS}"),
    };
    let selector = selector.ok_or_else(|| anyhow!("{namespace}/{name} selects no pods"))?;
    let selector = Selector::try_from(selector)
        .map_err(|error| anyhow!("the selector of {resource} cannot be used: {error}"))?;
    list(client, namespace, Some(selector), resource).await
}

async fn list(
    client: &Client,
    namespace: &str,
    selector: Option<Selector>,
    resource: &str,
) -> Result<Vec<Pod>> {
    let mut params = ListParams::default();
    if let Some(selector) = selector {
        params = params.labels_from(&selector);
    }
    let pods = Api::<Pod>::namespaced(client.clone(), namespace).list(&params).await;
    let mut pods = pods.map_err(|error| explain(error, &format!("list the pods of {resource}")))?.items;
    pods.retain(|pod| {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        !matches!(phase, Some("Succeeded" | "Failed"))
    });
    pods.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
    match pods.is_empty() {
        true => bail!("{resource} has no running pods in the namespace {namespace}"),
        false => Ok(pods),
    }
}

async fn get<K>(client: &Client, namespace: &str, name: &str) -> Result<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug,
{
    Api::<K>::namespaced(client.clone(), namespace).get(name).await.map_err(|error| {
        let absent = not_found(&error);
        let kind = K::kind(&()).to_lowercase();
        let error = explain(error, &format!("read the {kind} {namespace}/{name}"));
        if absent { error.context("is it in another namespace (-n)?") } else { error }
    })
}
