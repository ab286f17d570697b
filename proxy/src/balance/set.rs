//! Chooses an endpoint: the less loaded of two random ones.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use rand::Rng;

use super::{
    Endpoint,
    load::{Load, LoadConfig, Unit},
};

/// The endpoints at one moment.
#[derive(Debug, Default)]
pub(super) struct EndpointSet {
    pub(super) candidates: Vec<Arc<Candidate>>,
    /// Running totals of the weights; `None` while all are equal.
    weights: Option<Vec<u64>>,
    heaviest: u32,
}

/// An endpoint with its load, which it keeps from set to set.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) endpoint: Endpoint,
    pub(super) connections: Arc<Load>,
    pub(super) requests: Arc<Load>,
}

impl Candidate {
    pub(super) fn load(&self, unit: Unit) -> &Load {
        match unit {
            Unit::Connection => &self.connections,
            Unit::Request => &self.requests,
        }
    }
}

impl EndpointSet {
    pub(super) fn new(candidates: Vec<Arc<Candidate>>) -> Self {
        let weight = |candidate: &Arc<Candidate>| candidate.endpoint.weight;
        let heaviest = candidates.iter().map(weight).max().unwrap_or(0);
        let weights = candidates.iter().any(|candidate| weight(candidate) != heaviest).then(|| {
            let mut total = 0u64;
            candidates
                .iter()
                .map(|candidate| {
                    total += u64::from(weight(candidate));
                    total
                })
                .collect()
        });
        Self { candidates, weights, heaviest }
    }

    /// The less loaded of two random endpoints that are usable. If none is, the one that failed first.
    pub(super) fn pick(
        &self,
        unit: Unit,
        exclude: &[SocketAddr],
        now: Duration,
        config: &LoadConfig,
    ) -> Option<&Arc<Candidate>> {
        let usable = |candidate: &Arc<Candidate>| {
            !exclude.contains(&candidate.endpoint.addr) && !candidate.load(unit).is_backed_off(now)
        };
        match &self.candidates[..] {
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
        let candidates: Vec<Arc<Candidate>> =
            self.candidates.iter().filter(|candidate| usable(candidate)).cloned().collect();
        let chosen = match candidates.len() {
            0 => return self.least_recently_failed(unit, exclude),
            1 => candidates[0].endpoint.addr,
            _ => {
                let usable = Self::new(candidates);
                let (a, b) = usable.two_random();
                usable.less_loaded(unit, a, b, now, config).endpoint.addr
            }
        };
        self.candidates.iter().find(|candidate| candidate.endpoint.addr == chosen)
    }

    /// Two random endpoints. With equal weights they always differ. Otherwise they may be the same, or the weights would
    /// have no effect on a set of two.
    fn two_random(&self) -> (&Arc<Candidate>, &Arc<Candidate>) {
        let mut random = rand::rng();
        let Some(weights) = &self.weights else {
            let first = random.random_range(0..self.candidates.len());
            if self.candidates.len() == 1 {
                return (&self.candidates[first], &self.candidates[first]);
            }
            let second = random.random_range(0..self.candidates.len() - 1);
            return (&self.candidates[first], &self.candidates[second + usize::from(second >= first)]);
        };
        let total = weights.last().copied().unwrap_or(0).max(1);
        let mut one = || {
            let point = random.random_range(0..total);
            &self.candidates[weights.partition_point(|end| *end <= point).min(self.candidates.len() - 1)]
        };
        (one(), one())
    }

    fn less_loaded<'a>(
        &self,
        unit: Unit,
        a: &'a Arc<Candidate>,
        b: &'a Arc<Candidate>,
        now: Duration,
        config: &LoadConfig,
    ) -> &'a Arc<Candidate> {
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

    fn cost(&self, unit: Unit, candidate: &Candidate, latency: f64) -> f64 {
        // Open connections count relative to the weight. Without any, the weights count only in the sampling.
        let weight = f64::from(candidate.endpoint.weight.max(1)) / f64::from(self.heaviest.max(1));
        latency * (candidate.load(unit).open() as f64 / weight + 1.0)
    }

    /// When all endpoints have failed, it is better to try one of them than none.
    fn least_recently_failed(&self, unit: Unit, exclude: &[SocketAddr]) -> Option<&Arc<Candidate>> {
        self.candidates
            .iter()
            .filter(|candidate| !exclude.contains(&candidate.endpoint.addr))
            .min_by_key(|candidate| candidate.load(unit).last_tried())
    }
}
