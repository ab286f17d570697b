//! Keeps durations without disturbing the measurement, and computes percentiles.

use std::time::Duration;

/// Every single duration: percentiles are exact.
#[derive(Debug, Default)]
pub struct Samples {
    nanoseconds: Vec<u32>,
}

/// The percentiles that are shown, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Percentiles {
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p999: f64,
}

impl Samples {
    /// Memory for `expected` durations, already faulted in: no page fault while measuring.
    pub fn with_room(expected: usize) -> Self {
        let mut nanoseconds = vec![1; expected];
        nanoseconds.clear();
        Self { nanoseconds }
    }

    /// Durations above 4.29 s are kept as 4.29 s.
    pub fn push(&mut self, duration: Duration) {
        self.nanoseconds.push(u32::try_from(duration.as_nanos()).unwrap_or(u32::MAX));
    }

    pub fn capacity(&self) -> usize {
        self.nanoseconds.capacity()
    }

    pub fn len(&self) -> usize {
        self.nanoseconds.len()
    }

    pub fn is_empty(&self) -> bool {
        self.nanoseconds.is_empty()
    }

    /// `None` without samples.
    pub fn percentiles(mut self) -> Option<Percentiles> {
        self.nanoseconds.sort_unstable();
        let rank = |share: f64| -> Option<f64> {
            let index = (share * self.nanoseconds.len() as f64).ceil() as usize;
            self.nanoseconds.get(index.max(1) - 1).map(|ns| f64::from(*ns) / 1e3)
        };
        Some(Percentiles { p50: rank(0.5)?, p90: rank(0.9)?, p99: rank(0.99)?, p999: rank(0.999)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let mut samples = Samples::with_room(1000);
        (1..=1000).rev().for_each(|n| samples.push(Duration::from_micros(n)));
        let expected = Percentiles { p50: 500.0, p90: 900.0, p99: 990.0, p999: 999.0 };
        assert_eq!(samples.percentiles(), Some(expected));
    }

    #[test]
    fn one_sample_is_every_percentile() {
        let mut samples = Samples::default();
        assert!(samples.is_empty());
        samples.push(Duration::from_micros(7));
        assert_eq!(samples.len(), 1);
        assert_eq!(samples.percentiles(), Some(Percentiles { p50: 7.0, p90: 7.0, p99: 7.0, p999: 7.0 }));
    }

    #[test]
    fn no_sample_has_no_percentiles() {
        assert_eq!(Samples::default().percentiles(), None);
    }

    #[test]
    fn a_duration_beyond_the_range_stays_long() {
        let mut samples = Samples::default();
        samples.push(Duration::from_secs(60));
        assert!(samples.percentiles().expect("one").p50 > 4e6);
    }
}
