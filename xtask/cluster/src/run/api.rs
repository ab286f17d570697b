//! Reads pods, and the pages of the node proxies, from the API server.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result};
use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api as Objects, Client, Config,
    api::ListParams,
    config::{KubeConfigOptions, Kubeconfig},
};
use tokio::runtime::Runtime;
use weft_vm::{
    prom,
    traffic::{self, Call, NodePage, PodInfo, Pods},
};

const TIMEOUT: Duration = Duration::from_secs(5);
const PROXY_ADMIN: u16 = 4191;

/// The API server passes requests on to the nodes' addresses, which the user's machine may not reach.
pub(super) struct Api {
    client: Client,
    runtime: Runtime,
}

/// The pods of a cluster.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) pods: Pods,
    /// Those with a proxy.
    pub(super) nodes: BTreeSet<String>,
}

/// What the proxies say.
#[derive(Debug, Default)]
pub(super) struct Pages {
    pub(super) metrics: Vec<NodePage>,
    pub(super) served: BTreeSet<String>,
    pub(super) calls: Vec<Call>,
}

impl Api {
    pub(super) fn connect(kubeconfig: &Path) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let client = runtime.block_on(async {
            let file = Kubeconfig::read_from(kubeconfig)?;
            let mut config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
            config.connect_timeout = Some(TIMEOUT);
            config.read_timeout = Some(TIMEOUT);
            Ok::<_, anyhow::Error>(Client::try_from(config)?)
        });
        Ok(Self { client: client.with_context(|| kubeconfig.display().to_string())?, runtime })
    }

    pub(super) fn state(&self) -> Result<State> {
        // Any version will do: the API server answers from memory.
        let list = ListParams::default().match_any();
        let pods = self.runtime.block_on(Objects::<Pod>::all(self.client.clone()).list(&list));
        let mut state = State::default();
        for pod in pods.context("the pods")?.items {
            state.add(&pod);
        }
        Ok(state)
    }

    /// The pages of all proxies. A proxy that does not answer has none.
    pub(super) fn pages(&self, nodes: &BTreeSet<String>) -> Pages {
        self.runtime.block_on(async {
            let (metrics, configs, calls) = futures::join!(
                join_all(nodes.iter().map(|node| self.page(node, "/metrics"))),
                join_all(nodes.iter().map(|node| self.page(node, "/config"))),
                join_all(nodes.iter().map(|node| self.page(node, "/http/worst.json"))),
            );
            let metrics = nodes.iter().zip(metrics);
            Pages {
                metrics: metrics
                    .map(|(node, text)| NodePage { node: node.clone(), samples: prom::parse(&text) })
                    .collect(),
                served: configs.iter().flat_map(|page| served(page)).collect(),
                calls: calls.iter().flat_map(|page| traffic::parse_worst(page)).collect(),
            }
        })
    }

    async fn page(&self, node: &str, path: &str) -> String {
        let uri = format!("/api/v1/nodes/{node}:{PROXY_ADMIN}/proxy{path}");
        let Ok(request) = http::Request::get(uri).body(Vec::new()) else { return String::new() };
        self.client.request_text(request).await.unwrap_or_default()
    }
}

impl State {
    fn add(&mut self, pod: &Pod) {
        let (meta, spec, status) = (&pod.metadata, pod.spec.as_ref(), pod.status.as_ref());
        let (Some(namespace), Some(name)) = (&meta.namespace, &meta.name) else { return };
        let Some(node) = spec.and_then(|spec| spec.node_name.clone()) else { return };
        if meta.deletion_timestamp.is_some() {
            return;
        }
        let labels = meta.labels.as_ref();
        let label = |name: &str| labels.and_then(|labels| labels.get(name)).map(String::as_str);
        if label("linkerd.io/control-plane-component") == Some("proxy") {
            self.nodes.insert(node.clone());
        }
        // Pods in a node's network have its address, and are not meshed.
        if spec.and_then(|spec| spec.host_network) == Some(true) {
            return;
        }
        let ips = status.and_then(|status| status.pod_ips.clone()).unwrap_or_default();
        let info = PodInfo {
            node,
            ips: ips.iter().filter_map(|ip| ip.ip.parse().ok()).collect(),
            service_account: spec
                .and_then(|spec| spec.service_account_name.clone())
                .unwrap_or_else(|| "default".to_owned()),
            deployment: deployment(pod, label("pod-template-hash")),
        };
        self.pods.insert(format!("{namespace}/{name}"), info);
    }
}

/// A Deployment's ReplicaSets are named after it and a hash, which their pods have as a label.
fn deployment(pod: &Pod, hash: Option<&str>) -> Option<String> {
    let owners = pod.metadata.owner_references.as_deref().unwrap_or_default();
    let owner = owners.iter().find(|owner| owner.kind == "ReplicaSet")?;
    owner.name.strip_suffix(&format!("-{}", hash?)).map(str::to_owned)
}

/// The pods that a proxy serves, from its page `/config`.
fn served(page: &str) -> Vec<String> {
    let page: serde_json::Value = serde_json::from_str(page).unwrap_or_default();
    let workloads = page["workloads"].as_object().into_iter().flatten();
    let served = workloads.filter(|(_, workload)| workload["state"] == "SERVED");
    served.map(|(name, _)| name.clone()).collect()
}

/// The pods of the namespaces that are of interest: those with a served pod.
pub(super) fn of_the_mesh(pods: &Pods, served: &BTreeSet<String>) -> Pods {
    let namespace =
        |pod: &str| pod.split_once('/').map_or_else(String::new, |(namespace, _)| namespace.to_owned());
    let meshed: BTreeSet<String> = served.iter().map(|pod| namespace(pod)).collect();
    let all = pods.iter().filter(|(name, _)| meshed.contains(&namespace(name)));
    all.map(|(name, info)| (name.clone(), info.clone())).collect::<BTreeMap<_, _>>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(text: &str) -> Pod {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn pods_are_known_by_their_deployments_and_addresses() {
        let mut state = State::default();
        state.add(&pod(
            r#"{"metadata":{"namespace":"shop","name":"web-6d9-x","labels":{"pod-template-hash":"6d9"},
                "ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"web-6d9","uid":"1"}]},
                "spec":{"nodeName":"a","containers":[],"serviceAccountName":"web"},
                "status":{"podIPs":[{"ip":"10.244.1.7"}]}}"#,
        ));
        let info = &state.pods["shop/web-6d9-x"];
        assert_eq!((info.deployment.as_deref(), info.service_account.as_str()), (Some("web"), "web"));
        assert_eq!(info.ips, ["10.244.1.7".parse::<std::net::IpAddr>().unwrap()]);
        assert!(state.nodes.is_empty());
    }

    #[test]
    fn nodes_with_a_proxy_are_known_by_it() {
        let mut state = State::default();
        state.add(&pod(r#"{"metadata":{"namespace":"weft","name":"weft-proxy-1",
                "labels":{"linkerd.io/control-plane-component":"proxy"}},
                "spec":{"nodeName":"a","containers":[],"hostNetwork":true}}"#));
        assert!(state.nodes.contains("a") && state.pods.is_empty(), "{state:?}");
    }

    #[test]
    fn only_namespaces_with_served_pods_are_shown() {
        let page = r#"{"workloads":{"shop/web":{"state":"SERVED"},"shop/bot":{"state":"REFUSED"}}}"#;
        let served: BTreeSet<String> = served(page).into_iter().collect();
        let pods: Pods = ["shop/web", "shop/bot", "kube-system/dns"]
            .map(|name| (name.to_owned(), PodInfo::default()))
            .into();
        let shown = of_the_mesh(&pods, &served);
        assert_eq!(shown.keys().collect::<Vec<_>>(), ["shop/bot", "shop/web"]);
    }
}
