//! Balances connections and HTTP requests over the endpoints of a service.
//!
//! Power of two choices: of two random endpoints, the one with less load is picked. The load of connections is the time
//! in which they are established, times the number of open ones; the load of requests is the time until a response
//! begins, times the number of requests in flight. Picking takes no lock. An endpoint that fails is not picked for a
//! while; then one connection or request tries it before others use it.
#![forbid(unsafe_code)]

mod counts;
mod endpoint;
mod load;

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rand::Rng;

use self::load::Load;
pub use self::{
    counts::{Counts, Waiting},
    endpoint::{Endpoint, EndpointTls},
    load::{LoadConfig, Unit},
};

/// The endpoints of a service, with their load.
#[derive(Debug)]
pub struct Balancer {
    set: ArcSwap<Set>,
    /// Serializes updates; picks do not take it.
    update: Mutex<()>,
    config: LoadConfig,
    base: Instant,
    /// Requests have waited for an endpoint in vain: the next ones do not wait.
    failing_fast: AtomicBool,
    counts: Counts,
}

/// An endpoint that was picked. It counts towards the endpoint's load until it is dropped: keep it as long as the
/// connection or request.
#[derive(Debug)]
pub struct Picked {
    node: Arc<Node>,
    unit: Unit,
    /// The endpoint's failures when it was picked.
    failures: u32,
    config: LoadConfig,
    base: Instant,
}

#[derive(Debug, Default)]
struct Set {
    nodes: Vec<Arc<Node>>,
    /// Running totals of the weights; `None` while all are equal.
    weights: Option<Vec<u64>>,
    heaviest: u32,
}

#[derive(Debug)]
struct Node {
    endpoint: Endpoint,
    connections: Arc<Load>,
    requests: Arc<Load>,
}

impl Node {
    fn load(&self, unit: Unit) -> &Load {
        match unit {
            Unit::Connection => &self.connections,
            Unit::Request => &self.requests,
        }
    }
}

impl Balancer {
    /// Creates a balancer without endpoints.
    pub fn new(config: LoadConfig) -> Self {
        Self {
            set: ArcSwap::default(),
            update: Mutex::new(()),
            config,
            base: Instant::now(),
            failing_fast: AtomicBool::new(false),
            counts: Counts::default(),
        }
    }

    /// Replaces the endpoints. Those that stay keep their load; connections to removed ones continue.
    pub fn update(&self, endpoints: Vec<Endpoint>) {
        let _one_at_a_time = self.update.lock();
        let old = self.set.load();
        let known: HashMap<SocketAddr, &Arc<Node>> =
            old.nodes.iter().map(|node| (node.endpoint.addr, node)).collect();
        self.counts.updated(known.keys().copied(), endpoints.iter().map(|endpoint| endpoint.addr));
        let mut seen = HashSet::with_capacity(endpoints.len());
        let nodes = endpoints
            .into_iter()
            .filter(|endpoint| seen.insert(endpoint.addr))
            .map(|endpoint| {
                let (connections, requests) = known
                    .get(&endpoint.addr)
                    .map_or_else(Default::default, |old| (old.connections.clone(), old.requests.clone()));
                Arc::new(Node { endpoint, connections, requests })
            })
            .collect();
        self.set.store(Arc::new(Set::new(nodes)));
        self.set_failing_fast(false);
    }

    /// Whether requests fail at once if no endpoint answers; ended by a success and by new endpoints.
    pub fn is_failing_fast(&self) -> bool {
        self.failing_fast.load(Ordering::Relaxed)
    }

    pub fn set_failing_fast(&self, failing: bool) {
        if self.is_failing_fast() != failing {
            self.failing_fast.store(failing, Ordering::Relaxed);
            self.counts.gate(failing);
        }
    }

    /// What has happened so far, for metrics.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Picks an endpoint for a new connection, but none of `exclude`; `None` if none is left.
    pub fn pick(&self, exclude: &[SocketAddr]) -> Option<Picked> {
        self.pick_at(Unit::Connection, exclude, self.base.elapsed())
    }

    /// Picks an endpoint for an HTTP request, but none of `exclude`; `None` if none is left.
    pub fn pick_for_request(&self, exclude: &[SocketAddr]) -> Option<Picked> {
        self.pick_at(Unit::Request, exclude, self.base.elapsed())
    }

    /// The number of endpoints that are picked for requests now, and of those that are not because they failed.
    pub fn states(&self) -> (usize, usize) {
        let (set, now) = (self.set.load(), self.base.elapsed());
        let failing = set.nodes.iter().filter(|node| node.requests.is_backed_off(now)).count();
        (set.nodes.len() - failing, failing)
    }

    /// Picks the endpoint of the same pod as `other`, an endpoint of the other address family.
    pub fn pick_pod(&self, other: &Endpoint) -> Option<Picked> {
        let set = self.set.load();
        let node = set.nodes.iter().find(|node| node.endpoint.is_same_pod(other))?;
        Some(self.begin_at(Unit::Connection, node, self.base.elapsed()))
    }

    /// Whether this endpoint still exists, with the same identity.
    pub fn has(&self, endpoint: &Endpoint) -> bool {
        self.set.load().nodes.iter().any(|node| node.endpoint.is_reached_like(endpoint))
    }

    pub fn len(&self) -> usize {
        self.set.load().nodes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.set.load().nodes.is_empty()
    }

    pub fn endpoints(&self) -> Vec<Endpoint> {
        self.set.load().nodes.iter().map(|node| node.endpoint.clone()).collect()
    }

    fn pick_at(&self, unit: Unit, exclude: &[SocketAddr], now: Duration) -> Option<Picked> {
        let set = self.set.load();
        Some(self.begin_at(unit, set.pick(unit, exclude, now, &self.config)?, now))
    }

    fn begin_at(&self, unit: Unit, node: &Arc<Node>, now: Duration) -> Picked {
        let failures = node.load(unit).begin(now, &self.config);
        Picked { node: node.clone(), unit, failures, config: self.config, base: self.base }
    }
}

impl Default for Balancer {
    fn default() -> Self {
        Self::new(LoadConfig::default())
    }
}

impl Picked {
    pub fn endpoint(&self) -> &Endpoint {
        &self.node.endpoint
    }

    /// Whether the endpoint had failed when it was picked.
    pub fn had_failed(&self) -> bool {
        self.failures > 0
    }

    /// Records that the connection was established, or the response began, after `latency`.
    pub fn answered(&self, latency: Duration) {
        self.node.load(self.unit).answered(latency, self.base.elapsed(), &self.config);
    }

    /// Records that the endpoint could not be connected to, or broke the connection before it answered.
    pub fn failed(&self) {
        self.node.load(self.unit).failed(self.failures, self.base.elapsed(), &self.config);
    }
}

impl Drop for Picked {
    fn drop(&mut self) {
        self.node.load(self.unit).end();
    }
}

impl Set {
    fn new(nodes: Vec<Arc<Node>>) -> Self {
        let weight = |node: &Arc<Node>| node.endpoint.weight;
        let heaviest = nodes.iter().map(weight).max().unwrap_or(0);
        let weights = nodes.iter().any(|node| weight(node) != heaviest).then(|| {
            let mut total = 0u64;
            nodes
                .iter()
                .map(|node| {
                    total += u64::from(weight(node));
                    total
                })
                .collect()
        });
        Self { nodes, weights, heaviest }
    }

    fn pick(
        &self,
        unit: Unit,
        exclude: &[SocketAddr],
        now: Duration,
        config: &LoadConfig,
    ) -> Option<&Arc<Node>> {
        let usable =
            |node: &Arc<Node>| !exclude.contains(&node.endpoint.addr) && !node.load(unit).is_backed_off(now);
        match &self.nodes[..] {
            [] => return None,
            [only] if usable(only) => return Some(only),
            _ => {
                let (a, b) = self.two_random();
                if usable(a) && usable(b) {
                    return Some(self.less_loaded(unit, a, b, now, config));
                }
            }
        }
        // One of the two is not usable: choose among those that are.
        let nodes: Vec<Arc<Node>> = self.nodes.iter().filter(|node| usable(node)).cloned().collect();
        let chosen = match nodes.len() {
            0 => return self.least_recently_failed(unit, exclude),
            1 => nodes[0].endpoint.addr,
            _ => {
                let usable = Self::new(nodes);
                let (a, b) = usable.two_random();
                usable.less_loaded(unit, a, b, now, config).endpoint.addr
            }
        };
        self.nodes.iter().find(|node| node.endpoint.addr == chosen)
    }

    /// Two random nodes. With equal weights they always differ. Otherwise they may be the same, or the weights would
    /// have no effect on a set of two.
    fn two_random(&self) -> (&Arc<Node>, &Arc<Node>) {
        let mut random = rand::rng();
        let Some(weights) = &self.weights else {
            let first = random.random_range(0..self.nodes.len());
            if self.nodes.len() == 1 {
                return (&self.nodes[first], &self.nodes[first]);
            }
            let second = random.random_range(0..self.nodes.len() - 1);
            return (&self.nodes[first], &self.nodes[second + usize::from(second >= first)]);
        };
        let total = weights.last().copied().unwrap_or(0).max(1);
        let mut one = || {
            let point = random.random_range(0..total);
            &self.nodes[weights.partition_point(|end| *end <= point).min(self.nodes.len() - 1)]
        };
        (one(), one())
    }

    fn less_loaded<'a>(
        &self,
        unit: Unit,
        a: &'a Arc<Node>,
        b: &'a Arc<Node>,
        now: Duration,
        config: &LoadConfig,
    ) -> &'a Arc<Node> {
        let (latency_a, latency_b) =
            match (a.load(unit).latency(now, config), b.load(unit).latency(now, config)) {
                (Some(a), Some(b)) => (a, b),
                // An endpoint without measurements is assumed to be as fast as the other one. Otherwise a new endpoint
                // would get no connections until the measurements of the others are old.
                (known, unknown) => {
                    let latency = known.or(unknown).unwrap_or(config.default_latency.as_secs_f64());
                    (latency, latency)
                }
            };
        if self.cost(unit, b, latency_b) < self.cost(unit, a, latency_a) { b } else { a }
    }

    fn cost(&self, unit: Unit, node: &Node, latency: f64) -> f64 {
        // Open connections count relative to the weight. Without any, the weights count only in the sampling.
        let weight = f64::from(node.endpoint.weight.max(1)) / f64::from(self.heaviest.max(1));
        latency * (node.load(unit).open() as f64 / weight + 1.0)
    }

    /// When all endpoints have failed, it is better to try one of them than none.
    fn least_recently_failed(&self, unit: Unit, exclude: &[SocketAddr]) -> Option<&Arc<Node>> {
        self.nodes
            .iter()
            .filter(|node| !exclude.contains(&node.endpoint.addr))
            .min_by_key(|node| node.load(unit).last_tried())
    }
}

#[cfg(test)]
mod tests;
