//! `weft identity`: the certificates that the peers of pods are shown.

use std::collections::HashMap;

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, api::ListParams};
use serde::Deserialize;

use crate::{
    certificates::{read, text},
    global::Global,
    kubernetes::{PROXY_SELECTOR, admin_page, connect, explain, names, namespace, own_pods, pods_of},
    terminal::{print, say},
};

/// Print the certificates that the peers of pods are shown
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  # The certificates of a pod
  weft -n emojivoto identity web-5f4b8d6c9-2xk8p

  # Of all pods with a label
  weft -n emojivoto identity -l app=web-svc

The proxy of the pod's node says what it shows in TLS handshakes. Private keys never leave the proxy.")]
pub(crate) struct IdentityArgs {
    /// The names of pods
    #[arg(value_name = "POD", required_unless_present = "selector")]
    pods: Vec<String>,
    /// The labels of pods
    #[arg(short = 'l', long, value_name = "SELECTOR", conflicts_with = "pods")]
    selector: Option<String>,
}

/// The page /certificates.json of a node proxy.
#[derive(Debug, Deserialize)]
struct Page {
    /// By `NAMESPACE/NAME`.
    workloads: HashMap<String, Workload>,
}

#[derive(Debug, Deserialize)]
struct Workload {
    identity: String,
    /// As PEM, its own first.
    certificates: Vec<String>,
}

pub(crate) async fn run(global: &Global, args: &IdentityArgs) -> Result<()> {
    let client = connect(global).await?;
    let namespace = namespace(global, &client);
    let pods = match &args.selector {
        Some(selector) => labelled(&client, &namespace, selector).await?,
        None => {
            let mut pods = Vec::new();
            for name in &args.pods {
                let name = name.strip_prefix("pod/").unwrap_or(name);
                if name.contains('/') {
                    bail!("{name:?} is no pod; give the name of one, or choose pods by their labels with -l");
                }
                pods.extend(pods_of(&client, &namespace, name).await?);
            }
            pods
        }
    };
    let proxies = own_pods(global, &client, PROXY_SELECTOR).await?;
    let mut pages = HashMap::new();
    let mut failed = 0;
    for (number, pod) in pods.iter().enumerate() {
        let (namespace, name) = names(pod)?;
        print(&format!("\nPOD {name} ({} of {})\n\n", number + 1, pods.len()))?;
        match certificates(&client, &proxies, &mut pages, pod).await {
            Ok(text) => print(&text)?,
            Err(error) => {
                failed += 1;
                say(&format!("the pod {namespace}/{name}: {error:#}"));
            }
        }
    }
    match failed {
        0 => Ok(()),
        failed => bail!("{failed} of {} pods have no certificate that could be read", pods.len()),
    }
}

async fn labelled(client: &Client, namespace: &str, selector: &str) -> Result<Vec<Pod>> {
    let pods = Api::<Pod>::namespaced(client.clone(), namespace);
    let pods = pods.list(&ListParams::default().labels(selector)).await;
    let pods =
        pods.map_err(|error| explain(error, &format!("list the pods with the labels {selector:?}")))?;
    match pods.items.is_empty() {
        true => bail!("no pod in the namespace {namespace} has the labels {selector:?}"),
        false => Ok(pods.items),
    }
}

/// The text of a pod's certificates. Each node's page is read once.
async fn certificates(
    client: &Client,
    proxies: &[Pod],
    pages: &mut HashMap<String, Page>,
    pod: &Pod,
) -> Result<String> {
    let (namespace, name) = names(pod)?;
    let node_of = |pod: &Pod| pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
    let node = node_of(pod).ok_or_else(|| anyhow!("it is on no node yet"))?;
    if !pages.contains_key(&node) {
        let proxy = proxies.iter().find(|proxy| node_of(proxy).as_ref() == Some(&node));
        let proxy = proxy.ok_or_else(|| anyhow!("its node {node} has no proxy; `weft check` tells why"))?;
        let page = admin_page(client, proxy, "/certificates.json").await?;
        let page = serde_json::from_str(&page).with_context(|| {
            format!("the proxy of the node {node} answers something else than this tool expects")
        })?;
        pages.insert(node.clone(), page);
    }
    let workload = pages.get(&node).and_then(|page| page.workloads.get(&format!("{namespace}/{name}")));
    let workload = workload.ok_or_else(|| {
        anyhow!(
            "the proxy of its node {node} does not serve it: is it in the mesh? `weft -n {namespace} check --proxy` \
             tells"
        )
    })?;
    if workload.certificates.is_empty() {
        bail!(
            "the proxy of its node {node} has no valid certificate for {}; its log and `weft check --proxy` tell why",
            workload.identity
        );
    }
    let certificates = read(&workload.certificates.concat())?;
    // What peers are shown besides, up to the trust anchors, is the same for all pods.
    Ok(certificates.first().map(text).unwrap_or_default())
}
