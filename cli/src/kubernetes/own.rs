//! Finds weft's own pods.

use anyhow::{Result, bail};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, api::ListParams};

use super::{PROXY_SELECTOR, errors::explain};
use crate::global::Global;

/// The pods of a part of weft.
pub(crate) async fn own_pods(global: &Global, client: &Client, selector: &str) -> Result<Vec<Pod>> {
    let api = Api::<Pod>::namespaced(client.clone(), &global.control_plane_namespace);
    let pods = api.list(&ListParams::default().labels(selector)).await;
    Ok(pods.map_err(|error| explain(error, "list weft's pods"))?.items)
}

/// The proxy of a node.
pub(crate) async fn proxy_of(global: &Global, client: &Client, node: &str) -> Result<Pod> {
    let mut pods = own_pods(global, client, PROXY_SELECTOR).await?;
    pods.retain(|pod| pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) == Some(node));
    match pods.pop() {
        Some(pod) => Ok(pod),
        None => bail!("the node {node} has no proxy; `weft check` tells why"),
    }
}
