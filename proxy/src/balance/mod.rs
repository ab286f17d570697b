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
mod set;

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

use self::set::{Candidate, EndpointSet};
pub use self::{
    counts::{Counts, Waiting},
    endpoint::{Endpoint, EndpointTls},
    load::{LoadConfig, Unit},
};

/// The endpoints of a service, with their load.
#[derive(Debug)]
pub struct Balancer {
    set: ArcSwap<EndpointSet>,
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
    candidate: Arc<Candidate>,
    unit: Unit,
    /// The endpoint's failures when it was picked.
    failures: u32,
    config: LoadConfig,
    base: Instant,
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
        let known: HashMap<SocketAddr, &Arc<Candidate>> =
            old.candidates.iter().map(|candidate| (candidate.endpoint.addr, candidate)).collect();
        self.counts.updated(known.keys().copied(), endpoints.iter().map(|endpoint| endpoint.addr));
        let mut seen = HashSet::with_capacity(endpoints.len());
        let candidates = endpoints
            .into_iter()
            .filter(|endpoint| seen.insert(endpoint.addr))
            .map(|endpoint| {
                let (connections, requests) = known
                    .get(&endpoint.addr)
                    .map_or_else(Default::default, |old| (old.connections.clone(), old.requests.clone()));
                Arc::new(Candidate { endpoint, connections, requests })
            })
            .collect();
        self.set.store(Arc::new(EndpointSet::new(candidates)));
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
        let failing = set.candidates.iter().filter(|candidate| candidate.requests.is_backed_off(now)).count();
        (set.candidates.len() - failing, failing)
    }

    /// Picks the endpoint of the same pod as `other`, an endpoint of the other address family.
    pub fn pick_pod(&self, other: &Endpoint) -> Option<Picked> {
        let set = self.set.load();
        let candidate = set.candidates.iter().find(|candidate| candidate.endpoint.is_same_pod(other))?;
        Some(self.begin_at(Unit::Connection, candidate, self.base.elapsed()))
    }

    /// Whether this endpoint still exists, with the same identity.
    pub fn has(&self, endpoint: &Endpoint) -> bool {
        self.set.load().candidates.iter().any(|candidate| candidate.endpoint.is_reached_like(endpoint))
    }

    pub fn len(&self) -> usize {
        self.set.load().candidates.len()
    }

    pub fn is_empty(&self) -> bool {
        self.set.load().candidates.is_empty()
    }

    pub fn endpoints(&self) -> Vec<Endpoint> {
        self.set.load().candidates.iter().map(|candidate| candidate.endpoint.clone()).collect()
    }

    fn pick_at(&self, unit: Unit, exclude: &[SocketAddr], now: Duration) -> Option<Picked> {
        let set = self.set.load();
        Some(self.begin_at(unit, set.pick(unit, exclude, now, &self.config)?, now))
    }

    fn begin_at(&self, unit: Unit, candidate: &Arc<Candidate>, now: Duration) -> Picked {
        let failures = candidate.load(unit).begin(now, &self.config);
        Picked { candidate: candidate.clone(), unit, failures, config: self.config, base: self.base }
    }
}

impl Default for Balancer {
    fn default() -> Self {
        Self::new(LoadConfig::default())
    }
}

impl Picked {
    pub fn endpoint(&self) -> &Endpoint {
        &self.candidate.endpoint
    }

    /// Whether the endpoint had failed when it was picked.
    pub fn had_failed(&self) -> bool {
        self.failures > 0
    }

    /// Records that the connection was established, or the response began, after `latency`.
    pub fn answered(&self, latency: Duration) {
        self.candidate.load(self.unit).answered(latency, self.base.elapsed(), &self.config);
    }

    /// Records that the endpoint could not be connected to, or broke the connection before it answered.
    pub fn failed(&self) {
        self.candidate.load(self.unit).failed(self.failures, self.base.elapsed(), &self.config);
    }
}

impl Drop for Picked {
    fn drop(&mut self) {
        self.candidate.load(self.unit).end();
    }
}

#[cfg(test)]
mod tests;
