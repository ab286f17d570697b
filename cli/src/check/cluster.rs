//! What the checks read of the cluster. Everything is read at most once, until it is forgotten.

use std::{collections::BTreeMap, fmt::Debug};

use anyhow::{Context, Result, anyhow};
use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node, Pod, Service};
use kube::{Api, Client, Resource, api::ListParams};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::{
    chart::parse_values,
    global::Global,
    kubernetes::{self, CONFIG, PROXY_SELECTOR, admin_page, explain},
    viz::{Viz, VizOptions, on_vm},
};

/// As many nodes' pages are read at the same time.
const PAGES_AT_ONCE: usize = 16;

#[derive(Clone)]
pub(super) struct Options {
    pub(super) global: Global,
    /// Where weft-viz is; without a namespace, it is looked for.
    pub(super) viz: VizOptions,
    pub(super) expected_version: String,
}

pub(super) struct Cluster {
    options: Options,
    client: OnceCell<Client>,
    pods: OnceCell<Vec<Pod>>,
    nodes: OnceCell<Vec<Node>>,
    services: OnceCell<Vec<Service>>,
    namespaces: OnceCell<Vec<Namespace>>,
    proxies: OnceCell<BTreeMap<String, NodeProxy>>,
    certificates: OnceCell<BTreeMap<String, Result<Value, String>>>,
    viz: OnceCell<Viz>,
}

/// A node proxy, with its pages or why they cannot be read.
pub(super) struct NodeProxy {
    pub(super) pod: Pod,
    config: Result<Value, String>,
    metrics: Result<String, String>,
}

impl NodeProxy {
    /// The page /config.
    pub(super) fn config(&self) -> Result<&Value> {
        self.config.as_ref().map_err(|error| anyhow!("{error}"))
    }

    /// The page /metrics.
    pub(super) fn metrics(&self) -> Result<&str> {
        self.metrics.as_deref().map_err(|error| anyhow!("{error}"))
    }
}

impl Cluster {
    pub(super) fn new(options: Options) -> Self {
        Self {
            options,
            client: OnceCell::new(),
            pods: OnceCell::new(),
            nodes: OnceCell::new(),
            services: OnceCell::new(),
            namespaces: OnceCell::new(),
            proxies: OnceCell::new(),
            certificates: OnceCell::new(),
            viz: OnceCell::new(),
        }
    }

    /// The same cluster, of which nothing has been read.
    pub(super) fn forget(self) -> Self {
        Self { client: self.client, ..Self::new(self.options) }
    }

    /// The namespace of the control plane.
    pub(super) fn control_plane(&self) -> &str {
        &self.options.global.control_plane_namespace
    }

    /// The namespace whose pods are checked; without one, all are.
    pub(super) fn data_plane(&self) -> Option<&str> {
        self.options.global.namespace.as_deref()
    }

    pub(super) fn expected_version(&self) -> &str {
        &self.options.expected_version
    }

    pub(super) async fn client(&self) -> Result<&Client> {
        self.client.get_or_try_init(|| kubernetes::connect(&self.options.global)).await
    }

    pub(super) async fn get<K>(&self, name: &str) -> Result<Option<K>>
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + DeserializeOwned
            + Debug,
    {
        let found =
            Api::<K>::namespaced(self.client().await?.clone(), self.control_plane()).get_opt(name).await;
        found.map_err(|error| explain(error, &format!("read the {} {name}", K::kind(&()))))
    }

    pub(super) async fn get_global<K>(&self, name: &str) -> Result<Option<K>>
    where
        K: Resource<Scope = kube::core::ClusterResourceScope, DynamicType = ()>
            + Clone
            + DeserializeOwned
            + Debug,
    {
        let found = Api::<K>::all(self.client().await?.clone()).get_opt(name).await;
        found.map_err(|error| explain(error, &format!("read the {} {name}", K::kind(&()))))
    }

    /// All objects of a kind, in all namespaces.
    pub(super) async fn list<K>(&self) -> Result<Vec<K>>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
    {
        let found = Api::<K>::all(self.client().await?.clone()).list(&ListParams::default()).await;
        Ok(found.map_err(|error| explain(error, &format!("list {}", K::plural(&()))))?.items)
    }

    pub(super) async fn pods(&self) -> Result<&[Pod]> {
        Ok(self.pods.get_or_try_init(|| self.list::<Pod>()).await?)
    }

    pub(super) async fn nodes(&self) -> Result<&[Node]> {
        Ok(self.nodes.get_or_try_init(|| self.list::<Node>()).await?)
    }

    pub(super) async fn services(&self) -> Result<&[Service]> {
        Ok(self.services.get_or_try_init(|| self.list::<Service>()).await?)
    }

    pub(super) async fn namespaces(&self) -> Result<&[Namespace]> {
        Ok(self.namespaces.get_or_try_init(|| self.list::<Namespace>()).await?)
    }

    /// The ConfigMap with the installation's values.
    pub(super) async fn config(&self) -> Result<ConfigMap> {
        self.get::<ConfigMap>(CONFIG).await?.ok_or_else(|| {
            anyhow!("the ConfigMap \"{CONFIG}\" does not exist in the namespace \"{}\"", self.control_plane())
        })
    }

    /// The installation's values.
    pub(super) async fn values(&self) -> Result<Value> {
        let config = self.config().await?;
        let text = config.data.as_ref().and_then(|data| data.get("values"));
        let text = text.ok_or_else(|| anyhow!("the ConfigMap \"{CONFIG}\" has no `values`"))?;
        parse_values(text).with_context(|| format!("the values in the ConfigMap \"{CONFIG}\""))
    }

    /// The pods of the control plane with these labels.
    pub(super) async fn control_plane_pods(&self, component: &str) -> Result<Vec<&Pod>> {
        let pods = self.pods().await?.iter().filter(|pod| {
            let labels = pod.metadata.labels.as_ref();
            pod.metadata.namespace.as_deref() == Some(self.control_plane())
                && labels.and_then(|l| l.get(kubernetes::COMPONENT_LABEL)).is_some_and(|own| own == component)
        });
        Ok(pods.collect())
    }

    /// The namespaces that say that weft-viz is in them.
    pub(super) async fn viz_namespaces(&self) -> Result<Vec<&str>> {
        let namespaces = self.namespaces().await?.iter().filter(|namespace| {
            let labels = namespace.metadata.labels.as_ref();
            labels
                .and_then(|labels| labels.get(kubernetes::EXTENSION_LABEL))
                .is_some_and(|name| name == "viz")
        });
        Ok(namespaces.filter_map(|namespace| namespace.metadata.name.as_deref()).collect())
    }

    /// The namespace of weft-viz.
    pub(super) async fn viz_namespace(&self) -> Result<String> {
        let named = &self.options.viz.viz_namespace;
        if !named.is_empty() {
            return Ok(named.clone());
        }
        Ok(self.viz_namespaces().await?.first().map_or("weft-viz", |name| name).to_owned())
    }

    /// weft-viz itself.
    pub(super) async fn viz(&self) -> Result<&Viz> {
        self.viz
            .get_or_try_init(|| async {
                let on_vm = on_vm(&self.options.global, &self.options.viz);
                let viz_namespace = if on_vm { String::new() } else { self.viz_namespace().await? };
                let options = VizOptions { viz_namespace, ..self.options.viz.clone() };
                Viz::connect(&self.options.global, &options).await
            })
            .await
    }

    /// The ready proxies by node.
    pub(super) async fn proxies(&self) -> Result<&BTreeMap<String, NodeProxy>> {
        self.proxies.get_or_try_init(|| self.read_proxies()).await
    }

    /// The page /certificates.json of each ready proxy by node, or why it cannot be read.
    pub(super) async fn certificates(&self) -> Result<&BTreeMap<String, Result<Value, String>>> {
        let read = || async {
            let client = self.client().await?;
            let pods: Vec<_> =
                self.proxies().await?.iter().map(|(node, proxy)| (node.clone(), proxy.pod.clone())).collect();
            let read = pods.into_iter().map(|(node, pod)| {
                let client = client.clone();
                async move {
                    let page = admin_page(&client, &pod, "/certificates.json").await;
                    let page = page.and_then(|text| {
                        serde_json::from_str(&text).context("the page /certificates.json is no JSON")
                    });
                    (node, page.map_err(|error| format!("{error:#}")))
                }
            });
            Ok(stream::iter(read).buffer_unordered(PAGES_AT_ONCE).collect().await)
        };
        self.certificates.get_or_try_init(read).await
    }

    async fn read_proxies(&self) -> Result<BTreeMap<String, NodeProxy>> {
        let client = self.client().await?.clone();
        let query = ListParams::default().labels(PROXY_SELECTOR);
        let pods = Api::<Pod>::namespaced(client.clone(), self.control_plane()).list(&query).await;
        let pods = pods.map_err(|error| explain(error, "list the node proxies"))?;
        let read = pods.items.into_iter().filter(is_ready).map(|pod| {
            let client = client.clone();
            async move {
                let config = admin_page(&client, &pod, "/config").await;
                let config = config
                    .and_then(|text| serde_json::from_str(&text).context("the page /config is no JSON"));
                let metrics = admin_page(&client, &pod, "/metrics").await;
                let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default();
                let proxy = NodeProxy {
                    config: config.map_err(|error| format!("{error:#}")),
                    metrics: metrics.map_err(|error| format!("{error:#}")),
                    pod,
                };
                (node, proxy)
            }
        });
        Ok(stream::iter(read).buffer_unordered(PAGES_AT_ONCE).collect().await)
    }
}

/// Whether Kubernetes says that the pod is ready.
pub(super) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    pod.metadata.deletion_timestamp.is_none()
        && conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// `NAMESPACE/NAME`
pub(super) fn full_name(meta: &kube::core::ObjectMeta) -> String {
    let (namespace, name) = (meta.namespace.as_deref(), meta.name.as_deref().unwrap_or_default());
    namespace.map_or_else(|| name.to_owned(), |namespace| format!("{namespace}/{name}"))
}

/// Fails with a list of at most 20 problems, if there are any.
pub(super) fn none(problems: &[String], heading: &str) -> Result<()> {
    const MOST: usize = 20;
    if problems.is_empty() {
        return Ok(());
    }
    let mut text = heading.to_owned();
    for problem in problems.iter().take(MOST) {
        text.push_str(&format!("\n* {problem}"));
    }
    if problems.len() > MOST {
        text.push_str(&format!("\n* and {} more", problems.len() - MOST));
    }
    Err(anyhow!(text))
}
