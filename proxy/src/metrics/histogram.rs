//! A lock-free histogram of durations, with fixed buckets.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use prometheus_client::encoding::{MetricEncoder, NoLabelSet};

/// The buckets of a histogram, and the unit in which it is read.
#[derive(Debug)]
pub struct Buckets {
    /// Upper bounds in microseconds.
    pub(super) bounds: &'static [u64],
    /// Microseconds in one unit.
    pub(super) unit: f64,
}

/// A histogram of durations, of atomic counters.
#[derive(Debug)]
pub struct Histogram {
    layout: &'static Buckets,
    counts: Box<[AtomicU64]>,
    /// In nanoseconds: 584 years fit.
    sum: AtomicU64,
}

impl Histogram {
    pub fn new(layout: &'static Buckets) -> Self {
        let counts = (0..=layout.bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { layout, counts, sum: AtomicU64::new(0) }
    }

    pub fn observe(&self, value: Duration) {
        let nanos = u64::try_from(value.as_nanos()).unwrap_or(u64::MAX);
        let bucket = self.layout.bounds.partition_point(|bound| bound * 1_000 < nanos);
        self.sum.fetch_add(nanos, Ordering::Relaxed);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
    }

    /// Records a number, in a histogram whose unit is one.
    pub(super) fn observe_number(&self, value: usize) {
        self.observe(Duration::from_micros(value as u64));
    }

    pub fn count(&self) -> u64 {
        self.counts.iter().map(|bucket| bucket.load(Ordering::Relaxed)).sum()
    }

    pub fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let unit = self.layout.unit;
        let bounds = self.layout.bounds.iter().map(|micros| *micros as f64 / unit).chain([f64::INFINITY]);
        let counts = self.counts.iter().map(|bucket| bucket.load(Ordering::Relaxed));
        // The count is the sum of the buckets just read, so it never contradicts them.
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = self.sum.load(Ordering::Relaxed) as f64 / 1e3 / unit;
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }
}

const SECONDS: f64 = 1e6;
const MILLISECONDS: f64 = 1e3;

/// Round-trip times: within a machine, a rack, a region, around the world.
pub(super) static ROUND_TRIPS: Buckets = Buckets {
    bounds: &[
        50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000,
    ],
    unit: SECONDS,
};

/// Linkerd's `response_latency_ms`.
pub(super) static RESPONSE_LATENCY: Buckets = Buckets {
    bounds: &[
        1_000, 2_000, 3_000, 4_000, 5_000, 10_000, 20_000, 30_000, 40_000, 50_000, 100_000, 200_000, 300_000,
        400_000, 500_000, 1_000_000, 2_000_000, 3_000_000, 4_000_000, 5_000_000, 10_000_000, 20_000_000,
        30_000_000, 40_000_000, 50_000_000,
    ],
    unit: MILLISECONDS,
};

/// Linkerd's durations of requests and backends' responses.
pub(super) static FINE: Buckets =
    Buckets { bounds: &[25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 10_000_000], unit: SECONDS };

/// Linkerd's durations of responses and routes.
pub(super) static COARSE: Buckets =
    Buckets { bounds: &[50_000, 500_000, 1_000_000, 10_000_000], unit: SECONDS };

/// Linkerd's sizes of frames, in bytes: recorded as so many microseconds.
pub(super) static FRAMES: Buckets = Buckets { bounds: &[128, 1_024, 10_240], unit: 1.0 };

/// Linkerd's durations of protocol detection.
pub(super) static DETECTION: Buckets = Buckets { bounds: &[1_000, 100_000], unit: SECONDS };

/// Linkerd's times in the queue of a balancer.
pub static QUEUE: Buckets =
    Buckets { bounds: &[500, 5_000, 50_000, 500_000, 1_000_000, 3_000_000], unit: SECONDS };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_in_the_first_bucket_that_holds_them() {
        let histogram = Histogram::new(&ROUND_TRIPS);
        for micros in [1, 50, 51, 1_000_000, 1_000_001] {
            histogram.observe(Duration::from_micros(micros));
        }
        let counts: Vec<u64> = histogram.counts.iter().map(|b| b.load(Ordering::Relaxed)).collect();
        assert_eq!((counts[0], counts[1], counts[13], counts[14]), (2, 1, 1, 1));
        assert_eq!(histogram.count(), 5);
    }
}
