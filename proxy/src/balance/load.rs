//! Measures the load of an endpoint, and backs off from endpoints that fail.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

use rand::Rng;

/// What an endpoint is picked for. Each kind has a load of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    Connection,
    Request,
}

/// Settings of the load measurement and the backoff.
#[derive(Clone, Copy, Debug)]
pub struct LoadConfig {
    /// The latency to assume while that of no endpoint is known.
    pub default_latency: Duration,
    /// The time in which the weight of a measured latency decays to 1/e.
    pub decay: Duration,
    /// Lower latencies are raised to this one: they depend on the scheduler, not on the endpoint.
    pub floor: Duration,
    /// How long an endpoint is not picked after its first failure; doubled with each further failure.
    pub min_backoff: Duration,
    /// The upper bound of the backoff.
    pub max_backoff: Duration,
}

/// The measured load of an endpoint. Times are in microseconds since the balancer was created.
#[derive(Debug, Default)]
pub(super) struct Load {
    open: AtomicU32,
    /// The bits of an `f64`, in seconds; 0 if not measured yet.
    latency: AtomicU64,
    measured_at: AtomicU64,
    failures: AtomicU32,
    /// The end of the backoff.
    blocked_until: AtomicU64,
    last_tried: AtomicU64,
}

impl Load {
    /// Counts a new connection. Returns the endpoint's number of failures so far.
    pub(super) fn begin(&self, now: Duration, config: &LoadConfig) -> u32 {
        self.open.fetch_add(1, Ordering::Relaxed);
        let failures = self.failures.load(Ordering::Relaxed);
        if failures > 0 {
            // This connection probes the endpoint; it is not picked again until the result is known.
            self.last_tried.store(micros(now), Ordering::Relaxed);
            self.blocked_until.store(micros(now + config.backoff(failures)), Ordering::Relaxed);
        }
        failures
    }

    /// Counts the end of a connection.
    pub(super) fn end(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn answered(&self, latency: Duration, now: Duration, config: &LoadConfig) {
        let latency = latency.as_secs_f64();
        // Two threads may overwrite each other's result. That loses one sample of many.
        let estimate = match self.latency(now, config) {
            Some(old) if latency < old => {
                let weight = self.remaining_weight(now, config);
                old * weight + latency * (1.0 - weight)
            }
            // A peak, or the first one.
            _ => latency,
        };
        self.latency.store(estimate.max(f64::MIN_POSITIVE).to_bits(), Ordering::Relaxed);
        self.measured_at.store(micros(now), Ordering::Relaxed);
        self.failures.store(0, Ordering::Relaxed);
        self.blocked_until.store(0, Ordering::Relaxed);
    }

    /// Counts the failure of a connection that began when the endpoint had failed `seen` times.
    pub(super) fn failed(&self, seen: u32, now: Duration, config: &LoadConfig) {
        self.last_tried.store(micros(now), Ordering::Relaxed);
        let failures = seen.saturating_add(1);
        // Connections that were made at the same time and fail together count as one failure.
        if self.failures.compare_exchange(seen, failures, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.blocked_until.store(micros(now + config.backoff(failures)), Ordering::Relaxed);
        }
    }

    /// The expected seconds until the endpoint answers; `None` while not known.
    pub(super) fn latency(&self, now: Duration, config: &LoadConfig) -> Option<f64> {
        let latency = f64::from_bits(self.latency.load(Ordering::Relaxed));
        (latency > 0.0)
            .then(|| (latency * self.remaining_weight(now, config)).max(config.floor.as_secs_f64()))
    }

    pub(super) fn open(&self) -> u32 {
        self.open.load(Ordering::Relaxed)
    }

    pub(super) fn is_backed_off(&self, now: Duration) -> bool {
        micros(now) < self.blocked_until.load(Ordering::Relaxed)
    }

    pub(super) fn last_tried(&self) -> u64 {
        self.last_tried.load(Ordering::Relaxed)
    }

    /// The weight that the last latency still has, from 0 to 1.
    fn remaining_weight(&self, now: Duration, config: &LoadConfig) -> f64 {
        let age = micros(now).saturating_sub(self.measured_at.load(Ordering::Relaxed));
        (-(age as f64 / 1e6) / config.decay.as_secs_f64()).exp()
    }
}

impl LoadConfig {
    fn backoff(&self, failures: u32) -> Duration {
        let doubled = self.min_backoff.saturating_mul(1 << (failures - 1).min(16));
        doubled.min(self.max_backoff).mul_f64(rand::rng().random_range(0.8..1.2))
    }
}

impl Default for LoadConfig {
    fn default() -> Self {
        Self {
            default_latency: Duration::from_millis(30),
            decay: Duration::from_secs(10),
            floor: Duration::from_millis(1),
            min_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(10),
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
