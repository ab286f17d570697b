//! The golden metrics of each workload over the last seconds, as `linkerd viz stat` shows them.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::histogram::Histogram;
use super::{NodePage, Pods, own};
use crate::prom::Sample;

/// Rates and quantiles are of this time.
const WINDOW: Duration = Duration::from_secs(10);

/// One workload.
#[derive(Clone, Debug, PartialEq)]
pub struct Stat {
    /// Namespace and deployment, or pod if it has none.
    pub name: String,
    /// Pods that a proxy serves, and all.
    pub meshed: (usize, usize),
    /// The part of inbound requests that succeeded, from 0 to 1; None: there were no requests.
    pub success: Option<f64>,
    /// Inbound requests per second.
    pub rps: Option<f64>,
    /// The latencies of inbound requests in milliseconds: P50, P95, P99.
    pub latency: Option<[f64; 3]>,
    /// Open inbound connections.
    pub connections: u64,
}

/// The last scrapes of the proxies' metrics.
#[derive(Debug, Default)]
pub struct Window {
    /// What was counted between two scrapes.
    increases: VecDeque<Increase>,
    last: Option<Instant>,
    /// By node, the counters of the last scrape that worked.
    counters: HashMap<String, HashMap<String, f64>>,
    connections: BTreeMap<String, f64>,
    /// By pod, the workload's name as its metrics have it.
    owners: BTreeMap<String, String>,
}

#[derive(Debug)]
struct Increase {
    from: Instant,
    to: Instant,
    workloads: BTreeMap<String, Calls>,
}

#[derive(Clone, Debug, Default)]
struct Calls {
    success: f64,
    failure: f64,
    latency: Histogram,
}

impl Window {
    /// Takes the pages that were scraped at `now`, which is later than in the last call.
    pub fn add(&mut self, now: Instant, pages: &[NodePage]) {
        let mut workloads = BTreeMap::new();
        self.connections.clear();
        // A proxy that did not answer keeps its counters, so that its next answer tells what was missed.
        for page in pages.iter().filter(|page| !page.samples.is_empty()) {
            let before = self.counters.remove(&page.node);
            let counters = self.count(page, before.as_ref(), &mut workloads);
            self.counters.insert(page.node.clone(), counters);
        }
        if let Some(from) = self.last.replace(now) {
            self.increases.push_back(Increase { from, to: now, workloads });
        }
        while self.increases.front().is_some_and(|oldest| now.duration_since(oldest.to) >= WINDOW) {
            self.increases.pop_front();
        }
    }

    /// All workloads that have pods, by name. `served` are the pods that a proxy serves.
    pub fn stats(&self, pods: &Pods, served: &BTreeSet<String>) -> Vec<Stat> {
        let mut stats: BTreeMap<String, Stat> = BTreeMap::new();
        for pod in pods.keys() {
            let name = self.owner(pod, pods);
            let stat = stats.entry(name.clone()).or_insert_with(|| self.stat(name));
            stat.meshed.0 += usize::from(served.contains(pod));
            stat.meshed.1 += 1;
        }
        stats.into_values().collect()
    }

    /// The name of a pod's workload.
    pub(super) fn owner(&self, pod: &str, pods: &Pods) -> String {
        self.owners.get(pod).cloned().unwrap_or_else(|| {
            let declared = pods.get(pod).and_then(|info| info.deployment.as_deref());
            workload(pod, declared.unwrap_or_default())
        })
    }

    fn stat(&self, name: String) -> Stat {
        let mut calls = Calls::default();
        for increase in self.increases.iter().filter_map(|increase| increase.workloads.get(&name)) {
            calls.success += increase.success;
            calls.failure += increase.failure;
            calls.latency.merge(&increase.latency);
        }
        let all = Some(calls.success + calls.failure).filter(|all| *all > 0.0);
        let seconds = match (self.increases.front(), self.increases.back()) {
            (Some(first), Some(last)) => last.to.duration_since(first.from).as_secs_f64(),
            _ => 0.0,
        };
        let quantile = |part| calls.latency.quantile(part);
        Stat {
            meshed: (0, 0),
            success: all.map(|all| calls.success / all),
            rps: all.filter(|_| seconds > 0.0).map(|all| all / seconds),
            latency: quantile(0.5)
                .zip(quantile(0.95))
                .zip(quantile(0.99))
                .map(|((p50, p95), p99)| [p50, p95, p99]),
            connections: self.connections.get(&name).map_or(0, |open| open.max(0.0) as u64),
            name,
        }
    }

    /// Adds what a page counted since `before` to the workloads; returns its counters. Nothing is known about the time
    /// before a node's first page.
    fn count(
        &mut self,
        page: &NodePage,
        before: Option<&HashMap<String, f64>>,
        workloads: &mut BTreeMap<String, Calls>,
    ) -> HashMap<String, f64> {
        let mut counters = HashMap::new();
        for sample in page.samples.iter().filter(|sample| sample.label("direction") == "inbound") {
            let Some(pod) = own(sample) else { continue };
            let name = workload(&pod, sample.label("deployment"));
            match (sample.name.as_str(), sample.label("peer")) {
                ("response_total" | "response_latency_ms_bucket", _) => {
                    let series = format!("{}{:?}", sample.name, sample.labels);
                    if let Some(before) = before {
                        let increase = increase(before.get(&series).copied(), sample.value);
                        workloads.entry(name.clone()).or_default().add(sample, increase);
                    }
                    counters.insert(series, sample.value);
                }
                ("tcp_open_connections", "src") => {
                    *self.connections.entry(name.clone()).or_default() += sample.value;
                }
                _ => {}
            }
            self.owners.insert(pod, name);
        }
        counters
    }
}

impl Calls {
    fn add(&mut self, sample: &Sample, increase: f64) {
        match (sample.name.as_str(), sample.label("classification")) {
            ("response_total", "success") => self.success += increase,
            ("response_total", "failure") => self.failure += increase,
            ("response_latency_ms_bucket", _) => self.latency.add(sample.label("le"), increase),
            _ => {}
        }
    }
}

/// As Prometheus does it: a counter that is smaller than before began again at 0, like one that is new.
fn increase(before: Option<f64>, now: f64) -> f64 {
    match before {
        Some(before) if before <= now => now - before,
        _ => now,
    }
}

/// `namespace/deployment`, or the pod if it has none.
fn workload(pod: &str, deployment: &str) -> String {
    match (pod.split_once('/'), deployment) {
        (Some((namespace, _)), deployment) if !deployment.is_empty() => format!("{namespace}/{deployment}"),
        _ => pod.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::PodInfo;
    use super::*;
    use crate::prom::parse;

    fn page(node: &str, text: &str) -> NodePage {
        NodePage { node: node.to_owned(), samples: parse(text) }
    }

    fn voting(node: &str, success: u32, failure: u32, below_1: u32) -> NodePage {
        let labels =
            format!(r#"direction="inbound",namespace="shop",pod="voting-{node}",deployment="voting""#);
        let all = success + failure;
        page(
            node,
            &format!(
                "response_total{{{labels},classification=\"success\",grpc_status=\"0\"}} {success}\n\
                 response_total{{{labels},classification=\"failure\",grpc_status=\"2\"}} {failure}\n\
                 response_total{{direction=\"outbound\",namespace=\"shop\",pod=\"voting-{node}\",classification=\"success\"}} 999\n\
                 response_latency_ms_bucket{{{labels},status_code=\"200\",le=\"1\"}} {below_1}\n\
                 response_latency_ms_bucket{{{labels},status_code=\"200\",le=\"2\"}} {all}\n\
                 response_latency_ms_bucket{{{labels},status_code=\"200\",le=\"+Inf\"}} {all}\n\
                 tcp_open_connections{{{labels},peer=\"src\",tls=\"true\"}} 2\n\
                 tcp_open_connections{{{labels},peer=\"dst\"}} 7\n"
            ),
        )
    }

    fn pods() -> Pods {
        let pod = |deployment: Option<&str>| PodInfo {
            deployment: deployment.map(str::to_owned),
            ..PodInfo::default()
        };
        BTreeMap::from([
            ("shop/voting-a".to_owned(), pod(None)),
            ("shop/voting-b".to_owned(), pod(Some("voting"))),
            ("shop/plain".to_owned(), pod(None)),
        ])
    }

    #[test]
    fn workloads_are_summed_over_pods_nodes_and_status_codes() {
        let (mut window, start) = (Window::default(), Instant::now());
        window.add(start, &[voting("a", 1000, 500, 0), voting("b", 7, 0, 0)]);
        window.add(start + Duration::from_secs(2), &[voting("a", 1010, 502, 12), voting("b", 15, 0, 8)]);
        let served = BTreeSet::from(["shop/voting-a".to_owned()]);
        let stats = window.stats(&pods(), &served);
        let [plain, voting] = stats.as_slice() else { panic!("{stats:?}") };
        assert_eq!((plain.name.as_str(), plain.success, plain.meshed), ("shop/plain", None, (0, 1)));
        assert_eq!((voting.name.as_str(), voting.meshed), ("shop/voting", (1, 2)));
        // 18 of 20 in two seconds, all of them below one millisecond.
        assert_eq!((voting.success, voting.rps), (Some(0.9), Some(10.0)));
        assert_eq!(voting.latency, Some([0.5, 0.95, 0.99]));
        assert_eq!(voting.connections, 4);
    }

    #[test]
    fn old_scrapes_are_forgotten() {
        let (mut window, start) = (Window::default(), Instant::now());
        let at = |second| start + Duration::from_secs(second);
        window.add(at(0), &[voting("a", 0, 0, 0)]);
        window.add(at(1), &[voting("a", 0, 90, 0)]);
        for second in 2..=11 {
            window.add(at(second), &[voting("a", second as u32, 90, 0)]);
        }
        let stats = window.stats(&pods(), &BTreeSet::new());
        assert_eq!((stats[1].success, stats[1].rps), (Some(1.0), Some(1.1)), "{stats:?}");
    }

    #[test]
    fn restarts_and_missing_pages_lose_nothing() {
        let (mut window, start) = (Window::default(), Instant::now());
        let at = |second| start + Duration::from_secs(second);
        window.add(at(0), &[voting("a", 100, 0, 0)]);
        window.add(at(1), &[page("a", "")]);
        window.add(at(2), &[voting("a", 106, 0, 0)]);
        // The proxy was restarted.
        window.add(at(3), &[voting("a", 3, 0, 0)]);
        let stats = window.stats(&pods(), &BTreeSet::new());
        assert_eq!(stats[1].rps, Some(3.0), "{stats:?}");
    }
}
