//! How loaded is an endpoint, and may it be tried?

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

use rand::Rng;

/// How load is judged.
#[derive(Clone, Copy, Debug)]
pub struct LoadConfig {
    /// What an endpoint's latency is taken to be while that of none is known.
    pub default_latency: Duration,
    /// In this time a past latency loses all but 1/e of its weight.
    pub decay: Duration,
    /// Latencies below this one are the same: they tell of the scheduler, not of the endpoint.
    pub floor: Duration,
    /// How long an endpoint is left alone after its first failure; doubled by each further one.
    pub min_backoff: Duration,
    /// The longest that it is left alone.
    pub max_backoff: Duration,
}

/// What is known of an endpoint. Times are since the balancer was made, in microseconds.
#[derive(Debug, Default)]
pub(super) struct Load {
    open: AtomicU32,
    /// Bits of an `f64`, seconds; nought: not measured yet.
    latency: AtomicU64,
    measured: AtomicU64,
    failures: AtomicU32,
    /// Nobody may try before.
    blocked_until: AtomicU64,
    last_tried: AtomicU64,
}

impl Load {
    /// A connection to the endpoint begins. Returns how often the endpoint had failed by then.
    pub(super) fn begin(&self, now: Duration, config: &LoadConfig) -> u32 {
        self.open.fetch_add(1, Ordering::Relaxed);
        let failures = self.failures.load(Ordering::Relaxed);
        if failures > 0 {
            // It failed before: this connection tries it, the others wait how this one fares.
            self.last_tried.store(micros(now), Ordering::Relaxed);
            self.blocked_until.store(micros(now + config.backoff(failures)), Ordering::Relaxed);
        }
        failures
    }

    /// A connection is over.
    pub(super) fn end(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn connected(&self, latency: Duration, now: Duration, config: &LoadConfig) {
        let latency = latency.as_secs_f64();
        // Two threads may overwrite each other: one sample among many is lost, no harm done.
        let estimate = match self.latency(now, config) {
            Some(old) if latency < old => {
                let keep = self.keep(now, config);
                old * keep + latency * (1.0 - keep)
            }
            // A peak, or the first one.
            _ => latency,
        };
        self.latency.store(estimate.max(f64::MIN_POSITIVE).to_bits(), Ordering::Relaxed);
        self.measured.store(micros(now), Ordering::Relaxed);
        self.failures.store(0, Ordering::Relaxed);
        self.blocked_until.store(0, Ordering::Relaxed);
    }

    /// A connection failed that began after `seen` failures.
    pub(super) fn failed(&self, seen: u32, now: Duration, config: &LoadConfig) {
        self.last_tried.store(micros(now), Ordering::Relaxed);
        let failures = seen.saturating_add(1);
        // Connections that were under way together fail together: that is one failure, not many.
        if self.failures.compare_exchange(seen, failures, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.blocked_until.store(micros(now + config.backoff(failures)), Ordering::Relaxed);
        }
    }

    /// Seconds that a connection takes; `None` while not known.
    pub(super) fn latency(&self, now: Duration, config: &LoadConfig) -> Option<f64> {
        let latency = f64::from_bits(self.latency.load(Ordering::Relaxed));
        (latency > 0.0).then(|| (latency * self.keep(now, config)).max(config.floor.as_secs_f64()))
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

    /// How much of the last latency still counts.
    fn keep(&self, now: Duration, config: &LoadConfig) -> f64 {
        let age = micros(now).saturating_sub(self.measured.load(Ordering::Relaxed));
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
