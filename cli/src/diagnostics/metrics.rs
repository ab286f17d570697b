//! `weft diagnostics controller-metrics` and `proxy-metrics`: the metrics of weft's own pods, as they are.

use anyhow::{Result, bail};
use clap::Args;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};

use crate::{
    global::Global,
    kubernetes::{
        CONTROL_SELECTOR, PROXY_SELECTOR, admin_page, explain, namespace, not_found, own_pods, proxy_of,
    },
    terminal::print,
};

/// Print the metrics of every replica of the control plane
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  weft diagnostics controller-metrics")]
pub(super) struct ControllerMetricsArgs {}

/// Print a pod's metrics, as the proxy of its node has them
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  # The metrics of a pod
  weft -n emojivoto diagnostics proxy-metrics pod/web-5f4b8d6c9-2xk8p

  # Of all pods of a deployment
  weft -n emojivoto diagnostics proxy-metrics deploy/web

  # All metrics of the proxy of a node
  weft diagnostics proxy-metrics node/n1")]
pub(super) struct ProxyMetricsArgs {
    /// pod/NAME, NAME (a pod), deploy/NAME, sts/NAME, ds/NAME or node/NAME
    pub(super) resource: String,
}

pub(super) async fn controller_metrics(global: &Global, client: &Client) -> Result<()> {
    let pods = own_pods(global, client, CONTROL_SELECTOR).await?;
    if pods.is_empty() {
        bail!(
            "weft-control has no pods in the namespace {}; choose another with -L",
            global.control_plane_namespace
        );
    }
    for pod in &pods {
        print(&format!("#\n# POD {}\n#\n", pod.metadata.name.as_deref().unwrap_or_default()))?;
        print(&admin_page(client, pod, "/metrics").await?)?;
    }
    Ok(())
}

pub(super) async fn proxy_metrics(global: &Global, client: &Client, resource: &str) -> Result<()> {
    let (kind, name) = resource.split_once('/').unwrap_or(("pod", resource));
    let label = match kind.to_ascii_lowercase().as_str() {
        "no" | "node" | "nodes" => {
            let proxy = proxy_of(global, client, name).await?;
            return print(&admin_page(client, &proxy, "/metrics").await?);
        }
        "po" | "pod" | "pods" => "pod",
        "deploy" | "deployment" | "deployments" => "deployment",
        "sts" | "statefulset" | "statefulsets" => "statefulset",
        "ds" | "daemonset" | "daemonsets" => "daemonset",
        other => {
            bail!("{other:?} is not possible; write pod/NAME, deploy/NAME, sts/NAME, ds/NAME or node/NAME")
        }
    };
    let namespace = namespace(global, client);
    let proxies = match label {
        // Only the proxy of the pod's node has something about it.
        "pod" => {
            let pod =
                Api::<Pod>::namespaced(client.clone(), &namespace).get(name).await.map_err(|error| {
                    let absent = not_found(&error);
                    let error = explain(error, &format!("read the pod {namespace}/{name}"));
                    if absent { error.context("is it in another namespace (-n)?") } else { error }
                })?;
            match pod.spec.and_then(|spec| spec.node_name) {
                Some(node) => vec![proxy_of(global, client, &node).await?],
                None => bail!("the pod {namespace}/{name} is on no node yet"),
            }
        }
        _ => own_pods(global, client, PROXY_SELECTOR).await?,
    };
    let mut found = false;
    for proxy in &proxies {
        let page = admin_page(client, proxy, "/metrics").await?;
        let of_workload = select(&page, &[("namespace", &namespace), (label, name)]);
        found |= !of_workload.is_empty();
        print(&of_workload)?;
    }
    if !found {
        bail!(
            "no proxy has metrics of {kind}/{name} in the namespace {namespace}: nothing connected to it or from it yet, \
             or it is not in the mesh; `weft -n {namespace} check --proxy` tells"
        );
    }
    Ok(())
}

/// The lines of a page that have all these labels.
fn select(page: &str, labels: &[(&str, &str)]) -> String {
    let wanted = |line: &&str| {
        labels.iter().all(|(name, value)| {
            let label = format!("{name}=\"{value}\"");
            line.match_indices(&label)
                .any(|(at, _)| matches!(line[..at].chars().next_back(), Some('{' | ',')))
        })
    };
    page.lines()
        .filter(|line| !line.starts_with('#'))
        .filter(wanted)
        .map(|line| format!("{line}\n"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_of_the_workload_itself_are_selected() {
        let page = "# TYPE a counter\na{namespace=\"x\",pod=\"p\"} 1\na{dst_namespace=\"x\",dst_pod=\"p\"} 2\nb{namespace=\"x\",pod=\"p2\"} 3\n";
        assert_eq!(select(page, &[("namespace", "x"), ("pod", "p")]), "a{namespace=\"x\",pod=\"p\"} 1\n");
    }
}
