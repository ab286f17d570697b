//! Scrapes the proxies while no Prometheus answers, and keeps what they said within the last minute.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use futures::{StreamExt, stream};
use parking_lot::RwLock;
use tokio::sync::watch;

use super::{
    admin::Proxies,
    evaluate::{Series, evaluate},
    parse::{labels, lines},
};
use crate::{
    cluster::Cluster,
    query::{BARE, BARE_DST, Labels, Query, Sample, Side, get, is_of_no_owner},
};

const INTERVAL: Duration = Duration::from_secs(10);
/// The second scrape follows the first one soon, because increases need two.
const SECOND: Duration = Duration::from_secs(2);
/// The age of the scrape that increases are computed from.
const HISTORY: Duration = Duration::from_secs(60);
/// Series of one proxy. Others are left out.
const MAX_SERIES: usize = 200_000;
const MAX_CONCURRENT: usize = 8;
/// What the API asks for. Everything else on the page is skipped.
const FAMILIES: [&str; 22] = [
    "response_total",
    "response_latency_ms_bucket",
    "tcp_open_total",
    "tcp_open_connections",
    "tcp_read_bytes_total",
    "tcp_write_bytes_total",
    "inbound_http_authz_allow_total",
    "inbound_http_authz_deny_total",
    "inbound_tcp_authz_allow_total",
    "inbound_tcp_authz_deny_total",
    "control_identity_cert_expiration_timestamp_seconds",
    "proxy_build_info",
    "process_resident_memory_bytes",
    "process_cpu_seconds_total",
    "process_start_time_seconds",
    "weft_connections_open",
    "weft_connections_limit",
    "weft_discovery_control_plane_connected",
    "inbound_http_statuses_total",
    "inbound_grpc_statuses_total",
    "inbound_http_request_duration_seconds_bucket",
    "inbound_grpc_request_duration_seconds_bucket",
];

/// The scrapes of all proxies.
#[derive(Debug, Default)]
pub(crate) struct Scrapes {
    nodes: RwLock<BTreeMap<String, Node>>,
    /// How often all proxies were asked since scrapes are needed.
    rounds: watch::Sender<usize>,
}

/// The scrapes of one proxy.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// The labels of every series, by metric and what the page says of them.
    series: HashMap<&'static str, HashMap<String, Arc<Labels>>>,
    /// The oldest first.
    scrapes: VecDeque<Scrape>,
}

#[derive(Debug)]
struct Scrape {
    at: Instant,
    seconds: f64,
    values: HashMap<&'static str, HashMap<String, f64>>,
}

impl Scrapes {
    /// Scrapes while it is needed, until it is dropped.
    pub(crate) async fn run(
        self: Arc<Self>,
        proxies: Arc<Proxies>,
        cluster: Arc<Cluster>,
        mut needed: watch::Receiver<bool>,
    ) {
        while needed.wait_for(|needed| *needed).await.is_ok() {
            let no_longer_needed = async {
                let _ = needed.wait_for(|needed| !*needed).await;
            };
            tokio::select! {
                () = self.repeat(&proxies, &cluster) => {}
                // For answers that are being made.
                () = no_longer_needed => tokio::time::sleep(INTERVAL).await,
            }
            self.nodes.write().clear();
            self.rounds.send_replace(0);
        }
    }

    async fn repeat(&self, proxies: &Arc<Proxies>, cluster: &Cluster) {
        self.scrape(proxies, cluster).await;
        tokio::time::sleep(SECOND).await;
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.scrape(proxies, cluster).await;
        }
    }

    async fn scrape(&self, proxies: &Arc<Proxies>, cluster: &Cluster) {
        let addresses = proxies.addresses(&cluster.view());
        self.nodes.write().retain(|node, _| addresses.contains_key(node));
        let pages = stream::iter(addresses).map(|(node, address)| {
            let proxies = proxies.clone();
            async move { (node, proxies.metrics(address).await) }
        });
        let mut pages = pages.buffer_unordered(MAX_CONCURRENT);
        while let Some((node, page)) = pages.next().await {
            match page {
                Ok(page) => self.add(&node, &String::from_utf8_lossy(&page)),
                Err(error) => tracing::debug!(node, %error, "a proxy was not scraped"),
            }
        }
        self.rounds.send_modify(|rounds| *rounds += 1);
    }

    /// Whether there are figures of a proxy, with increases.
    pub(crate) fn has_figures(&self) -> bool {
        *self.rounds.borrow() >= 2 && self.nodes.read().values().any(Node::is_answering)
    }

    /// Waits until all proxies were asked twice: whether there are figures then.
    pub(crate) async fn wait(&self) -> bool {
        let _ = self.rounds.subscribe().wait_for(|rounds| *rounds >= 2).await;
        self.has_figures()
    }

    pub(crate) fn instant(&self, query: &Query) -> Vec<Sample> {
        let nodes = self.nodes.read();
        evaluate(query, |metric| nodes.values().flat_map(move |node| node.series(metric)).collect())
    }

    fn add(&self, name: &str, page: &str) {
        let mut nodes = self.nodes.write();
        let node = nodes.entry(name.to_owned()).or_default();
        let mut values: HashMap<&'static str, HashMap<String, f64>> = HashMap::new();
        let mut count = 0;
        for line in lines(page) {
            let Some(family) = FAMILIES.into_iter().find(|family| *family == line.name) else {
                continue;
            };
            count += 1;
            if count > MAX_SERIES {
                break;
            }
            let known = node.series.entry(family).or_default();
            if !known.contains_key(line.labels) {
                known.insert(line.labels.to_owned(), Arc::new(completed(labels(line.labels), name)));
            }
            values.entry(family).or_default().insert(line.labels.to_owned(), line.value);
        }
        let seconds =
            SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        node.scrapes.push_back(Scrape { at: Instant::now(), seconds, values });
        // One scrape of at least that age stays.
        while node.scrapes.get(1).is_some_and(|scrape| scrape.at.elapsed() >= HISTORY) {
            node.scrapes.pop_front();
        }
        let Node { series, scrapes } = node;
        for (family, known) in series {
            let is_used = |text: &str| {
                scrapes.iter().any(|scrape| scrape.values.get(family).is_some_and(|v| v.contains_key(text)))
            };
            known.retain(|text, _| is_used(text));
        }
    }
}

impl Node {
    /// A proxy that does not answer any more has no figures.
    fn is_answering(&self) -> bool {
        self.scrapes.back().is_some_and(|scrape| scrape.at.elapsed() < HISTORY)
    }

    fn series<'a>(&'a self, metric: &str) -> Vec<Series<'a>> {
        let Some(last) = self.scrapes.back().filter(|_| self.is_answering()) else {
            return Vec::new();
        };
        let Some(first) = self.scrapes.front() else { return Vec::new() };
        let Some(values) = last.values.get(metric) else { return Vec::new() };
        let seconds = last.at.duration_since(first.at).as_secs_f64();
        let series = |(text, now): (&'a String, &f64)| {
            let labels = self.series.get(metric)?.get(text)?;
            let before = || {
                let earlier = first.values.get(metric).and_then(|values| values.get(text));
                earlier.copied().unwrap_or_default()
            };
            let before = (seconds > 0.0).then(before);
            Some(Series { labels, now: *now, before, seconds, at: last.seconds })
        };
        values.iter().filter_map(series).collect()
    }
}

/// What Prometheus' configuration does with the labels of a proxy.
fn completed(mut labels: Labels, node: &str) -> Labels {
    if let Some(job) = labels.remove("job") {
        labels.insert("k8s_job".into(), job);
    }
    labels.insert("job".into(), "weft-proxy".into());
    labels.insert("node".into(), node.to_owned());
    for (side, bare, pod) in [(Side::Own, BARE, "pod"), (Side::Destination, BARE_DST, "dst_pod")] {
        if is_of_no_owner(side, &labels) && !get(&labels, pod).is_empty() {
            labels.insert(bare.into(), get(&labels, pod).to_owned());
        }
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::{Filter, Kind};

    fn page(ok: u32, failed: u32) -> String {
        format!(
            "response_total{{direction=\"inbound\",namespace=\"a\",pod=\"p\",job=\"once\",classification=\"success\"}} \
             {ok}\nresponse_total{{direction=\"inbound\",namespace=\"a\",pod=\"p\",job=\"once\",\
             classification=\"failure\"}} {failed}\nsomething_else 5\n"
        )
    }

    #[test]
    fn increases_are_those_since_the_oldest_scrape() {
        let scrapes = Scrapes::default();
        scrapes.add("n", &page(10, 0));
        let query = Query::new("response_total", Kind::Increase(60))
            .filter(Filter::is("namespace", "a"))
            .by(["k8s_job", "classification"]);
        assert_eq!(scrapes.instant(&query), [], "one scrape says nothing about increases");
        std::thread::sleep(Duration::from_millis(2));
        scrapes.add("n", &page(17, 3));
        let mut found: Vec<_> = scrapes
            .instant(&query)
            .into_iter()
            .map(|sample| (get(&sample.labels, "k8s_job").to_owned(), sample.value.round() > 0.0))
            .collect();
        found.sort();
        assert_eq!(found, [("once".to_owned(), true), ("once".to_owned(), true)]);
    }

    #[test]
    fn a_series_that_begins_at_three_is_three_events() {
        let scrapes = Scrapes::default();
        scrapes.add("n", "inbound_http_authz_deny_total{namespace=\"a\",pod=\"old\"} 7\n");
        std::thread::sleep(Duration::from_millis(2));
        scrapes.add(
            "n",
            "inbound_http_authz_deny_total{namespace=\"a\",pod=\"old\"} 7\n\
             inbound_http_authz_deny_total{namespace=\"a\",pod=\"new\"} 3\n",
        );
        let query = Query::new("inbound_http_authz_deny_total", Kind::Increase(300)).by(["pod"]);
        let mut found: Vec<_> = scrapes
            .instant(&query)
            .into_iter()
            .map(|sample| (get(&sample.labels, "pod").to_owned(), sample.value))
            .collect();
        found.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(found, [("new".to_owned(), 3.0), ("old".to_owned(), 0.0)]);
    }
}
