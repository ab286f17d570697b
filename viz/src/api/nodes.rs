//! `/api/nodes`: nodes and their proxies.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use weft_api::viz::{Failure, NamespacePods, NodeItem, NodeProxy, NodeProxyState, PodProxyState, Source};

use super::{App, Ask, pods::proxy};
use crate::{
    cluster::PodView,
    proxies::ProxyConfig,
    query::{Filter, Kind, Query, get},
};

/// A proxy that was not scraped for so long is a problem, in seconds.
const SCRAPE_LIMIT: f64 = 30.0;
/// How far back the last scrape is looked for, in seconds.
const LAST_SCRAPE: u64 = 3600;

/// What the metrics say of the proxies, by node.
#[derive(Default)]
pub(super) struct ProxyMetrics {
    versions: BTreeMap<String, String>,
    started: BTreeMap<String, f64>,
    pub(super) scraped: BTreeMap<String, f64>,
    memory: BTreeMap<String, f64>,
    cpu: BTreeMap<String, f64>,
    connections: BTreeMap<String, f64>,
    limits: BTreeMap<String, f64>,
    connected: BTreeMap<String, f64>,
    certificates: BTreeMap<String, f64>,
}

pub(crate) async fn nodes(app: Arc<App>, ask: Arc<Ask>) -> Result<Vec<NodeItem>, Failure> {
    let configs = async { Ok(app.proxies.configs(&ask.view).await) };
    // Without the right to read nodes the rest of the answer is still true.
    let ready = async { Ok(app.cluster.ready_nodes().await) };
    let (metrics, configs, ready) = futures::try_join!(proxy_metrics(&ask), configs, ready)?;
    let ready = ready.unwrap_or_else(|failure| {
        ask.warn("nodes_unknown", failure.message);
        Arc::default()
    });
    let addresses = app.proxies.addresses(&ask.view);
    let mut by_node: BTreeMap<&str, Vec<Arc<PodView>>> = BTreeMap::new();
    for pod in ask.view.pods.values() {
        if let Some(node) = &pod.node {
            by_node.entry(node).or_default().push(pod.clone());
        }
    }
    let names: BTreeSet<&String> = ask.view.nodes.iter().chain(addresses.keys()).collect();
    let item = |name: &String| {
        let pods = by_node.remove(name.as_str()).unwrap_or_default();
        let proxy = (addresses.contains_key(name) || metrics.scraped.contains_key(name))
            .then(|| node_proxy(&ask, name, &metrics, configs.get(name), &pods));
        NodeItem {
            name: name.clone(),
            ready: ready.get(name).copied().unwrap_or(true),
            pods: crate::cluster::count(&pods),
            per_namespace: per_namespace(&pods),
            proxy,
        }
    };
    Ok(names.into_iter().map(item).collect())
}

pub(super) fn per_namespace(pods: &[Arc<PodView>]) -> Vec<NamespacePods> {
    let mut found: BTreeMap<&str, (u32, u32)> = BTreeMap::new();
    for pod in pods.iter().filter(|pod| pod.is_running()) {
        let counts = found.entry(&pod.namespace).or_default();
        counts.0 += u32::from(pod.meshed);
        counts.1 += 1;
    }
    let item = |(namespace, (meshed, running)): (&str, (u32, u32))| NamespacePods {
        namespace: namespace.to_owned(),
        meshed,
        running,
    };
    found.into_iter().map(item).collect()
}

pub(super) async fn proxy_metrics(ask: &Ask) -> Result<ProxyMetrics, Failure> {
    let window = ask.window.length().as_secs();
    let run = |metric, kind| {
        let query = Query::new(metric, kind).filter(Filter::is("job", "weft-proxy")).by(["node"]);
        async move {
            let samples = ask.figures.instant(&query, ask.at).await?;
            let pair = |sample: &crate::query::Sample| (get(&sample.labels, "node").to_owned(), sample.value);
            Ok(samples.iter().map(pair).collect::<BTreeMap<_, _>>())
        }
    };
    let build = Query::new("proxy_build_info", Kind::Max)
        .filter(Filter::is("job", "weft-proxy"))
        .by(["node", "version"]);
    let (builds, started, scraped, memory, cpu, connections, limits, connected, certificates) = futures::try_join!(
        ask.figures.instant(&build, ask.at),
        run("process_start_time_seconds", Kind::Max),
        last_scrapes(ask),
        run("process_resident_memory_bytes", Kind::Sum),
        run("process_cpu_seconds_total", Kind::Increase(window)),
        run("weft_connections_open", Kind::Sum),
        run("weft_connections_limit", Kind::Max),
        run("weft_discovery_control_plane_connected", Kind::Max),
        run("control_identity_cert_expiration_timestamp_seconds", Kind::Min),
    )?;
    let version = |sample: &crate::query::Sample| {
        (get(&sample.labels, "node").to_owned(), get(&sample.labels, "version").to_owned())
    };
    Ok(ProxyMetrics {
        versions: builds.iter().map(version).collect(),
        started,
        scraped,
        memory,
        cpu: cpu.into_iter().map(|(node, seconds)| (node, seconds / ask.span().covered)).collect(),
        connections,
        limits,
        connected,
        certificates,
    })
}

/// When each proxy was scraped last, by node.
pub(super) async fn last_scrapes(ask: &Ask) -> Result<BTreeMap<String, f64>, Failure> {
    let query = Query::new("process_start_time_seconds", Kind::LastSeen(LAST_SCRAPE))
        .filter(Filter::is("job", "weft-proxy"))
        .by(["node"]);
    let samples = ask.figures.instant(&query, ask.at).await?;
    Ok(samples.iter().map(|sample| (get(&sample.labels, "node").to_owned(), sample.value)).collect())
}

/// Whether a proxy should have been scraped since its last scrape. Prometheus may have started together with weft-viz.
pub(super) fn is_late(app: &App, ask: &Ask, last: Option<f64>) -> bool {
    let may_be_new = ask.at as f64 - app.metrics.started() < 2.0 * SCRAPE_LIMIT && last.is_none();
    !may_be_new && last.is_none_or(|last| ask.at as f64 - last > SCRAPE_LIMIT)
}

pub(super) fn not_scraped_text(node: &str) -> String {
    format!("Figures of node {node} are missing: its proxy is not scraped.")
}

fn node_proxy(
    ask: &Ask,
    name: &str,
    metrics: &ProxyMetrics,
    config: Option<&ProxyConfig>,
    pods: &[Arc<PodView>],
) -> NodeProxy {
    let of = |values: &BTreeMap<String, f64>| values.get(name).copied();
    let last_scrape = of(&metrics.scraped);
    let is_scraped = last_scrape.is_some_and(|at| ask.at as f64 - at <= SCRAPE_LIMIT);
    let configs: BTreeMap<String, ProxyConfig> =
        config.map(|config| (name.to_owned(), config.clone())).into_iter().collect();
    let states: Vec<_> =
        pods.iter().filter(|pod| pod.meshed).filter_map(|pod| proxy(pod, &configs)).collect();
    let is_starting = config.is_some()
        && !states.is_empty()
        && states.iter().all(|status| status.state == PodProxyState::Joining);
    let (state, reason) = if !is_scraped {
        let source = match ask.meta().source {
            Source::Prometheus => "Prometheus has",
            Source::Proxies => "weft-viz has",
        };
        let whether =
            if config.is_some() { "it answers weft-viz" } else { "it does not answer weft-viz either" };
        let reason = format!("{source} not scraped it for {SCRAPE_LIMIT} s; {whether}");
        ask.warn("node_not_scraped", not_scraped_text(name));
        (NodeProxyState::NotScraped, Some(reason))
    } else if is_starting {
        (NodeProxyState::Starting, Some("it serves none of its pods yet".to_owned()))
    } else {
        (NodeProxyState::Ready, None)
    };
    NodeProxy {
        version: metrics.versions.get(name).cloned().unwrap_or_default(),
        state,
        reason,
        started_at: of(&metrics.started),
        last_scrape_at: last_scrape,
        memory_bytes: of(&metrics.memory),
        cpu_cores: of(&metrics.cpu),
        connections: of(&metrics.connections).unwrap_or_default(),
        connections_limit: of(&metrics.limits),
        control_plane_connected: of(&metrics.connected).is_some_and(|value| value > 0.0),
        certificate_expires_at: of(&metrics.certificates),
    }
}
